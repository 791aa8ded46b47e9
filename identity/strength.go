package identity

import (
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/ccojocar/zxcvbn-go"
	"github.com/ccojocar/zxcvbn-go/adjacency"
	"github.com/ccojocar/zxcvbn-go/match"
	"github.com/ccojocar/zxcvbn-go/matching"
	"golang.org/x/text/unicode/norm"
)

// What an estimate may cost: its time grows with the square of the length and
// with the number of readings. The dearest input found within these bounds
// takes about 20 ms, an ordinary one less than 1 ms.
const (
	maxEstimated = 64
	maxReadings  = 4
)

// Strength estimates how well a password resists guessing, for a meter beside
// the field: 0 (among the first guesses) to 4 (strong). Names in own make it
// weaker, as they do in PasswordPolicy.Check.
//
// It judges the first 64 code points. It is an estimate by zxcvbn and decides
// nothing: whether a password is accepted is for PasswordPolicy.Check to say.
func Strength(password string, own ...string) int {
	if len(password) > maxPasswordBytes {
		password = password[:maxPasswordBytes]
	}
	plain := plainText(password)
	if len(plain) > maxEstimated {
		plain = plain[:maxEstimated]
	}
	var words []string
	for _, word := range wordsOf(foldNames(own)) {
		words = append(words, plainText(word))
	}
	return zxcvbn.PasswordStrength(plain, words, affordable(plain)...).Score
}

// affordable returns the filters that keep the search of plain within bounds.
func affordable(plain string) []func(match.Matcher) bool {
	if readings(plain) > maxReadings {
		return []func(match.Matcher) bool{matching.FilterL33tMatcher}
	}
	return nil
}

// plainText spells text in ASCII, one byte a character, since zxcvbn-go
// measures bytes and would take a short word of another script for a long one.
// Accents go; every other foreign character becomes a letter, the same one
// each time, which keeps repetitions visible and errs on the low side.
func plainText(text string) string {
	return strings.Map(func(r rune) rune {
		switch {
		case r < utf8.RuneSelf:
			return r
		case unicode.IsMark(r):
			return -1
		}
		return 'a' + r%26
	}, norm.NFKD.String(text))
}

// readings bounds from above in how many ways zxcvbn reads signs in text as
// letters, as in "p4$$w0rd". It tries them all: twenty such signs make a
// thousand of them, and take a second.
func readings(text string) int {
	count := 1
	meanings := make(map[string]int)
	for _, signs := range adjacency.GraphMap["l33t"].Graph {
		present := 0
		for _, sign := range signs {
			if strings.Contains(text, sign) {
				present++
				meanings[sign]++
			}
		}
		count *= max(present, 1)
	}
	for _, letters := range meanings {
		count *= letters
	}
	return count
}
