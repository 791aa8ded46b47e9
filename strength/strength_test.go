package strength

import (
	"slices"
	"strings"
	"testing"
)

func TestWordsAreSortedAndFound(t *testing.T) {
	lines := strings.Split(strings.TrimSuffix(words, "\n"), "\n")
	if len(lines) < 100_000 {
		t.Errorf("only %d words", len(lines))
	}
	if !slices.IsSortedFunc(lines, func(a, b string) int { return strings.Compare(wordOf(a), wordOf(b)) }) {
		t.Error("the list isn't sorted by its words")
	}
	for i := 0; i < len(lines); i += 97 {
		word := wordOf(lines[i])
		found := 0
		eachWord(word, func(length, rank int) {
			if length == len(word) {
				found = rank
			}
		})
		if found == 0 || found != rankOf(lines[i]) {
			t.Errorf("%q has rank %d, and is found with %d", word, rankOf(lines[i]), found)
		}
	}
}

func TestEachWord(t *testing.T) {
	var found []string
	const text = "passwordless\x00zz"
	eachWord(text, func(length, rank int) { found = append(found, text[:length]) })
	if !slices.Contains(found, "pass") || !slices.Contains(found, "password") {
		t.Errorf("in %q there are %q", text, found)
	}
	for _, none := range []string{"", "\x00", "\xff\xff", "~~~~~~~~zzzz"} {
		eachWord(none, func(length, _ int) {
			if length > 0 && none[0] != '~' {
				t.Errorf("%q begins with a word", none)
			}
		})
	}
}

func TestSpellings(t *testing.T) {
	for text, want := range map[string][]string{
		"Müller":   {"muller", "müller", "mueller"},
		"alice":    {"alice"},
		"Straße":   {"strasse", "straße"},
		"Łódź":     {"lodz", "łódź"},
		"Øst":      {"ost", "øst", "oest"},
		"Чайка":    {"chayka", "чайка"},
		"Σωκράτης": {"sokratis", "σωκράτης"},
		"王伟":       {"王伟"},
		"ＡＢ":       {"ab"},
	} {
		if got := Spellings(text); !slices.Equal(got, want) {
			t.Errorf("%s: %q, want %q", text, got, want)
		}
	}
}

// TestOf compares: what is written after "<" takes more guesses.
func TestOf(t *testing.T) {
	known := Known{Own: []string{"alice", "Liddell"}, Service: []string{"Looking Glass"}}
	for _, order := range []string{
		"password < passw0rd < passw0rd8 < passw0rd83 < passw0rdxq",
		"alice < alicexq < alicexqv < alicexqvz < alice xqvz plum",
		"qwertyui < qwedcvfr < qzhmplgt",
		"abababab < ab12ab12 < x7#qx7#q < x7#qk2!m",
		"teapot < teapotharbor < teapotharborviolin < teapot harbor violin plum",
		"drowssap < Drowssap < dRoWsSaP",
		"24121987 < 24121987xq < 58203917xq",
	} {
		last := Estimate{Bits: -1}
		for password := range strings.SplitSeq(order, " < ") {
			got := Of(password, known)
			if got.Bits <= last.Bits {
				t.Errorf("%q takes %.1f bits, and what takes fewer %.1f", password, got.Bits, last.Bits)
			}
			last = got
		}
	}
	for password, want := range map[string]Basis{
		"alice99": Own, "alice password": Own, "glass99": Service, "password99": Word, "abababab": Pattern, "xqvzkjwp": Chance, "": Chance,
	} {
		if got := Of(password, known); got.Basis != want {
			t.Errorf("%q rests on %d, want %d", password, got.Basis, want)
		}
	}
}

// TestOfLooksAtTheBeginning holds what bounds the work.
func TestOfLooksAtTheBeginning(t *testing.T) {
	long := strings.Repeat("a", maxJudged)
	if more, less := Of(long+" correct horse battery staple", Known{}), Of(long, Known{}); more != less {
		t.Errorf("beyond the bound: %v, within: %v", more, less)
	}
}

func TestIsMadeOf(t *testing.T) {
	names := []string{"alice", "Zoe Müller", "z.m@mail.example", "bo"}
	for password, want := range map[string]bool{
		"alice2024": true, "4l1c3!!": true, "muller-zoe": true, "MUELLERzoe99": true, "rellumeoz": true, "a.l.i.c.e": true, "mail.example1": true,
		"bo123456": true, "9bo23456": false, "alicex": false, "12345678": false, "": false, "alice!zoe": true, "aalicelice": false, "zoé99": true,
	} {
		if got := IsMadeOf(password, names); got != want {
			t.Errorf("%q: %t", password, got)
		}
	}
}

func FuzzOf(f *testing.F) {
	f.Add("Tr0ub4dor&3", "alice", "Looking Glass")
	f.Add("4@8({[<36910!|75$+%2", "", "")
	f.Add("aaa 12.03.1999 \xff İ\u212a", "ſ", "")
	f.Add("!QAZ2wsx ёйцу \u0301", "\u0301", "*.example")
	f.Fuzz(func(t *testing.T, password, own, service string) {
		got := Of(password, Known{Own: []string{own}, Service: []string{service}})
		if !(got.Bits >= 0) || got.Bits > 8*maxJudged || got.Basis < Chance || got.Basis > Own {
			t.Errorf("%+v", got)
		}
		IsMadeOf(password, []string{own, service})
	})
}
