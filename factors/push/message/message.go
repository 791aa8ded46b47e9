// Package message reads the signed messages of the authenticator app: JWS in its
// compact form (RFC 7515 §7.1), signed with ES256 (RFC 7518 §3.4), as
// docs/push-protocol.md describes them. A message has one form: everything that
// could be read in a second way is refused.
//
// The package must not know what messages are about, or whether they are fresh.
package message

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"fmt"
	"math/big"
	"strings"

	"github.com/go-json-experiment/json"
)

// Type says what a message is for. It is part of what is signed, so a message for
// one purpose can't be used for another.
type Type string

// The types.
const (
	Pair      Type = "pair"
	Paired    Type = "paired"
	Ready     Type = "ready"
	List      Type = "list"
	Listen    Type = "listen"
	Subscribe Type = "subscribe"
	Answer    Type = "answer"
	Leave     Type = "leave"
)

// MaxSize is the largest size of a message in bytes.
const MaxSize = 8 << 10

// ErrMalformed says that something doesn't have the form of a message.
var ErrMalformed = errors.New("not a message of the authenticator app")

// Signed is a message. It isn't known yet whether its signature is right; see IsBy.
type Signed struct {
	Type Type
	// Thumbprint identifies the key that is said to have signed the message.
	Thumbprint string
	// Key is the key that a message of type Pair carries; nil: of other messages.
	Key *ecdsa.PublicKey

	payload, signed, signature []byte
}

// header is the JOSE header. It has no other fields.
type header struct {
	Algorithm string  `json:"alg"`
	Type      string  `json:"typ"`
	KeyID     *string `json:"kid"`
	Key       *jwk    `json:"jwk"`
}

// jwk is a public key of P-256 (RFC 7518 §6.2.1).
type jwk struct {
	Type  string `json:"kty"`
	Curve string `json:"crv"`
	X     string `json:"x"`
	Y     string `json:"y"`
}

// Parse reads a message, or returns ErrMalformed.
func Parse(compact []byte) (Signed, error) {
	if len(compact) > MaxSize {
		return Signed{}, fmt.Errorf("%w: it is too long", ErrMalformed)
	}
	parts := strings.Split(string(compact), ".")
	if len(parts) != 3 {
		return Signed{}, fmt.Errorf("%w: it has %d parts", ErrMalformed, len(parts))
	}
	var raw [3][]byte
	for i, part := range parts {
		decoded, ok := Decode(part)
		if !ok {
			return Signed{}, fmt.Errorf("%w: part %d isn't base64url", ErrMalformed, i+1)
		}
		raw[i] = decoded
	}
	if len(raw[2]) != 2*scalarSize {
		return Signed{}, fmt.Errorf("%w: its signature has %d bytes", ErrMalformed, len(raw[2]))
	}
	s := Signed{payload: raw[1], signed: compact[:len(parts[0])+1+len(parts[1])], signature: raw[2]}
	return s, s.readHeader(raw[0])
}

func (s *Signed) readHeader(raw []byte) error {
	var h header
	if err := read(raw, &h); err != nil {
		return err
	}
	name, isOurs := strings.CutPrefix(h.Type, typePrefix)
	name, isToken := strings.CutSuffix(name, typeSuffix)
	if h.Algorithm != "ES256" || !isOurs || !isToken {
		return fmt.Errorf("%w: its header names another algorithm or type", ErrMalformed)
	}
	s.Type = Type(name)
	if s.Type != Pair {
		if h.KeyID == nil || h.Key != nil {
			return fmt.Errorf("%w: its header has to name a key", ErrMalformed)
		}
		s.Thumbprint = *h.KeyID
		return nil
	}
	if h.KeyID != nil || h.Key == nil {
		return fmt.Errorf("%w: its header has to carry a key", ErrMalformed)
	}
	var err error
	if s.Key, err = h.Key.parse(); err != nil {
		return err
	}
	s.Thumbprint, err = Thumbprint(s.Key)
	return err
}

const (
	typePrefix = "portcullis-"
	typeSuffix = "+jwt"
	scalarSize = 32 // of P-256
)

// Typ returns the type as it is written in the header.
func (t Type) Typ() string { return typePrefix + string(t) + typeSuffix }

func (k jwk) parse() (*ecdsa.PublicKey, error) {
	x, okX := Decode(k.X)
	y, okY := Decode(k.Y)
	if k.Type != "EC" || k.Curve != "P-256" || !okX || !okY || len(x) != scalarSize || len(y) != scalarSize {
		return nil, fmt.Errorf("%w: its key isn't one of P-256", ErrMalformed)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), bytes.Join([][]byte{{4}, x, y}, nil))
	if err != nil {
		return nil, fmt.Errorf("%w: its key isn't one of P-256", ErrMalformed)
	}
	return key, nil
}

// IsBy reports whether a key signed the message. Two signatures of one message can
// both be right: whether a message came before can't be told by its signature.
func (s Signed) IsBy(key *ecdsa.PublicKey) bool {
	hash := sha256.Sum256(s.signed)
	r, v := new(big.Int).SetBytes(s.signature[:scalarSize]), new(big.Int).SetBytes(s.signature[scalarSize:])
	return ecdsa.Verify(key, hash[:], r, v)
}

// Read reads the claims of a message into a pointer to a struct, or returns
// ErrMalformed. Claims that the struct doesn't have are refused, and so are claims
// that come twice.
func (s Signed) Read(claims any) error { return read(s.payload, claims) }

func read(raw []byte, into any) error {
	if err := json.Unmarshal(raw, into, json.RejectUnknownMembers(true)); err != nil {
		return fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return nil
}

// Fresh are the claims of every message.
type Fresh struct {
	Audience string `json:"aud"`   // the authenticator's origin
	Nonce    string `json:"nonce"` // from the authenticator
}

// FreshOf returns the claims that every message has. Claims of its type are left
// unread.
func (s Signed) FreshOf() (Fresh, error) {
	var f Fresh
	if err := json.Unmarshal(s.payload, &f); err != nil {
		return Fresh{}, fmt.Errorf("%w: %w", ErrMalformed, err)
	}
	return f, nil
}

// Decode reads base64url without padding. It refuses all but the one encoding of
// its bytes: Go's own decoder skips line breaks.
func Decode(encoded string) ([]byte, bool) {
	raw, err := base64.RawURLEncoding.Strict().DecodeString(encoded)
	return raw, err == nil && Encode(raw) == encoded
}

// Encode writes base64url without padding.
func Encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// Thumbprint identifies a public key of P-256 (RFC 7638), as base64url of a SHA-256.
func Thumbprint(key *ecdsa.PublicKey) (string, error) {
	point, err := key.Bytes()
	if err != nil || len(point) != 1+2*scalarSize {
		return "", errors.New("not a public key of P-256")
	}
	sum := sha256.Sum256([]byte(`{"crv":"P-256","kty":"EC","x":"` + Encode(point[1:1+scalarSize]) + `","y":"` + Encode(point[1+scalarSize:]) + `"}`))
	return Encode(sum[:]), nil
}
