package est

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"crypto/x509"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/publickey"
)

// errNoCertificate says that a renewal shows no certificate, or not its key.
var errNoCertificate = errors.New("no certificate was shown")

// Scheme is the authentication scheme of renewals by a signature:
//
//	Authorization: Device CERTIFICATE.NONCE.SIGNATURE
//
// The certificate (DER) and the signature are in base64url without padding. The
// nonce is what GET nonce answers with, and works for five minutes. The signature is
// over Signed: ECDSA (ASN.1) or RSA (PKCS #1 v1.5) with SHA-256, or Ed25519.
const Scheme = "Device "

// nonceLifetime is for how long a nonce works. A request that is sent again meanwhile
// gets the same certificate.
const nonceLifetime = 5 * time.Minute

// maxProof bounds the header in bytes.
const maxProof = 8 << 10

// Signed returns what the key of a certificate signs to renew it.
func Signed(nonce string, request []byte) []byte {
	sum := sha256.Sum256(request)
	return []byte("device renewal\n" + nonce + "\n" + base64.RawURLEncoding.EncodeToString(sum[:]))
}

// Nonces makes what clients sign, and knows its own.
type Nonces struct {
	Codec interface {
		Encode(value []byte) (string, error)
		Decode(value string) ([]byte, error)
	}
	Clock func() time.Time
}

// New returns a nonce.
func (n Nonces) New() (string, error) {
	sealed, err := n.Codec.Encode(binary.BigEndian.AppendUint64(nil, uint64(n.Clock().Unix())))
	return base64.RawURLEncoding.EncodeToString([]byte(sealed)), err
}

// counts reports whether a nonce is ours and not too old.
func (n Nonces) counts(nonce string) bool {
	sealed, err := base64.RawURLEncoding.DecodeString(nonce)
	if err != nil {
		return false
	}
	value, err := n.Codec.Decode(string(sealed))
	if err != nil || len(value) != 8 {
		return false
	}
	age := n.Clock().Sub(time.Unix(int64(binary.BigEndian.Uint64(value)), 0))
	return age > -nonceLifetime && age < nonceLifetime
}

func (h *Handler) nonce(w http.ResponseWriter, r *http.Request) {
	nonce, err := h.Nonces.New()
	if err != nil {
		h.failed(w, r, fmt.Errorf("making a nonce: %w", err))
		return
	}
	w.Header().Set("Content-Type", "text/plain; charset=utf-8")
	_, _ = w.Write([]byte(nonce))
}

// presented returns the certificates whose key a client has shown to hold, its own
// first.
func (h *Handler) presented(r *http.Request, request []byte) ([]*x509.Certificate, error) {
	proof, signed := strings.CutPrefix(r.Header.Get("Authorization"), Scheme)
	switch {
	case signed && len(proof) < maxProof:
		certificate, err := h.signer(proof, request)
		return []*x509.Certificate{certificate}, err
	case signed || r.TLS == nil || len(r.TLS.PeerCertificates) == 0:
		return nil, errNoCertificate
	}
	return r.TLS.PeerCertificates, nil
}

// signer returns the certificate of a proof whose signature is its key's.
func (h *Handler) signer(proof string, request []byte) (*x509.Certificate, error) {
	parts := strings.Split(proof, ".")
	if len(parts) != 3 || !h.Nonces.counts(parts[1]) {
		return nil, errNoCertificate
	}
	der, err := base64.RawURLEncoding.DecodeString(parts[0])
	if err != nil {
		return nil, errNoCertificate
	}
	certificate, err := x509.ParseCertificate(der)
	if err != nil {
		return nil, errNoCertificate
	}
	signature, err := base64.RawURLEncoding.DecodeString(parts[2])
	if err != nil || publickey.CheckKind(certificate.PublicKey) != nil {
		return nil, errNoCertificate
	}
	if err := certificate.CheckSignature(algorithmOf(certificate), Signed(parts[1], request), signature); err != nil {
		return nil, errNoCertificate
	}
	return certificate, nil
}

// algorithmOf is by what the key of a certificate signs.
func algorithmOf(certificate *x509.Certificate) x509.SignatureAlgorithm {
	switch certificate.PublicKey.(type) {
	case *ecdsa.PublicKey:
		return x509.ECDSAWithSHA256
	case *rsa.PublicKey:
		return x509.SHA256WithRSA
	case ed25519.PublicKey:
		return x509.PureEd25519
	}
	return x509.UnknownSignatureAlgorithm
}
