package fido

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/rsa"
	"crypto/sha256"
	"math/big"
	"runtime"
	"testing"
	"time"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/go-webauthn/webauthn/protocol/webauthncose"

	"github.com/portcullis-mfa/portcullis/factors"
)

// BenchmarkCheck measures on one core how many assertions are verified in a
// second, and how many times as long that takes as the signature alone.
func BenchmarkCheck(b *testing.B) {
	for _, c := range []struct {
		name      string
		algorithm int
	}{{"ES256", algES256}, {"EdDSA", algEdDSA}, {"RS256", algRS256}} {
		b.Run(c.name, func(b *testing.B) {
			defer runtime.GOMAXPROCS(runtime.GOMAXPROCS(1))
			d, f := newDesk(b), forge(b, c.algorithm)
			asked, state := d.begin(alice)
			k := d.keep(new(key), d.checkEnrolment(alice, state, f.create(b, asked)))
			asked, state = d.challenge(alice, k.row)
			answer := f.get(b, asked)
			rows, given := []factors.Credential{k.row}, answered(answer)
			b.ReportAllocs()
			for b.Loop() {
				if got, err := d.factor.Proving().Check(b.Context(), factors.Asking{Who: alice, Credentials: rows}, state, given); err != nil || !got.Accepted() {
					b.Fatalf("%+v, %v", got, err)
				}
			}
			took := b.Elapsed()
			b.ReportMetric(float64(b.N)/took.Seconds(), "assertions/s")
			b.ReportMetric(took.Seconds()/f.bare(b, answer, b.N).Seconds(), "of-bare")
		})
	}
}

// bare returns how long the standard library takes for the signature of an
// assertion, as many times.
func (f *forger) bare(b *testing.B, answer string, times int) time.Duration {
	b.Helper()
	way := onItsWay(b, f, answer)
	signed, signature, verify := way.signed(way.part("authenticatorData")), way.part("signature"), f.verifier(b)
	begun := time.Now()
	for range times {
		if !verify(signed, signature) {
			b.Fatal("the signature is wrong")
		}
	}
	return time.Since(begun)
}

// verifier returns what verifies signatures of the forger's.
func (f *forger) verifier(b *testing.B) func(signed, signature []byte) bool {
	b.Helper()
	cose, err := webauthncbor.Marshal(f.cose)
	if err != nil {
		b.Fatal(err)
	}
	parsed, err := webauthncose.ParsePublicKey(cose)
	if err != nil {
		b.Fatal(err)
	}
	switch key := parsed.(type) {
	case webauthncose.OKPPublicKeyData:
		return func(signed, signature []byte) bool { return ed25519.Verify(key.XCoord, signed, signature) }
	case webauthncose.RSAPublicKeyData:
		public := &rsa.PublicKey{N: new(big.Int).SetBytes(key.Modulus), E: 65537}
		return func(signed, signature []byte) bool {
			sum := sha256.Sum256(signed)
			return rsa.VerifyPKCS1v15(public, crypto.SHA256, sum[:], signature) == nil
		}
	case webauthncose.EC2PublicKeyData:
		public, err := key.ToECDSA()
		if err != nil {
			b.Fatal(err)
		}
		return func(signed, signature []byte) bool {
			sum := sha256.Sum256(signed)
			return ecdsa.VerifyASN1(public, sum[:], signature)
		}
	}
	b.Fatalf("%T", parsed)
	return nil
}
