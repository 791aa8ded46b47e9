package identity

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"sync"
	"unicode"
	"unicode/utf8"

	"github.com/ccojocar/zxcvbn-go/frequency"
	"golang.org/x/text/cases"
	"golang.org/x/text/unicode/norm"
)

// The lengths of passwords, in code points (NIST SP 800-63B-4 section
// 3.1.1.2).
const (
	// MinLengthWithSecond is the least where a second factor is always asked.
	MinLengthWithSecond = 8
	// MinLengthAlone is the least where a password may be all that is asked.
	MinLengthAlone = 15
	// MaxLength is the most. Nothing is ever cut off: longer ones are refused.
	MaxLength = 128
)

// maxPasswordBytes bounds what a password may cost before it is even counted.
// No text that NFKC brings down to MaxLength code points is longer, short of
// ones made to be.
const maxPasswordBytes = 2048

// shortestWord is the length from which a part of a name counts as a word of
// its own; shorter ones turn up in passwords by chance.
const shortestWord = 3

// PasswordReason is why a password was refused.
type PasswordReason string

// The reasons.
const (
	TooShort  PasswordReason = "too short"
	TooLong   PasswordReason = "too long"
	Malformed PasswordReason = "malformed" // control characters, or not UTF-8
	Common    PasswordReason = "common"    // a common password, a plain word or a common name
	OwnName   PasswordReason = "own name"  // made of the person's own names or address
	BrandName PasswordReason = "brand"     // made of the name of the service
)

// PasswordError says why a password was refused. It holds nothing of the
// password but its length, and that only where it was too short.
type PasswordError struct {
	Reason PasswordReason
	// Length is the password's, in code points, with TooShort.
	Length int
	// Limit is what the length is held against, with TooShort and TooLong.
	Limit int
}

// Error implements error.
func (e *PasswordError) Error() string { return "password refused: " + string(e.Reason) }

// Text is the reason, and what to do, in plain sentences for the person who
// chose the password.
func (e *PasswordError) Text() string {
	switch e.Reason {
	case TooShort:
		if e.Length == 0 {
			return fmt.Sprintf("Enter a password of at least %s.", characters(e.Limit))
		}
		return fmt.Sprintf("That password has %s. Use at least %d.", characters(e.Length), e.Limit)
	case TooLong:
		return fmt.Sprintf("That password is too long. Use at most %s.", characters(e.Limit))
	case Malformed:
		return "That password has characters that can't be typed. Use letters, digits, signs and spaces."
	case Common:
		return "That password is a common one or a plain word, and those are guessed first. Choose another, such as a few words that don't belong together."
	case OwnName:
		return "That password is made of your own name or address, and those are guessed first. Choose another."
	case BrandName:
		return "That password is made of the name of this service, and that is guessed first. Choose another."
	}
	return "That password can't be used. Choose another."
}

// Phrase names the text of the catalogues that says what Text does, with its
// values.
func (e *PasswordError) Phrase() (key string, values map[string]any) {
	switch e.Reason {
	case TooShort:
		if e.Length == 0 {
			return "password_rules.missing", map[string]any{"Count": e.Limit}
		}
		return "password_rules.too_short", map[string]any{"Count": e.Length, "Limit": e.Limit}
	case TooLong:
		return "password_rules.too_long", map[string]any{"Count": e.Limit}
	case Malformed:
		return "password_rules.malformed", nil
	case Common:
		return "password_rules.common", nil
	case OwnName:
		return "password_rules.own_name", nil
	case BrandName:
		return "password_rules.brand", nil
	}
	return "password_rules.refused", nil
}

func characters(count int) string {
	if count == 1 {
		return "1 character"
	}
	return fmt.Sprintf("%d characters", count)
}

// PasswordPolicy is what a new password must meet: a length and not being
// expected, as NIST SP 800-63B-4 section 3.1.1.2 has it. There are no rules
// about kinds of characters.
type PasswordPolicy struct {
	// MinLength is the least number of code points; 0 means
	// MinLengthWithSecond. Where a gate accepts a password alone it must be
	// MinLengthAlone.
	MinLength int
	// Brand is the name of the service, which people use in passwords; may be
	// empty.
	Brand string
}

// Check returns nil for a password that may be chosen by a person whose names
// are own (user name, e-mail address, display name), else a *PasswordError.
//
// The password as a whole is held against a list of common ones, plain words
// and common names, case aside, and against what guessers make of them first:
// one with a digit or two, a run of keys, one key over and over (Strength 0).
// It may contain such a word. It may not consist
// of own names or of the brand alone: in any order or case, reversed, with
// digits, signs and spaces anywhere.
func (p PasswordPolicy) Check(password string, own ...string) error {
	normal, err := normalise(password)
	if err != nil {
		return err
	}
	// A ligature that NFKC spells out counts once, as it was typed once.
	length := min(utf8.RuneCountInString(normal), utf8.RuneCountInString(password))
	if least := cmp.Or(p.MinLength, MinLengthWithSecond); length < least {
		return &PasswordError{Reason: TooShort, Length: length, Limit: least}
	}
	folded := fold(normal)
	switch {
	case isMadeOf(folded, own):
		return &PasswordError{Reason: OwnName}
	case p.Brand != "" && isMadeOf(folded, append(slices.Clone(own), p.Brand)):
		return &PasswordError{Reason: BrandName}
	case isCommon(folded), isGuessedFirst(folded):
		return &PasswordError{Reason: Common}
	}
	return nil
}

