package identity

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/unicode/norm"

	"github.com/portcullis-mfa/portcullis/strength"
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

// PasswordReason is why a password was refused.
type PasswordReason string

// The reasons.
const (
	TooShort  PasswordReason = "too short"
	TooLong   PasswordReason = "too long"
	Malformed PasswordReason = "malformed" // control characters, or not UTF-8
	Common    PasswordReason = "common"    // a common password, word or name with little added
	Patterned PasswordReason = "pattern"   // keys side by side, repeated parts, dates
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
		return "That password has characters that can't be typed. Use letters, digits, symbols and spaces."
	case Common:
		return "That password is a common one, or a common word with little added. Those are guessed first. Choose another, such as a few words that don't belong together."
	case Patterned:
		return "That password follows a pattern, such as keys side by side, a repeated part or a date. Those are guessed first. Choose another, such as a few words that don't belong together."
	case OwnName:
		return "That password is made of your own name or address, with little added. Those are guessed first. Choose another."
	case BrandName:
		return "That password is made of the name of this service or its address, with little added. Those are guessed first. Choose another."
	}
	return "You can't use that password. Choose another."
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
	case Patterned:
		return "password_rules.pattern", nil
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
	// Services are the names of the service and the hosts of its sites, which
	// people use in passwords; may be empty.
	Services []string
}

// Judgement is what there is to say of a password that somebody wants.
type Judgement struct {
	// Score is for a meter: 0 (among the first guesses) to 4 (strong). It is
	// at least acceptableScore where the password may be chosen, and less where
	// it may not.
	Score int
	// Refusal is a *PasswordError that says why it may not be chosen; nil: it
	// may.
	Refusal error
}

// The scores, as logarithms to the base 2 of the guesses that a password
// withstands at the least. With a million guesses a year, which no limit on
// failures lets anybody make, a password of the least acceptable score lasts
// ten years.
var scores = [...]float64{1: 10, 2: 23.25, 3: 30, 4: 36.5}

const acceptableScore = 2

// Check returns nil for a password that may be chosen by a person whose names
// are own (user name, e-mail address, display name), else a *PasswordError. It
// says what Judge says.
func (p PasswordPolicy) Check(password string, own ...string) error {
	return p.Judge(password, own...).Refusal
}

// Judge decides whether a person whose names are own (user name, e-mail
// address, display name) may choose a password, and says how well it resists
// guessing. It refuses what somebody who knows the person and the service tries
// first: see the package strength. A password may contain names and common
// words, if enough is added to them; it may not consist of own names or of
// those of the service alone, however much that is.
func (p PasswordPolicy) Judge(password string, own ...string) Judgement {
	normal, refusal := normalise(password)
	if refusal != nil {
		return Judgement{Refusal: refusal}
	}
	own, services := acceptable(own), acceptable(p.Services)
	estimate := strength.Of(normal, strength.Known{Own: own, Service: services})
	judged := Judgement{Score: scoreOf(estimate)}
	// A ligature that NFKC spells out counts once, as it was typed once.
	length := min(utf8.RuneCountInString(normal), utf8.RuneCountInString(password))
	switch least := cmp.Or(p.MinLength, MinLengthWithSecond); {
	case length < least:
		judged.Refusal = &PasswordError{Reason: TooShort, Length: length, Limit: least}
	case strength.IsMadeOf(normal, own):
		judged.Refusal = &PasswordError{Reason: OwnName}
	case strength.IsMadeOf(normal, slices.Concat(own, services)):
		judged.Refusal = &PasswordError{Reason: BrandName}
	case judged.Score < acceptableScore:
		judged.Refusal = &PasswordError{Reason: reasonOf(estimate.Basis)}
	}
	if judged.Refusal != nil {
		judged.Score = min(judged.Score, acceptableScore-1)
	}
	return judged
}

// acceptable leaves out what no name is that was ever accepted.
func acceptable(names []string) []string {
	return slices.DeleteFunc(slices.Clone(names), func(name string) bool {
		return name == "" || len(name) > maxInputBytes
	})
}

func scoreOf(e strength.Estimate) int {
	score := 0
	for score+1 < len(scores) && e.Bits >= scores[score+1] {
		score++
	}
	return score
}

func reasonOf(basis strength.Basis) PasswordReason {
	switch basis {
	case strength.Own:
		return OwnName
	case strength.Service:
		return BrandName
	case strength.Pattern:
		return Patterned
	}
	return Common
}

// normalise returns the form of a password that is counted, compared and
// hashed: NFKC (NIST SP 800-63B-4 section 3.1.1.2), chosen over OpaqueString of
// RFC 8265, which lets full-width and half-width forms, as keyboards of
// different systems send them, be different passwords. Case and every space
// stay. What is refused here costs next to nothing, whatever its size.
func normalise(password string) (string, *PasswordError) {
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
