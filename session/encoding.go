package session

import (
	"encoding/base64"
	"encoding/binary"
	"errors"
	"time"
	"unique"

	"github.com/portcullis-mfa/portcullis/assurance"
)

// Browsers send a session with each request, so it is written in few bytes: its
// fields, one behind the other, numbers and times in as many bytes as they need.
// Ids are base64 mostly, and written as the bytes that this stands for.

// format comes first, so that what another version wrote is told apart.
const format = 3

// The bits of a proof. Those above are the number of its factor, or 0 if the
// name of the factor follows.
const (
	bitUserVerified uint8 = 1 << iota
	bitRemembered
	bitHeldToMulti
	bitCredential // it names one
	factorShift   = iota
)

// errFormat says that something isn't a session as this version reads it.
var errFormat = errors.New("not in the form of a session")

func (s *Session) encode() []byte {
	b := encoder{format}
	for _, text := range []string{s.SignOn, s.User, s.Host, s.Incarnation} {
		b.addText(text)
	}
	minted := s.Minted.UnixMilli()
	b.addNumber(minted)
	b.addNumber(s.Expires.UnixMilli() - minted)
	b = append(b, uint8(s.Asked.Level), uint8(s.Asked.Certificate))
	b.addNumber(int64(s.Asked.MaxAge))
	for _, p := range s.Proofs {
		b.addProof(p, minted)
	}
	return b
}

// decode is the reverse of encode. It reads what format 2 wrote, too.
func (s *Session) decode(encoded []byte) error {
	if len(encoded) == 0 {
		return errFormat
	}
	d := decoder{rest: encoded[1:]}
	switch encoded[0] {
	case format:
		d.readSession(s)
	case fixedFormat:
		return s.decodeFixed(encoded)
	default:
		return errFormat
	}
	if d.failed {
		return errFormat
	}
	return nil
}

func (d *decoder) readSession(s *Session) {
	s.SignOn, s.User = d.text(), d.text()
	s.Host, s.Incarnation = shared(d.text()), shared(d.text())
	minted := d.number()
	s.Minted, s.Expires = fromMilli(minted), fromMilli(minted+d.number())
	s.Asked = assurance.Requirement{
		Level: assurance.Level(d.byte()), Certificate: assurance.CertificateUse(d.byte()), MaxAge: time.Duration(d.number()),
	}
	for !d.failed && len(d.rest) > 0 {
		s.Proofs = append(s.Proofs, d.proof(minted))
	}
}

// encoder is what was written so far.
type encoder []byte

func (b *encoder) addNumber(n int64) { *b = binary.AppendVarint(*b, n) }

// addText writes a text behind its length, or the bytes that it stands for as
// base64url behind the complement of theirs.
func (b *encoder) addText(text string) {
	var room [64]byte
	if len(text) <= len(room) {
		raw, err := base64URL.AppendDecode(room[:0], []byte(text))
		if err == nil && len(raw) > 0 && base64URL.EncodedLen(len(raw)) == len(text) {
			b.addNumber(^int64(len(raw)))
			*b = append(*b, raw...)
			return
		}
	}
	b.addNumber(int64(len(text)))
	*b = append(*b, text...)
}

// base64URL is how ids are made. Strict, so that each text has one form.
var base64URL = base64.RawURLEncoding.Strict()

// addProof writes a proof of a session that was minted at that time.
func (b *encoder) addProof(p assurance.Proof, minted int64) {
	factor := p.Factor.Number()
	head := factor << factorShift
	for bit, is := range map[uint8]bool{
		bitUserVerified: p.UserVerified, bitRemembered: p.Remembered, bitHeldToMulti: p.HeldToMulti, bitCredential: p.Credential != "",
	} {
		if is {
			head |= bit
		}
	}
	*b = append(*b, head)
	if factor == 0 {
		b.addText(string(p.Factor))
	}
	b.addNumber(p.At.UnixMilli() - minted)
	if p.Credential != "" {
		b.addText(p.Credential)
	}
}

// decoder reads what an encoder wrote. Once it failed it reads nothing more.
type decoder struct {
	rest   []byte
	failed bool
}

func (d *decoder) byte() (b uint8) {
	if raw := d.bytes(1); len(raw) == 1 {
		b = raw[0]
	}
	return b
}

func (d *decoder) bytes(n int64) (raw []byte) {
	if d.failed = d.failed || n < 0 || n > int64(len(d.rest)); d.failed {
		return nil
	}
	raw, d.rest = d.rest[:n], d.rest[n:]
	return raw
}

func (d *decoder) number() int64 {
	n, length := binary.Varint(d.rest)
	if d.failed = d.failed || length <= 0; d.failed {
		return 0
	}
	d.rest = d.rest[length:]
	return n
}

func (d *decoder) text() string {
	length := d.number()
	if length < 0 {
		return base64URL.EncodeToString(d.bytes(^length))
	}
	return string(d.bytes(length))
}

func (d *decoder) proof(minted int64) (p assurance.Proof) {
	head := d.byte()
	if factor := head >> factorShift; factor == 0 {
		p.Factor = assurance.Factor(shared(d.text()))
	} else if known, ok := assurance.FactorByNumber(factor); ok {
		p.Factor = known
	} else {
		d.failed = true
		return p
	}
	p.UserVerified = head&bitUserVerified != 0
	p.Remembered = head&bitRemembered != 0
	p.HeldToMulti = head&bitHeldToMulti != 0
	p.At = fromMilli(minted + d.number())
	if head&bitCredential != 0 {
		p.Credential = d.text()
	}
	return p
}

// shared returns the one copy of a text that many sessions have: each request
// looks at it, and so it's near.
func shared(text string) string { return unique.Make(text).Value() }

func fromMilli(milliseconds int64) time.Time { return time.UnixMilli(milliseconds).UTC() }
