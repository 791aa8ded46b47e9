package session

import (
	"errors"
	"time"
	"unique"

	"golang.org/x/crypto/cryptobyte"

	"github.com/portcullis-mfa/portcullis/assurance"
)

// A session is written as its fields, one behind the other: texts behind their
// length, times in milliseconds since 1970. Browsers send it with each request,
// and as JSON it would be twice as long.

// format comes first, so that what another version wrote is told apart.
const format = 2

// The bits of a proof.
const (
	bitUserVerified uint8 = 1 << iota
	bitRemembered
	bitHeldToMulti
)

// errFormat says that something isn't a session as this version writes it.
var errFormat = errors.New("not in the form of a session")

func (s *Session) encode() ([]byte, error) {
	var b cryptobyte.Builder
	b.AddUint8(format)
	for _, text := range []string{s.SignOn, s.User, s.Host, s.Incarnation} {
		addText(&b, text)
	}
	addTime(&b, s.Minted)
	addTime(&b, s.Expires)
	b.AddUint8(uint8(s.Asked.Level))
	b.AddUint64(uint64(s.Asked.MaxAge))
	b.AddUint8(uint8(s.Asked.Certificate))
	for _, p := range s.Proofs {
		addProof(&b, p)
	}
	return b.Bytes()
}

// decode is the reverse of encode.
func (s *Session) decode(encoded []byte) error {
	rest := cryptobyte.String(encoded)
	var version, level, certificate uint8
	var maxAge uint64
	ok := rest.ReadUint8(&version) && version == format
	for _, text := range []*string{&s.SignOn, &s.User, &s.Host, &s.Incarnation} {
		ok = ok && readText(&rest, text)
	}
	ok = ok && readTime(&rest, &s.Minted) && readTime(&rest, &s.Expires) && rest.ReadUint8(&level) &&
		rest.ReadUint64(&maxAge) && rest.ReadUint8(&certificate)
	s.Host, s.Incarnation = shared(s.Host), shared(s.Incarnation)
	s.Asked = assurance.Requirement{
		Level: assurance.Level(level), MaxAge: time.Duration(maxAge), Certificate: assurance.CertificateUse(certificate),
	}
	for ok && !rest.Empty() {
		var p assurance.Proof
		ok = readProof(&rest, &p)
		s.Proofs = append(s.Proofs, p)
	}
	if !ok {
		return errFormat
	}
	return nil
}

func addText(b *cryptobyte.Builder, text string) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(text)) })
}

func readText(from *cryptobyte.String, into *string) bool {
	var text cryptobyte.String
	ok := from.ReadUint16LengthPrefixed(&text)
	*into = string(text)
	return ok
}

// shared returns the one copy of a text that many sessions have: each request
// looks at it, and so it's near.
func shared(text string) string { return unique.Make(text).Value() }

func addTime(b *cryptobyte.Builder, t time.Time) { b.AddUint64(uint64(t.UnixMilli())) }

func readTime(from *cryptobyte.String, into *time.Time) bool {
	var milliseconds uint64
	ok := from.ReadUint64(&milliseconds)
	*into = time.UnixMilli(int64(milliseconds)).UTC()
	return ok
}

func addProof(b *cryptobyte.Builder, p assurance.Proof) {
	var bits uint8
	if p.UserVerified {
		bits |= bitUserVerified
	}
	if p.Remembered {
		bits |= bitRemembered
	}
	if p.HeldToMulti {
		bits |= bitHeldToMulti
	}
	addText(b, string(p.Factor))
	addTime(b, p.At)
	b.AddUint8(bits)
	addText(b, p.Credential)
}

func readProof(from *cryptobyte.String, into *assurance.Proof) bool {
	var factor string
	var bits uint8
	ok := readText(from, &factor) && readTime(from, &into.At) && from.ReadUint8(&bits) && readText(from, &into.Credential)
	into.Factor = assurance.Factor(shared(factor))
	into.UserVerified = bits&bitUserVerified != 0
	into.Remembered = bits&bitRemembered != 0
	into.HeldToMulti = bits&bitHeldToMulti != 0
	return ok
}
