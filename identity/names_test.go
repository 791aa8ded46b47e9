package identity

import (
	"errors"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	nameMissing   = "Enter a user name."
	nameTooLong   = "A user name can't have more than 64 characters."
	nameTooBig    = "That user name is too long."
	nameUnread    = "That user name has characters that can't be read."
	nameInvisible = "A user name can't contain control characters or invisible ones."
	nameAt        = "A user name can't contain @."
	nameComma     = "A user name can't contain a comma."
	nameDot       = "A user name can't begin or end with a dot."
	nameMixed     = "A user name can't mix letters from different alphabets."
	nameUnusual   = "A user name can't contain spaces or unusual characters. Use letters, digits, and symbols such as - or _."
)

func TestCanonicalName(t *testing.T) {
	for _, test := range []struct{ name, typed, want, refused string }{
		{"plain", "alice", "alice", ""},
		{"signs", "alice.b-c_d+e", "alice.b-c_d+e", ""},
		{"markup is text", "<script>{{.}}%s", "<script>{{.}}%s", ""},
		{"one letter", "a", "a", ""},
		{"64 letters", strings.Repeat("é", 64), strings.Repeat("é", 64), ""},
		{"64 letters, decomposed", strings.Repeat("e\u0301", 64), strings.Repeat("é", 64), ""},

		{"upper case", "ALICE", "alice", ""},
		{"upper case beyond ASCII", "ÉLODIE", "élodie", ""},
		{"decomposed", "e\u0301lodie", "élodie", ""},
		{"full width", "ＡＬＩＣＥ", "alice", ""},
		{"half-width katakana", "ｱﾘｽ", "アリス", ""},
		{"Kelvin sign", "\u212aim", "kim", ""},
		{"Ångström sign", "\u212bsa", "åsa", ""},
		{"sharp s stays", "strauß", "strauß", ""},

		{"Cyrillic", "Алиса", "алиса", ""},
		{"Hebrew", "אליס", "אליס", ""},
		{"Arabic", "أليس", "أليس", ""},
		{"kanji, kana and Latin", "田中さんA", "田中さんa", ""},
		{"Hangul and Latin", "앨리스a", "앨리스a", ""},

		{"empty", "", "", nameMissing},
		{"65 letters", strings.Repeat("a", 65), "", nameTooLong},
		{"a megabyte", strings.Repeat("a", 1<<20), "", nameTooBig},
		{"address", "alice@example.com", "", nameAt},
		{"full-width at", "alice\uff20example", "", nameAt},
		{"comma", "alice,admins", "", nameComma},
		{"full-width comma", "alice\uff0cadmins", "", nameComma},
		{"dot at the start", ".alice", "", nameDot},
		{"dot at the end", "alice.", "", nameDot},
		{"full-width dot inside", "alice\uff0eb", "alice.b", ""},
		// The Bidi Rule, see CanonicalName.
		{"full-width dot at the start", "\uff0ealice", "", nameUnusual},
		{"full-width dot at the end", "alice\uff0e", "", nameUnusual},
		{"sign at the end of a foreign name", "élodie_", "", nameUnusual},
		{"dots alone", "..", "", nameDot},

		{"Cyrillic a in Latin", "\u0430lice", "", nameMixed},
		{"Greek omicron in Latin", "b\u03bfb", "", nameMixed},
		{"Latin in Hebrew", "אליa", "", nameUnusual}, // the Bidi Rule comes first

		{"NUL", "alice\x00", "", nameInvisible},
		{"line break", "alice\r\nRemote-User: root", "", nameInvisible},
		{"C1 control", "alice\u0085", "", nameInvisible},
		{"right-to-left mark", "alice\u200f", "", nameInvisible},
		{"right-to-left override", "\u202eecila", "", nameInvisible},
		{"isolate", "\u2067alice\u2069", "", nameInvisible},
		{"zero-width space", "al\u200bice", "", nameInvisible},
		{"zero-width joiner", "al\u200dice", "", nameUnusual},
		{"soft hyphen", "al\u00adice", "", nameInvisible},
		{"byte-order mark", "\ufeffalice", "", nameInvisible},

		{"space at the start", " alice", "", nameUnusual},
		{"space at the end", "alice ", "", nameUnusual},
		{"space inside", "alice b", "", nameUnusual},
		{"no-break space", "alice\u00a0b", "", nameUnusual},
		{"superscript", "alice²", "", nameUnusual},
		{"circled letters", "ⓐⓛⓘⓒⓔ", "", nameUnusual},
		{"mathematical letters", "𝐚𝐥𝐢𝐜𝐞", "", nameUnusual},
		{"ligature", "ﬁona", "", nameUnusual},
		{"one-dot leader", "alice\u2024", "", nameUnusual},
		{"emoji", "alice🙂", "", nameUnusual},
		{"not UTF-8", "alice\xff", "", nameUnread},
		{"overlong encoding", "alice\xc0\xae", "", nameUnread},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := CanonicalName(test.typed)
			checkNamed(t, got, err, test.want, "user name", test.refused)
		})
	}
}

