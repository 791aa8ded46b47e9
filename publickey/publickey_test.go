package publickey

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"encoding/hex"
	"errors"
	"math/big"
	"os"
	"strings"
	"testing"

	"filippo.io/edwards25519"
)

func prime(t *testing.T, bits int) *big.Int {
	t.Helper()
	p, err := rand.Prime(rand.Reader, bits)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// affected is a modulus of 2048 bits whose factors are as Infineon's library made
// them: k·M + (65537^a mod M), M being the product of the first 126 primes.
func affected(t *testing.T) *big.Int {
	t.Helper()
	written, err := os.ReadFile("testdata/roca2048.hex")
	if err != nil {
		t.Fatal(err)
	}
	modulus, ok := new(big.Int).SetString(strings.TrimSpace(string(written)), 16)
	if !ok {
		t.Fatal("the modulus can't be read")
	}
	return modulus
}

func nextPrime(p *big.Int) *big.Int {
	next := new(big.Int).Add(p, big.NewInt(2))
	for !next.ProbablyPrime(20) {
		next.Add(next, big.NewInt(2))
	}
	return next
}

func TestRSA(t *testing.T) {
	product := func(p, q *big.Int) *rsa.PublicKey {
		return &rsa.PublicKey{N: new(big.Int).Mul(p, q), E: 65537}
	}
	good, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	exponent := func(e int) *rsa.PublicKey { return &rsa.PublicKey{N: good.N, E: e} }
	p := prime(t, 1024)
	for name, test := range map[string]struct {
		key  *rsa.PublicKey
		want error // nil: it is good
	}{
		"good":                       {&good.PublicKey, nil},
		"good, another exponent":     {exponent(65539), nil},
		"too short":                  {product(prime(t, 1023), prime(t, 1023)), ErrKind},
		"too long":                   {&rsa.PublicKey{N: new(big.Int).Lsh(good.N, 8000), E: 65537}, ErrKind},
		"exponent 0":                 {exponent(0), ErrWeak},
		"exponent 1":                 {exponent(1), ErrWeak},
		"exponent -1":                {exponent(-1), ErrWeak},
		"exponent 2":                 {exponent(2), ErrWeak},
		"exponent 3":                 {exponent(3), ErrWeak},
		"an even exponent":           {exponent(65538), ErrWeak},
		"an even modulus":            {&rsa.PublicKey{N: new(big.Int).Lsh(good.N, 1), E: 65537}, ErrWeak},
		"a multiple of 3":            {product(prime(t, 2048), big.NewInt(3)), ErrWeak},
		"a multiple of 751":          {product(prime(t, 2048), big.NewInt(751)), ErrWeak},
		"a prime":                    {&rsa.PublicKey{N: prime(t, 2048), E: 65537}, ErrWeak},
		"a square":                   {product(p, p), ErrWeak},
		"neighbouring factors":       {product(p, nextPrime(p)), ErrWeak},
		"factors that differ little": {product(p, nextPrime(new(big.Int).Add(p, new(big.Int).Lsh(big.NewInt(1), 500)))), ErrWeak},
		"of Infineon's library":      {&rsa.PublicKey{N: affected(t), E: 65537}, ErrWeak},
	} {
		if err := CheckNew(test.key); !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// smallOrder are the points of Ed25519 whose order divides 8, and other
// encodings of them.
var smallOrder = []string{
	"0100000000000000000000000000000000000000000000000000000000000000",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"0000000000000000000000000000000000000000000000000000000000000080",
	"0000000000000000000000000000000000000000000000000000000000000000",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a",
	"c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac03fa",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc05",
	"26e8958fc2b227b045c3f489f2ef98f0d5dfac05d3c63339b13802886d53fc85",
	"0100000000000000000000000000000000000000000000000000000000000080",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"eeffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff7f",
	"edffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
	"ecffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff",
}

func TestEd25519(t *testing.T) {
	good, _, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if err := Check(good); err != nil {
		t.Errorf("good: %v", err)
	}
	for _, written := range smallOrder {
		key, err := hex.DecodeString(written)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(ed25519.PublicKey(key)); !errors.Is(err, ErrWeak) {
			t.Errorf("%s: %v", written, err)
		}
		point, err := new(edwards25519.Point).SetBytes(key)
		if err != nil {
			continue
		}
		mixed, err := new(edwards25519.Point).SetBytes(good)
		if err != nil {
			t.Fatal(err)
		}
		if mixed.Add(mixed, point); string(mixed.Bytes()) == string(good) {
			continue
		}
		if err := Check(ed25519.PublicKey(mixed.Bytes())); !errors.Is(err, ErrWeak) {
			t.Errorf("a good one and %s: %v", written, err)
		}
	}
	if err := Check(good[:31]); !errors.Is(err, ErrKind) {
		t.Errorf("too short: %v", err)
	}
}

func TestCurves(t *testing.T) {
	for _, curve := range []elliptic.Curve{elliptic.P256(), elliptic.P384(), elliptic.P521()} {
		key, err := ecdsa.GenerateKey(curve, rand.Reader)
		if err != nil {
			t.Fatal(err)
		}
		if err := Check(&key.PublicKey); err != nil {
			t.Errorf("%s: %v", curve.Params().Name, err)
		}
		for name, off := range map[string]*ecdsa.PublicKey{
			"off the curve": {Curve: curve, X: key.X, Y: new(big.Int).Add(key.Y, big.NewInt(1))},
			"at infinity":   {Curve: curve, X: new(big.Int), Y: new(big.Int)},
		} {
			if err := Check(off); !errors.Is(err, ErrWeak) {
				t.Errorf("%s, %s: %v", curve.Params().Name, name, err)
			}
		}
	}
	short, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	for name, key := range map[string]crypto.PublicKey{"P-224": &short.PublicKey, "none": nil, "a text": "key"} {
		if err := Check(key); !errors.Is(err, ErrKind) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func BenchmarkCheckRSA2048(b *testing.B) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		b.Fatal(err)
	}
	for b.Loop() {
		if err := Check(&key.PublicKey); err != nil {
			b.Fatal(err)
		}
	}
}
