package fido

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"math/big"
	"testing"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/publickey"
)

// modulusOf draws a modulus that nobody knows anything against.
func modulusOf(t *testing.T, bits int) []byte {
	t.Helper()
	for {
		drawn, err := rand.Int(rand.Reader, new(big.Int).Lsh(big.NewInt(1), uint(bits)))
		if err != nil {
			t.Fatal(err)
		}
		drawn.SetBit(drawn, bits-1, 1)
		if bits < publickey.MinRSA || bits > publickey.MaxRSA || publickey.CheckNew(&rsa.PublicKey{N: drawn, E: 65537}) == nil {
			return drawn.Bytes()
		}
	}
}

// TestK03PublicKeys enrols public keys that nothing could be checked by, though
// most say that they are of an algorithm that was asked for.
func TestK03PublicKeys(t *testing.T) {
	modulus := func(bits int) []byte { return modulusOf(t, bits) }
	small := func(written string) func(map[int]any) {
		return func(c map[int]any) {
			point, err := hex.DecodeString(written)
			if err != nil {
				t.Fatal(err)
			}
			c[-2] = point
		}
	}
	exponent := func(e ...byte) func(map[int]any) { return func(c map[int]any) { c[-2] = e } }
	for what, c := range map[string]struct {
		algorithm int
		change    func(cose map[int]any)
		accepted  bool
	}{
		"RSA of 2048 bits":              {algRS256, func(c map[int]any) { c[-1] = modulus(2048) }, true},
		"RSA of 8192 bits":              {algRS256, func(c map[int]any) { c[-1] = modulus(8192) }, true},
		"RSA of 2040 bits":              {algRS256, func(c map[int]any) { c[-1] = modulus(2040) }, false},
		"RSA of 2040 bits, with zeroes": {algRS256, func(c map[int]any) { c[-1] = append(make([]byte, 9), modulus(2040)...) }, false},
		"RSA of 8200 bits":              {algRS256, func(c map[int]any) { c[-1] = modulus(8200) }, false},
		"RSA without a modulus":         {algRS256, func(c map[int]any) { delete(c, -1) }, false},
		"RSA without an exponent":       {algRS256, func(c map[int]any) { delete(c, -2) }, false},
		"RSA that says EdDSA":           {algRS256, func(c map[int]any) { c[3] = algEdDSA }, false},
		"RSA that says ES256":           {algRS256, func(c map[int]any) { c[3] = algES256 }, false},
		"ES256 as it is":                {algES256, func(map[int]any) {}, true},
		"ES256 off the curve":           {algES256, func(c map[int]any) { c[-3] = make([]byte, 32) }, false},
		"ES256 that is too long":        {algES256, func(c map[int]any) { c[-2] = make([]byte, 33) }, false},
		"ES256 of another curve":        {algES256, func(c map[int]any) { c[-1] = 2 }, false},
		"ES256 compressed":              {algES256, func(c map[int]any) { c[-3] = true }, false},
		"ES256 that says ES384":         {algES256, func(c map[int]any) { c[3] = algES384 }, false},
		"ES256 that says RS256":         {algES256, func(c map[int]any) { c[3] = algRS256 }, false},
		"ES256 that says it is Ed25519": {algES256, func(c map[int]any) { c[1] = 1 }, false},
		"ES384 as it is":                {algES384, func(map[int]any) {}, true},
		"EdDSA as it is":                {algEdDSA, func(map[int]any) {}, true},
		"EdDSA that is too short":       {algEdDSA, func(c map[int]any) { c[-2] = make([]byte, 31) }, false},
		"EdDSA of X25519":               {algEdDSA, func(c map[int]any) { c[-1] = 4 }, false},
		"EdDSA of Ed448":                {algEdDSA, func(c map[int]any) { c[-1], c[-2] = 7, make([]byte, 57) }, false},
		"Ed448, not offered":            {algEdDSA, func(c map[int]any) { c[3], c[-1], c[-2] = -53, 7, make([]byte, 57) }, false},
		"Ed25519, not offered":          {algEdDSA, func(c map[int]any) { c[3] = -19 }, false},
		"RSA with exponent 1":           {algRS256, exponent(1), false},
		"RSA with exponent 3":           {algRS256, exponent(3), false},
		"RSA with an even exponent":     {algRS256, exponent(1, 0, 0), false},
		"RSA with exponent 65537 long":  {algRS256, exponent(0, 1, 0, 1), false},
		"RSA with a huge exponent":      {algRS256, exponent(1, 0, 0, 0, 0, 0, 1), false},
		"RSA of small factors":          {algRS256, func(c map[int]any) { c[-1] = bytes.Repeat([]byte{0xff}, 256) }, false},
		"RSA of 2048 bits, with zero":   {algRS256, func(c map[int]any) { c[-1] = append([]byte{0}, modulus(2048)...) }, false},
		"EdDSA, the identity":           {algEdDSA, small("0100000000000000000000000000000000000000000000000000000000000000"), false},
		"EdDSA of order 2":              {algEdDSA, small("ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"), false},
		"EdDSA of order 4":              {algEdDSA, small("0000000000000000000000000000000000000000000000000000000000000080"), false},
		"EdDSA of order 8":              {algEdDSA, small("26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85"), false},
		"EdDSA, not canonical":          {algEdDSA, small("eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f"), false},
		"a secret for HMAC":             {algES256, func(c map[int]any) { c[1] = 4 }, false},
	} {
		t.Run(what, func(t *testing.T) {
			d, f := newDesk(t), forge(t, c.algorithm)
			c.change(f.cose)
			asked, state := d.begin(alice)
			got := d.checkEnrolment(alice, state, f.create(t, asked))
			if c.accepted {
				d.keep(new(key), got)
				return
			}
			d.expectNotEnrolled(what, got, factors.Wrong)
		})
	}
}
