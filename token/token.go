// Package token makes bearer tokens, the hashes under which they are kept, and
// codes that people copy by hand.
//
// Whoever holds a token may do what it stands for, so the token itself goes to
// its bearer alone and only its hash is stored. The package must not know what
// a token stands for.
package token

import (
	"crypto/sha256"
	"encoding/base64"
	"fmt"
	"io"
)

// Bytes is the entropy of every token: 256 bits (NIST SP 800-63B-4 §5.1.1 asks
// for 64 at least, the project for 128).
const Bytes = 32

// New returns a fresh token of 43 URL-safe characters.
func New(random io.Reader) (string, error) {
	raw := make([]byte, Bytes)
	if _, err := io.ReadFull(random, raw); err != nil {
		return "", fmt.Errorf("making a token: %w", err)
	}
	return base64.RawURLEncoding.EncodeToString(raw), nil
}

// Hash returns what is stored in a token's place. A token has full entropy, so
// one round of SHA-256 suffices.
func Hash(token string) string {
	sum := sha256.Sum256([]byte(token))
	return base64.RawURLEncoding.EncodeToString(sum[:])
}

// Reference returns a short id, such as 7F3K-92QD, that a person can read out
// and an operator find in the log. It grants nothing. Where randomness fails
// it is 0000-0000: no page fails for want of it.
func Reference(random io.Reader) string {
	code, err := NewCode(random, 8)
	if err != nil {
		code = "00000000"
	}
	return Grouped(code)
}