func TestCanonicalEmail(t *testing.T) {
	const (
		malformed = "That isn't an e-mail address. Write it like name@example.com."
		tooLong   = "That e-mail address is too long."
		invisible = "An e-mail address can't contain control characters or invisible ones."
		mixed     = "An e-mail address can't mix letters from different alphabets."
	)
	label := strings.Repeat("d", 63)
	for _, test := range []struct{ name, typed, want, refused string }{
		{"plain", "alice@example.com", "alice@example.com", ""},
		{"upper case", "Alice.B+x@Example.COM", "alice.b+x@example.com", ""},
		{"full width", "ａｌｉｃｅ＠ｅｘａｍｐｌｅ．ｃｏｍ", "alice@example.com", ""},
		{"one label", "root@localhost", "root@localhost", ""},
		{"xn-- domain", "post@XN--MLLER-KVA.example", "post@xn--mller-kva.example", ""},
		{"accent", "E\u0301lodie@example.com", "élodie@example.com", ""},
		{"letters with marks", "नमस्ते@example.com", "नमस्ते@example.com", ""},
		{"64 bytes before the @", strings.Repeat("a", 64) + "@b.example", strings.Repeat("a", 64) + "@b.example", ""},

		{"empty", "", "", "Enter an e-mail address."},
		{"65 bytes before the @", strings.Repeat("a", 65) + "@b.example", "", tooLong},
		{"255 bytes", strings.Repeat("a", 63) + "@" + label + "." + label + "." + label[:63], "", tooLong},
		{"a megabyte", strings.Repeat("a", 1<<20), "", tooLong},
		{"no at", "alice", "", malformed},
		{"two ats", "alice@evil@example.com", "", malformed},
		{"nobody", "@example.com", "", malformed},
		{"nowhere", "alice@", "", malformed},
		{"quoted", `"alice b"@example.com`, "", malformed},
		{"display name", "Alice <alice@example.com>", "", malformed},
		{"two addresses", "a,b@example.com", "", malformed},
		{"two dots", "a..b@example.com", "", malformed},
		{"dot before the at", "a.@example.com", "", malformed},
		{"trailing dot", "alice@example.com.", "", malformed},
		{"hyphen at the end of a label", "alice@example-.com", "", malformed},
		{"label of 64", "alice@" + label + "d.com", "", malformed},
		{"address literal", "alice@[127.0.0.1]", "", malformed},
		{"internationalised domain", "alice@müller.example", "", malformed},
		{"ideographic full stop", "alice@example\u3002com", "", malformed},
		{"space", "alice @example.com", "", malformed},
		{"header injection", "alice@example.com\r\nBcc: x@evil.example", "", invisible},
		{"NUL", "alice\x00@example.com", "", invisible},
		{"Cyrillic a in Latin", "\u0430lice@example.com", "", mixed},
		{"not UTF-8", "alice\xff@example.com", "", "That e-mail address has characters that can't be read."},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := CanonicalEmail(test.typed)
			checkNamed(t, got, err, test.want, "e-mail address", test.refused)
		})
	}
}

