package accesstoken

import (
	"fmt"
	"hash/crc32"
	"io"
	"net/url"
	"strings"
)

// Prefix begins every token, of either kind.
const Prefix = "pct_"

// Kind says who a token is for, as written after Prefix.
type Kind string

// The kinds of tokens.
const (
	// Service is for a machine, and created by an administrator.
	Service Kind = "s_"
	// Personal is created by a person for one app.
	Personal Kind = "p_"
)

const (
	selectorLength = 10
	secretLength   = 27 // 160 bits
	checksumLength = 6  // 32 bits
	bodyLength     = selectorLength + secretLength + checksumLength
	// Length is the length of a token in bytes.
	Length = len(Prefix) + 2 + bodyLength

	// letters are those of base 62: no hyphen, so that a double click takes a token
	// whole.
	letters = "0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
)

// Pattern is a regular expression (RE2) that finds tokens in a text.
const Pattern = `pct_[sp]_[0-9A-Za-z]{43}`

// New returns a new token and its selector.
func New(random io.Reader, kind Kind) (token, selector string, err error) {
	body, err := randomLetters(random, selectorLength+secretLength)
	if err != nil {
		return "", "", fmt.Errorf("making an access token: %w", err)
	}
	token = Prefix + string(kind) + body
	return token + checksum(token), body[:selectorLength], nil
}

// Renew returns a token of the same kind and with the same selector as an earlier one,
// and with a new secret.
func Renew(random io.Reader, kind Kind, selector string) (string, error) {
	secret, err := randomLetters(random, secretLength)
	if err != nil {
		return "", fmt.Errorf("renewing an access token: %w", err)
	}
	token := Prefix + string(kind) + selector + secret
	return token + checksum(token), nil
}

// randomLetters returns letters, all equally likely.
func randomLetters(random io.Reader, length int) (string, error) {
	const fair = 256 - 256%len(letters) // bytes from here on would favour some
	drawn := make([]byte, 0, length)
	for buffer := make([]byte, length); len(drawn) < length; {
		if _, err := io.ReadFull(random, buffer); err != nil {
			return "", err
		}
		for _, b := range buffer {
			if int(b) < fair && len(drawn) < length {
				drawn = append(drawn, letters[int(b)%len(letters)])
			}
		}
	}
	return string(drawn), nil
}

// checksum returns the CRC-32 (IEEE) of a text in six letters.
func checksum(text string) string {
	sum := crc32.ChecksumIEEE([]byte(text))
	var digits [checksumLength]byte
	for i := len(digits) - 1; i >= 0; i-- {
		digits[i] = letters[sum%uint32(len(letters))]
		sum /= uint32(len(letters))
	}
	return string(digits[:])
}

// IsOurs reports whether a text looks like one of our tokens, well-formed or not.
func IsOurs(text string) bool {
	return strings.HasPrefix(text, Prefix+string(Service)) || strings.HasPrefix(text, Prefix+string(Personal))
}

// IsPersonal reports whether a text looks like an app password, well-formed or not.
func IsPersonal(text string) bool { return strings.HasPrefix(text, Prefix+string(Personal)) }

// Selector returns the selector of a token, or false if the text isn't a token. So
// refusing it costs no look-up.
func Selector(token string) (selector string, ok bool) {
	if len(token) != Length || !IsOurs(token) {
		return "", false
	}
	for i := len(token) - bodyLength; i < len(token); i++ {
		if !isLetter(token[i]) {
			return "", false
		}
	}
	end := len(token) - checksumLength
	begin := len(token) - bodyLength
	return token[begin : begin+selectorLength], checksum(token[:end]) == token[end:]
}

func isLetter(c byte) bool {
	return '0' <= c && c <= '9' || 'A' <= c && c <= 'Z' || 'a' <= c && c <= 'z'
}

// Find returns the first whole token in a text, or "" if there is none.
func Find(text string) string {
	for {
		at := strings.Index(text, Prefix)
		if at < 0 {
			return ""
		}
		text = text[at:]
		token := text[:min(len(text), Length)]
		if _, ok := Selector(token); ok {
			return token
		}
		text = text[len(Prefix):]
	}
}

// FindEscaped is Find for a text that may be percent-encoded, such as a query.
func FindEscaped(text string) string {
	if token := Find(text); token != "" || !strings.Contains(text, "%") {
		return token
	}
	plain, err := url.PathUnescape(text)
	if err != nil {
		return ""
	}
	return Find(plain)
}
