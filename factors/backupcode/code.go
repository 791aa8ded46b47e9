package backupcode

import (
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

const (
	// alphabet is Crockford's base 32: no I, L, O and U, so that nothing is
	// mistaken for 1 or 0 and hardly a word comes out.
	alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
	// codesPerSet and codeLetters make ten codes of 60 bits each.
	codesPerSet  = 10
	codeLetters  = 12
	groupLetters = 4
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
		code, err := newCode(random)
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

// newCode takes five bits of each random byte: 32 letters, no bias.
func newCode(random io.Reader) (string, error) {
	code := make([]byte, codeLetters)
	if _, err := io.ReadFull(random, code); err != nil {
		return "", fmt.Errorf("reading random bytes: %w", err)
	}
	for i, b := range code {
		code[i] = alphabet[b%byte(len(alphabet))]
	}
	return string(code), nil
}

func sameSelector(a, b string) bool { return a[:selectorLetters] == b[:selectorLetters] }

// inGroups is how people see a code.
func inGroups(code string) string {
	var groups []string
	for group := range slices.Chunk([]byte(code), groupLetters) {
		groups = append(groups, string(group))
	}
	return strings.Join(groups, "-")
}

// canonical reads a code as people type it: in either case, with spaces and
// dashes anywhere, with look-alikes for what the alphabet leaves out.
func canonical(typed string) (code string, ok bool) {
	letters := make([]byte, 0, codeLetters)
	for _, r := range typed {
		if unicode.IsSpace(r) || unicode.Is(unicode.Dash, r) {
			continue
		}
		letter := meant(r)
		if letter == 0 || len(letters) == codeLetters {
			return "", false
		}
		letters = append(letters, letter)
	}
	return string(letters), len(letters) == codeLetters
}

// meant returns the letter of the alphabet that r stands for, or 0. Only ASCII
// has case here: Unicode would make an S of ſ.
func meant(r rune) byte {
	if 'a' <= r && r <= 'z' {
		r -= 'a' - 'A'
	}
	switch r {
	case 'O':
		return '0'
	case 'I', 'L':
		return '1'
	}
	if strings.ContainsRune(alphabet, r) {
		return byte(r)
	}
	return 0
}
