package fido

import (
	"errors"
	"math/big"

	"github.com/go-webauthn/webauthn/protocol/webauthncose"
)

// The moduli of RSA keys, in bits: RFC 8812 §2 asks for the least, and beyond
// the most it would be a burden to check what they sign.
const (
	leastRSA = 2048
	mostRSA  = 8192
)

var errUnusable = errors.New("nothing could be checked by the public key")

// usable reports whether what a public key signs can be checked. Without an
// attestation nothing has been signed by it when it is enrolled, so that a key
// which nobody can ever show would be noticed too late.
func usable(public []byte) bool {
	key, err := webauthncose.ParsePublicKey(public)
	if err != nil {
		return false
	}
	rsa, is := key.(webauthncose.RSAPublicKeyData)
	if !is {
		return true
	}
	bits := new(big.Int).SetBytes(rsa.Modulus).BitLen()
	return rsa.Algorithm == int64(webauthncose.AlgRS256) && bits >= leastRSA && bits <= mostRSA
}
