// Package publickey tells which public keys nobody should rely on: those that
// are too short, whose signatures anybody can make, or whose private half is
// known to be found with little effort.
//
// It knows no way to find keys that were only drawn badly, such as Debian's of
// 2006 to 2008, which takes a list of all of them, or those that share a factor
// with another's, which takes all the others. The package must not know what a
// key is for.
package publickey

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rsa"
	"errors"
	"fmt"

	"filippo.io/edwards25519"
)

// Why keys are refused.
var (
	// ErrKind is of a key of a kind, curve or length that isn't relied on.
	ErrKind = errors.New("the key is not RSA of 2048 to 8192 bits, P-256, P-384, P-521 or Ed25519")
	// ErrWeak is of a key by which others than its owner can sign.
	ErrWeak = errors.New("the key is weak")
)

// The lengths of RSA keys in bits: the least by NIST SP 800-131A, and the most
// that a signature is checked by, which takes longer with the square.
const (
	MinRSA = 2048
	MaxRSA = 8192
)

// minExponent is the least public exponent (FIPS 186-5 §5.4).
const minExponent = 1<<16 + 1

// CheckKind returns ErrKind, wrapped, for a key of a kind that isn't relied on.
// It is cheap, so that a stranger's key can be looked at before anything is
// verified by it.
func CheckKind(key crypto.PublicKey) error {
	switch key := key.(type) {
	case *rsa.PublicKey:
		if bits := key.N.BitLen(); bits < MinRSA || bits > MaxRSA {
			return fmt.Errorf("%w: RSA of %d bits", ErrKind, bits)
		}
	case *ecdsa.PublicKey:
		if key.Curve != elliptic.P256() && key.Curve != elliptic.P384() && key.Curve != elliptic.P521() {
			return fmt.Errorf("%w: another curve", ErrKind)
		}
	case ed25519.PublicKey:
		if len(key) != ed25519.PublicKeySize {
			return fmt.Errorf("%w: %d bytes of Ed25519", ErrKind, len(key))
		}
	default:
		return fmt.Errorf("%w: %T", ErrKind, key)
	}
	return nil
}

// CheckNew is Check for a key that is to be relied on from now on. It looks as
// well for what takes milliseconds to see, or of RSA of 8192 bits a tenth of a
// second.
func CheckNew(key crypto.PublicKey) error {
	if err := Check(key); err != nil {
		return err
	}
	if key, is := key.(*rsa.PublicKey); is && key.N.ProbablyPrime(0) {
		return fmt.Errorf("%w: its modulus is a prime", ErrWeak)
	}
	return nil
}

// Check returns nil for a key that can be relied on as far as it itself tells.
// Errors are ErrKind or ErrWeak, wrapped.
func Check(key crypto.PublicKey) error {
	if err := CheckKind(key); err != nil {
		return err
	}
	switch key := key.(type) {
	case *rsa.PublicKey:
		return checkRSA(key)
	case *ecdsa.PublicKey:
		// The conversion holds the point against the curve (SP 800-186 §D.1).
		if _, err := key.ECDH(); err != nil {
			return fmt.Errorf("%w: %w", ErrWeak, err)
		}
	case ed25519.PublicKey:
		return checkEd25519(key)
	}
	return nil
}

// minusOne is -1 modulo the order of Ed25519's base point.
var minusOne = func() *edwards25519.Scalar {
	one, err := edwards25519.NewScalar().SetCanonicalBytes(append([]byte{1}, make([]byte, 31)...))
	if err != nil {
		panic(err) // 1 is less than the order
	}
	return one.Negate(one)
}()

// checkEd25519 refuses points that no private key leads to (RFC 8032 §5.1.5):
// of one of small order, anybody can sign; and one point must not have two
// encodings.
func checkEd25519(key ed25519.PublicKey) error {
	point, err := new(edwards25519.Point).SetBytes(key)
	if err != nil || !bytes.Equal(point.Bytes(), key) {
		return fmt.Errorf("%w: it isn't a canonical point of Ed25519", ErrWeak)
	}
	identity := edwards25519.NewIdentityPoint()
	// A point of the prime order l: (l-1)P = -P.
	inverse := new(edwards25519.Point).ScalarMult(minusOne, point)
	if point.Equal(identity) == 1 || inverse.Equal(new(edwards25519.Point).Negate(point)) != 1 {
		return fmt.Errorf("%w: its point isn't of Ed25519's prime order", ErrWeak)
	}
	return nil
}
