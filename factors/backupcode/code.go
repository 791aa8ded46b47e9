package backupcode

import (
	"errors"
	"io"
	"slices"

	"github.com/portcullis-mfa/portcullis/token"
)

const (
	// codesPerSet and codeLetters make ten codes of 60 bits each.
	codesPerSet = 10
	codeLetters = 12
	// selectorLetters of a code are no secret from whoever reads the opened
	// credential; the other 50 bits are hashed.
	selectorLetters = 2
	// maxDraws ends the search for different selectors. Ten draws nearly
	// always suffice; a source of randomness that repeats itself never would.
	maxDraws = 1000
)

// newCodes returns a set of codes in canonical form, whose selectors differ.
func newCodes(random io.Reader) ([]string, error) {
	codes := make([]string, 0, codesPerSet)
	for range maxDraws {
		code, err := token.NewCode(random, codeLetters)
		if err != nil {
			return nil, err
		}
		if !slices.ContainsFunc(codes, func(other string) bool { return sameSelector(code, other) }) {
			codes = append(codes, code)
		}
		if len(codes) == codesPerSet {
			return codes, nil
		}
	}
	return nil, errors.New("the source of randomness repeats itself")
}

func sameSelector(a, b string) bool { return a[:selectorLetters] == b[:selectorLetters] }

// canonical reads a code as people type it.
func canonical(typed string) (code string, ok bool) { return token.ReadCode(typed, codeLetters) }
