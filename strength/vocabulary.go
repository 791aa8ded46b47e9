package strength

import (
	"math"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

const (
	// shortestKnown is the length from which a part of a name counts as a word
	// of its own; shorter ones turn up in passwords by chance.
	shortestKnown = 3
	// longestKnown bounds the names that are looked for, in runes.
	longestKnown = 64
	// maxKnown bounds how many words are known of a person or a service.
	maxKnown = 2000
)

// vocabulary is what a guesser knows beyond the word list: words in lower case,
// with what they are.
type vocabulary struct {
	known   map[string]Basis
	longest int // in runes
}

func newVocabulary(known Known) vocabulary {
	v := vocabulary{known: make(map[string]Basis)}
	v.add(known.Own, Own)
	v.add(known.Service, Service)
	return v
}

func (v *vocabulary) add(names []string, basis Basis) {
	for _, word := range Words(names) {
		if _, found := v.known[word]; found || len(v.known) >= maxKnown {
			continue
		}
		v.known[word] = basis
		v.longest = max(v.longest, utf8.RuneCountInString(word))
	}
}

// Words returns the words that names consist of, each in all its spellings, and
// each name written as one word; of an address, the part before the @ counts as
// a name too. The longest come first. Words of fewer than three letters are
// left out.
func Words(names []string) []string {
	var all []string
	for _, name := range names {
		if utf8.RuneCountInString(name) > 4*longestKnown {
			continue // no name that was ever accepted
		}
		local, _, _ := strings.Cut(name, "@")
		for _, spelling := range append(Spellings(name), Spellings(local)...) {
			parts := append(strings.FieldsFunc(spelling, isNoLetter), onlyLetters(spelling))
			for _, word := range parts {
				all = append(all, word)
				if short, ok := shortened(word); ok {
					all = append(all, short)
				}
			}
		}
	}
	all = slices.DeleteFunc(all, func(word string) bool {
		length := utf8.RuneCountInString(word)
		return length < shortestKnown || length > longestKnown
	})
	slices.SortFunc(all, func(a, b string) int {
		if len(a) != len(b) {
			return len(b) - len(a)
		}
		return strings.Compare(a, b)
	})
	return slices.Compact(all)
}

func onlyLetters(text string) string {
	return strings.Map(func(c rune) rune {
		if isNoLetter(c) {
			return -1
		}
		return c
	}, text)
}

func isNoLetter(c rune) bool { return !unicode.IsLetter(c) && !unicode.IsMark(c) }

// disguises are readings of digits and signs as letters. Those that stand for
// either of two letters are read in both ways, one for the whole text.
var disguises = [...]map[rune]rune{
	{'4': 'a', '@': 'a', '8': 'b', '(': 'c', '3': 'e', '6': 'g', '9': 'g', '1': 'i', '!': 'i', '|': 'i', '0': 'o', '$': 's', '5': 's', '7': 't', '+': 't', '2': 'z', '%': 'x'},
	{'4': 'a', '@': 'a', '8': 'b', '<': 'c', '3': 'e', '6': 'g', '9': 'g', '1': 'l', '!': 'l', '|': 'l', '0': 'o', '$': 's', '5': 's', '7': 'l', '+': 't', '2': 'z', '%': 'x'},
}

// wordTokens returns the known and the listed words of the text, as written,
// backwards and in disguise. Each form costs a guesser something more.
func (r *reading) wordTokens() []token {
	all := r.wordsOf(r.lower)
	for _, letters := range disguises {
		undisguised := undisguise(r.lower, letters)
		for _, t := range r.wordsOf(undisguised) {
			if bits := disguiseBits(r.lower[t.from:t.to], undisguised[t.from:t.to]); bits > 0 {
				t.bits += bits
				all = append(all, t)
			}
		}
	}
	backwards := slices.Clone(r.lower)
	slices.Reverse(backwards)
	for _, t := range r.wordsOf(backwards) {
		t.from, t.to, t.bits = len(r.text)-t.to, len(r.text)-t.from, t.bits+1
		all = append(all, t)
	}
	for i := range all {
		all[i].bits += caseBits(r.text[all[i].from:all[i].to])
	}
	return all
}

// wordsOf finds words in text, which is r's in some form.
func (r *reading) wordsOf(text []rune) []token {
	var all []token
	ascii := asciiOf(text)
	for from := range text {
		eachWord(ascii[from:], func(length, rank int) {
			all = append(all, token{from: from, to: from + length, bits: math.Log2(float64(rank)), basis: Word})
		})
		for length := shortestKnown; length <= min(r.longest, len(text)-from); length++ {
			if basis, ok := r.known[string(text[from:from+length])]; ok {
				all = append(all, token{from: from, to: from + length, basis: basis})
			}
		}
	}
	return all
}

// asciiOf returns text with one byte a rune, NUL where it isn't ASCII.
func asciiOf(text []rune) string {
	ascii := make([]byte, len(text))
	for i, c := range text {
		if c < utf8.RuneSelf {
			ascii[i] = byte(c)
		}
	}
	return string(ascii)
}

func undisguise(text []rune, letters map[rune]rune) []rune {
	undisguised := slices.Clone(text)
	for i, c := range text {
		if letter, ok := letters[c]; ok {
			undisguised[i] = letter
		}
	}
	return undisguised
}

// disguiseBits is one for each kind of letter that is disguised; 0 where none
// is, or nothing else: of digits alone nobody thinks as of a word.
func disguiseBits(written, meant []rune) float64 {
	if !slices.ContainsFunc(written, unicode.IsLetter) {
		return 0
	}
	var kinds []rune
	for i := range written {
		if written[i] != meant[i] && !slices.Contains(kinds, written[i]) {
			kinds = append(kinds, written[i])
		}
	}
	return float64(len(kinds))
}

// caseBits is what a guesser pays for capitals (Wheeler section 5.1): next to
// nothing for the usual ones.
func caseBits(text []rune) float64 {
	var upper, lower int
	for _, c := range text {
		switch {
		case unicode.IsUpper(c):
			upper++
		case unicode.IsLower(c):
			lower++
		}
	}
	switch {
	case upper == 0:
		return 0
	case lower == 0, upper == 1 && unicode.IsUpper(text[0]), upper == 1 && unicode.IsUpper(text[len(text)-1]):
		return 1
	}
	ways := 0.0
	for chosen := 1; chosen <= min(upper, lower); chosen++ {
		ways += choose(upper+lower, chosen)
	}
	return math.Log2(ways)
}

// choose is the binomial coefficient.
func choose(n, k int) float64 {
	ways := 1.0
	for i := 1; i <= k; i++ {
		ways *= float64(n-k+i) / float64(i)
	}
	return ways
}