func TestCheckDisplayName(t *testing.T) {
	const invisible = "A display name can't contain control characters or invisible ones."
	for _, test := range []struct{ name, typed, want, refused string }{
		{"empty", "", "", ""},
		{"plain", "Alice B. Carroll, MD", "Alice B. Carroll, MD", ""},
		{"decomposed", "E\u0301lodie", "Élodie", ""},
		{"surrounding space", " Alice\u3000", "Alice", ""},
		{"markup is text", "<b>{env.X}%s</b>", "<b>{env.X}%s</b>", ""},
		{"joiner in an emoji", "Ann 👩\u200d💻", "Ann 👩\u200d💻", ""},
		{"128", strings.Repeat("é", 128), strings.Repeat("é", 128), ""},
		{"129", strings.Repeat("a", 129), "", "A display name can't have more than 128 characters."},
		{"a megabyte", strings.Repeat("a", 1<<20), "", "That display name is too long."},
		{"tab", "Alice\tB", "", invisible},
		{"line separator", "Alice\u2028B", "", invisible},
		{"right-to-left override", "Alice \u202egpj", "", invisible},
		{"not UTF-8", "Al\xedce", "", "That display name has characters that can't be read."},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := CheckDisplayName(test.typed)
			checkNamed(t, got, err, test.want, "display name", test.refused)
		})
	}
}

func TestCheckGroup(t *testing.T) {
	const space = "A group name can't begin or end with a space."
	for _, test := range []struct{ name, typed, want, refused string }{
		{"plain", "admins", "admins", ""},
		{"case and spaces stay", "Domain Admins", "Domain Admins", ""},
		{"decomposed", "e\u0301quipe", "équipe", ""},
		{"128", strings.Repeat("g", 128), strings.Repeat("g", 128), ""},
		{"empty", "", "", "Enter a group name."},
		{"129", strings.Repeat("g", 129), "", "A group name can't have more than 128 characters."},
		{"comma", "users,admins", "", "A group name can't contain a comma."},
		{"space before", " admins", "", space},
		{"no-break space after", "admins\u00a0", "", space},
		{"line break", "users\nadmins", "", "A group name can't contain control characters or invisible ones."},
		{"not UTF-8", "users\xff", "", "That group name has characters that can't be read."},
	} {
		t.Run(test.name, func(t *testing.T) {
			got, err := CheckGroup(test.typed)
			checkNamed(t, got, err, test.want, "group name", test.refused)
		})
	}
}

// checkNamed compares the result of canonicalising with what was wanted: a
// name, or a refusal in exactly these words.
func checkNamed(t *testing.T, got string, err error, want, what, refused string) {
	t.Helper()
	if refused == "" {
		if err != nil || got != want {
			t.Fatalf("got %q, %v; want %q", got, err, want)
		}
		return
	}
	var nameError *NameError
	if !errors.As(err, &nameError) {
		t.Fatalf("got %q, %v; want a *NameError", got, err)
	}
	if got != "" {
		t.Errorf("a refusal returned %q", got)
	}
	if nameError.What != what || nameError.Text() != refused {
		t.Errorf("refused %s: %q; want %s: %q", nameError.What, nameError.Text(), what, refused)
	}
}

func FuzzCanonicalName(f *testing.F) {
	for _, seed := range []string{"alice", "ＡＬＩＣＥ", "\u212aim", "Σίσυφος", "İstanbul", "ǅ", "a\u0345", "ᾳ", ".a,@"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		name, err := CanonicalName(typed)
		if err != nil {
			if name != "" {
				t.Fatalf("a refusal of %q returned %q", typed, name)
			}
			return
		}
		if again, err := CanonicalName(name); err != nil || again != name {
			t.Errorf("%q became %q, and that %q, %v", typed, name, again, err)
		}
		if !utf8.ValidString(name) || strings.ContainsAny(name, "@, \x00\r\n") {
			t.Errorf("%q became %q", typed, name)
		}
	})
}

func FuzzCanonicalEmail(f *testing.F) {
	for _, seed := range []string{"Alice@Example.com", "ａ＠ｂ．ｃ", "\u212a@b", "a@b@c", "\"a\"@b"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		address, err := CanonicalEmail(typed)
		if err != nil {
			return
		}
		if again, err := CanonicalEmail(address); err != nil || again != address {
			t.Errorf("%q became %q, and that %q, %v", typed, address, again, err)
		}
		if strings.Count(address, "@") != 1 || strings.ContainsAny(address, ", \x00\r\n<>\"") {
			t.Errorf("%q became %q", typed, address)
		}
	})
}
