package session

import (
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/portcullis-mfa/portcullis/assurance"
)

// fixedFormat is that of earlier versions, whose sessions go on until they
// expire: texts behind their length in two bytes, numbers and times in eight.
const fixedFormat = 2

// decodeFixed reads a session in that format.
func (s *Session) decodeFixed(encoded []byte) error {
	rest := cryptobyte.String(encoded)
	var version, level, certificate uint8
	var maxAge uint64
	ok := rest.ReadUint8(&version) && version == fixedFormat
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

func readText(from *cryptobyte.String, into *string) bool {
	var text cryptobyte.String
	ok := from.ReadUint16LengthPrefixed(&text)
	*into = string(text)
	return ok
}

func readTime(from *cryptobyte.String, into *time.Time) bool {
	var milliseconds uint64
	ok := from.ReadUint64(&milliseconds)
	*into = fromMilli(int64(milliseconds))
	return ok
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
