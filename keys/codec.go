package keys

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"strings"

	"github.com/gorilla/securecookie"
)

// DefaultMaxLength is the longest encoded value of a codec unless it is told
// otherwise: what browsers keep of a cookie at the least, RFC 6265 §6.1.
const DefaultMaxLength = 4096

// ErrTooLong says that an encoded value would exceed the codec's limit.
var ErrTooLong = errors.New("the encoded value is too long")

// Codec signs and encrypts values under one name, by the keys that the set has
// at that moment. What one name encoded, no other decodes. It is safe for
// concurrent use.
//
// The encoded form is the key's id, a tilde, and the value in base64url; each
// value has exactly one. It carries no expiry: put one into the payload. What
// earlier versions encoded has a dot in place of the tilde, and is decoded too.
type Codec struct {
	set       *Set
	name      string
	maxLength int
}

// Codec returns the codec for values of that name.
func (s *Set) Codec(name string) *Codec {
	return &Codec{set: s, name: name, maxLength: DefaultMaxLength}
}

// WithMaxLength returns a codec of the same name whose encoded values may have
// up to n bytes.
func (c *Codec) WithMaxLength(n int) *Codec {
	return &Codec{set: c.set, name: c.name, maxLength: n}
}

// Encode returns the encoded form of the value, which is not empty, under the
// current key.
func (c *Codec) Encode(value []byte) (string, error) {
	if len(value) == 0 {
		// The library would encode it and then refuse to decode it.
		return "", errors.New("encoding an empty value")
	}
	now := c.set.current.Load()
	id := now.currentCookie
	// The library encrypts in place.
	body, err := now.cookies[id].Encode(packedName+c.name, bytes.Clone(value))
	if err != nil {
		return "", fmt.Errorf("encoding: %w", err)
	}
	packed, err := pack(body)
	if err != nil {
		return "", fmt.Errorf("encoding: %w", err)
	}
	if encoded := id + "~" + packed; len(encoded) <= c.maxLength {
		return encoded, nil
	}
	return "", fmt.Errorf("%w: %d bytes make %d, the limit is %d", ErrTooLong, len(value), len(id)+1+len(packed), c.maxLength)
}

// Decode returns the value that Encode was given. Everything else, whatever it
// is, is ErrInvalid: too long, altered in any character, made under another
// name or, as ErrUnknownKey, under a key that is not in the set any more. The latter and
// whatever has not the right form cost no cryptography.
func (c *Codec) Decode(encoded string) ([]byte, error) {
	if len(encoded) > c.maxLength {
		return nil, ErrInvalid
	}
	at := strings.IndexAny(encoded, "~.")
	if at < 0 {
		return nil, ErrInvalid
	}
	id, body := encoded[:at], encoded[at+1:]
	key, known := c.set.current.Load().cookies[id]
	if !known {
		return nil, ErrUnknownKey
	}
	name, canonical := c.name, false
	if encoded[at] == '~' {
		name = packedName + name
		body, canonical = unpack(body)
	} else {
		canonical = canonicalBase64(body)
	}
	if !canonical {
		return nil, ErrInvalid
	}
	return decode(key, name, body)
}

func decode(key *securecookie.SecureCookie, name, body string) ([]byte, error) {
	var value []byte
	if err := key.Decode(name, body, &value); err != nil {
		// Which of its checks failed is nobody's business.
		return nil, ErrInvalid
	}
	return value, nil
}

// canonicalBase64 reports whether s, if it is base64url at all, is the one
// encoding of its bytes. Go's decoder skips line breaks and, unless strict,
// the unused bits of the last character; all else it checks itself.
func canonicalBase64(s string) bool {
	if len(s) < 4 || strings.ContainsAny(s, "\r\n") {
		return false
	}
	var last [3]byte
	_, err := base64.URLEncoding.Strict().Decode(last[:], []byte(s[len(s)-4:]))
	return err == nil
}
