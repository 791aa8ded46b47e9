package fido

import (
	"crypto"
	"crypto/ed25519"
	"crypto/rsa"
	"errors"
	"fmt"
	"math"
	"math/big"

	"github.com/go-webauthn/webauthn/protocol/webauthncose"

	"github.com/portcullis-mfa/portcullis/publickey"
)

// errUnusable says that a public key is of none of the algorithms that are asked
// for, or isn't written as COSE wants it.
var errUnusable = errors.New("nothing could be checked by the public key")

// checkKey refuses a public key (COSE) by which nothing could be checked, or
// others than its owner could sign. Without an attestation nothing has been
// signed by it when it is enrolled, so that a key which nobody can ever show
// would be noticed too late.
func checkKey(written []byte) error {
	parsed, err := webauthncose.ParsePublicKey(written)
	if err != nil {
		return fmt.Errorf("%w: %w", errUnusable, err)
	}
	key, err := standard(parsed)
	if err != nil {
		return err
	}
	return publickey.CheckNew(key)
}

// standard returns a key as the standard library knows it.
func standard(parsed any) (crypto.PublicKey, error) {
	switch key := parsed.(type) {
	case webauthncose.OKPPublicKeyData:
		return ed25519.PublicKey(key.XCoord), nil
	case webauthncose.EC2PublicKeyData:
		return key.ToECDSA()
	case webauthncose.RSAPublicKeyData:
		exponent, err := webauthncose.ParseRSAPublicKeyDataExponent(&key)
		// Both numbers are as short as can be (RFC 8230 §4).
		if err != nil || exponent > math.MaxInt32 || key.Algorithm != int64(webauthncose.AlgRS256) ||
			key.Modulus[0] == 0 || key.Exponent[0] == 0 {
			return nil, errUnusable
		}
		return &rsa.PublicKey{N: new(big.Int).SetBytes(key.Modulus), E: exponent}, nil
	}
	return nil, errUnusable
}
