package token_test

import (
	"bytes"
	"crypto/rand"
	"errors"
	"io"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"

	"github.com/portcullis-mfa/portcullis/token"
)

var urlSafe = regexp.MustCompile(`^[A-Za-z0-9_-]{43}$`)

func TestTokensAreLongURLSafeAndNeverTheSame(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		value, err := token.New(rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if !urlSafe.MatchString(value) {
			t.Fatalf("%q is not 43 URL-safe characters", value)
		}
		if seen[value] {
			t.Fatal("a token came twice")
		}
		seen[value] = true
	}
}

func TestTokenHoldsAllTheRandomnessThatItTook(t *testing.T) {
	value, err := token.New(strings.NewReader(strings.Repeat("\xff", 32)))
	if err != nil || value != strings.Repeat("_", 42)+"8" {
		t.Errorf("32 bytes of 0xff make %q, %v", value, err)
	}
}

// Half a token would be guessed sooner than a whole one.
func TestNoTokenWithoutAllRandomness(t *testing.T) {
	broken := errors.New("broken")
	tests := []struct {
		name   string
		random io.Reader
		want   error
	}{
		{"none", strings.NewReader(""), io.EOF},
		{"a byte short", bytes.NewReader(make([]byte, 31)), io.ErrUnexpectedEOF},
		{"broken", iotest.ErrReader(broken), broken},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			if value, err := token.New(test.random); value != "" || !errors.Is(err, test.want) {
				t.Errorf("got %q, %v", value, err)
			}
		})
	}
	t.Run("in small pieces", func(t *testing.T) {
		if value, err := token.New(iotest.OneByteReader(rand.Reader)); err != nil || !urlSafe.MatchString(value) {
			t.Errorf("got %q, %v", value, err)
		}
	})
}

func TestHash(t *testing.T) {
	// SHA-256 of "abc" (FIPS 180-4, example B.1), in base64url.
	if got := token.Hash("abc"); got != "ungWv48Bz-pBQUDeXa4iI7ADYaOWF3qctBD_YfIAFa0" {
		t.Errorf("the hash of abc is %q", got)
	}
	if token.Hash("abc") == token.Hash("abd") {
		t.Error("two tokens have one hash")
	}
}

var readAloud = regexp.MustCompile(`^[0-9A-HJKMNP-TV-Z]{4}-[0-9A-HJKMNP-TV-Z]{4}$`)

func TestReferences(t *testing.T) {
	seen := make(map[string]bool)
	for range 1000 {
		reference := token.Reference(rand.Reader)
		if !readAloud.MatchString(reference) {
			t.Fatalf("%q can't be read out without mistakes", reference)
		}
		seen[reference] = true
	}
	if len(seen) < 999 {
		t.Errorf("1000 references are %d different ones", len(seen))
	}
	if got := token.Reference(iotest.ErrReader(errors.New("broken"))); got != "0000-0000" {
		t.Errorf("without randomness the reference is %q", got)
	}
}