// normalise returns the form of a password that is counted, compared and
// hashed: NFKC (NIST SP 800-63B-4 section 3.1.1.2), chosen over OpaqueString of
// RFC 8265, which lets full-width and half-width forms, as keyboards of
// different systems send them, be different passwords. Case and every space
// stay. What is refused here costs next to nothing, whatever its size.
func normalise(password string) (string, error) {
	tooLong := &PasswordError{Reason: TooLong, Limit: MaxLength}
	if len(password) > maxPasswordBytes {
		return "", tooLong
	}
	if !utf8.ValidString(password) || strings.ContainsFunc(password, unicode.IsControl) {
		return "", &PasswordError{Reason: Malformed}
	}
	normal := norm.NFKC.String(password)
	if utf8.RuneCountInString(normal) > MaxLength {
		return "", tooLong
	}
	return normal, nil
}

// fold brings texts that differ in form or case only to one text.
func fold(text string) string {
	return cases.Fold().String(norm.NFKC.String(text))
}

// isMadeOf reports whether somebody who knows the names would guess the folded
// password from them.
func isMadeOf(password string, names []string) bool {
	names = foldNames(names)
	if slices.ContainsFunc(names, func(name string) bool { return isVariation(password, name) }) {
		return true
	}
	rest := onlyLetters(password)
	if rest == "" {
		return false
	}
	for _, word := range wordsOf(names) {
		// A gap stays, lest the parts around it make a word together.
		rest = strings.ReplaceAll(rest, word, " ")
		rest = strings.ReplaceAll(rest, reverse(word), " ")
	}
	return strings.TrimSpace(rest) == ""
}

// isVariation reports whether the folded password is the folded name, read
// either way, or that with digits and signs after it. Unlike the search for
// words it knows names without letters, and the shortest ones.
func isVariation(password, name string) bool {
	if password == name || password == reverse(name) {
		return true
	}
	stem := strings.TrimRightFunc(password, isNoLetter)
	return stem == name || stem == reverse(name)
}

// foldNames returns the names folded, and of each address the part before the
// @ as a name too.
func foldNames(names []string) []string {
	var folded []string
	for _, name := range names {
		if name == "" || len(name) > maxInputBytes {
			continue // not a name that was ever accepted
		}
		name = fold(name)
		folded = append(folded, name)
		if local, _, found := strings.Cut(name, "@"); found && local != "" {
			folded = append(folded, local)
		}
	}
	return folded
}

// wordsOf returns the words that folded names consist of, and each name
// written as one word, longest first.
func wordsOf(names []string) []string {
	var words []string
	for _, name := range names {
		words = append(words, onlyLetters(name))
		words = append(words, strings.FieldsFunc(name, isNoLetter)...)
	}
	words = slices.DeleteFunc(words, func(word string) bool {
		return utf8.RuneCountInString(word) < shortestWord
	})
	slices.SortFunc(words, func(a, b string) int {
		return cmp.Or(cmp.Compare(len(b), len(a)), strings.Compare(a, b))
	})
	return slices.Compact(words)
}

func onlyLetters(text string) string {
	return strings.Map(func(r rune) rune {
		if isNoLetter(r) {
			return -1
		}
		return r
	}, text)
}

func isNoLetter(r rune) bool { return !unicode.IsLetter(r) && !unicode.IsMark(r) }

func reverse(text string) string {
	runes := []rune(text)
	slices.Reverse(runes)
	return string(runes)
}

// commonPasswords is the list of what is guessed first, folded and sorted: the
// common passwords, English words, and first and last names of zxcvbn-go.
var commonPasswords = sync.OnceValue(func() []string {
	var all []string
	for _, list := range frequency.Lists {
		for _, entry := range list.List {
			all = append(all, fold(entry))
		}
	}
	slices.Sort(all)
	return slices.Clip(slices.Compact(all))
})

// isGuessedFirst reports whether the password would be among the first guesses
// although no list holds it. Only ASCII is judged: of other scripts the
// estimate knows nothing.
func isGuessedFirst(folded string) bool {
	for i := range len(folded) {
		if folded[i] >= utf8.RuneSelf {
			return false
		}
	}
	return Strength(folded) == 0
}

func isCommon(folded string) bool {
	_, found := slices.BinarySearch(commonPasswords(), folded)
	return found
}
