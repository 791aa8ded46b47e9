package token

import (
	"fmt"
	"io"
	"slices"
	"strings"
	"unicode"
)

// letters is Crockford's base 32: no I, L, O and U, so that nothing is
// mistaken for 1 or 0 and hardly a word comes out.
const letters = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"

// groupLength is how many letters of a code stand together.
const groupLength = 4

// NewCode returns a code for people to copy by hand, in canonical form: so many
// letters of five bits each.
func NewCode(random io.Reader, length int) (string, error) {
	raw := make([]byte, length)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", fmt.Errorf("making a code: %w", err)
	}
	return CodeOf(raw), nil
}

// CodeOf returns the code that stands for bytes, in canonical form: a letter for each,
// which says five of its bits.
func CodeOf(raw []byte) string {
	code := make([]byte, len(raw))
	for i, b := range raw {
		code[i] = letters[b%byte(len(letters))] // 32 letters: no bias
	}
	return string(code)
}

// Grouped is how people see a code: in groups of four, with dashes.
func Grouped(code string) string {
	var groups []string
	for group := range slices.Chunk([]byte(code), groupLength) {
		groups = append(groups, string(group))
	}
	return strings.Join(groups, "-")
}

// ReadCode reads a code of so many letters as people type or paste it: in either
// case, with anything blank and dashes anywhere, with look-alikes for what the
// alphabet leaves out. It returns the canonical form.
func ReadCode(typed string, length int) (code string, ok bool) {
	read := make([]byte, 0, length)
	for _, r := range typed {
		if isBlank(r) || unicode.Is(unicode.Dash, r) {
			continue
		}
		letter := meant(plain(r))
		if letter == 0 || len(read) == length {
			return "", false
		}
		read = append(read, letter)
	}
	return string(read), len(read) == length
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
	if strings.ContainsRune(letters, r) {
		return byte(r)
	}
	return 0
}
