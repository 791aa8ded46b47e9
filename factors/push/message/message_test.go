package message

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"errors"
	"math/big"
	"strings"
	"testing"
)

// signer signs messages as a phone does.
type signer struct {
	t   testing.TB
	key *ecdsa.PrivateKey
}

func newSigner(t testing.TB) signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	return signer{t, key}
}

func (s signer) thumbprint() string {
	thumbprint, err := Thumbprint(&s.key.PublicKey)
	if err != nil {
		s.t.Fatal(err)
	}
	return thumbprint
}

// header is the right one of a list.
func (s signer) header() string {
	return `{"alg":"ES256","typ":"portcullis-list+jwt","kid":"` + s.thumbprint() + `"}`
}

func (s signer) scalars(signed string) (r, v *big.Int) {
	hash := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, s.key, hash[:])
	if err != nil {
		s.t.Fatal(err)
	}
	return r, v
}

func joined(signed string, r, v *big.Int) []byte {
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	return []byte(signed + "." + Encode(signature))
}

func (s signer) sign(header, payload string) []byte {
	signed := Encode([]byte(header)) + "." + Encode([]byte(payload))
	r, v := s.scalars(signed)
	return joined(signed, r, v)
}

const claims = `{"aud":"https://phone.example.com","nonce":"n","subscription":""}`

func TestMessage(t *testing.T) {
	s := newSigner(t)
	got, err := Parse(s.sign(s.header(), claims))
	if err != nil || got.Type != List || got.Thumbprint != s.thumbprint() || !got.IsBy(&s.key.PublicKey) || got.IsBy(&newSigner(t).key.PublicKey) {
		t.Fatalf("read %+v, %v", got, err)
	}
	var read ListClaims
	if err := got.Read(&read); err != nil || read.Nonce != "n" {
		t.Errorf("claims %+v, %v", read, err)
	}
}

func TestThumbprintCoversTheKeyAlone(t *testing.T) {
	s := newSigner(t)
	point, err := s.key.PublicKey.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	pair := func(more string) []byte {
		return s.sign(`{"alg":"ES256","typ":"portcullis-pair+jwt","jwk":{"kty":"EC","crv":"P-256","x":"`+Encode(point[1:33])+`","y":"`+Encode(point[33:])+`"`+more+`}}`, claims)
	}
	got, err := Parse(pair(""))
	if err != nil || got.Thumbprint != s.thumbprint() || !got.Key.Equal(&s.key.PublicKey) {
		t.Errorf("read %+v, %v", got, err)
	}
	if _, err := Parse(pair(`,"d":"x"`)); !errors.Is(err, ErrMalformed) {
		t.Errorf("a key with further members: %v", err)
	}
}

// U02: messages that could be read in a second way.
func TestMessagesThatAreRefused(t *testing.T) {
	s := newSigner(t)
	kid := s.thumbprint()
	right := s.sign(s.header(), claims)
	off := `"x":"` + Encode(make([]byte, 32)) + `","y":"` + Encode(make([]byte, 32)) + `"`
	for name, message := range map[string][]byte{
		"empty":               nil,
		"two parts":           []byte("e30.e30"),
		"four parts":          append([]byte("e30."), right...),
		"none":                s.sign(`{"alg":"none","typ":"portcullis-list+jwt","kid":"`+kid+`"}`, claims),
		"HS256":               s.sign(`{"alg":"HS256","typ":"portcullis-list+jwt","kid":"`+kid+`"}`, claims),
		"other typ":           s.sign(`{"alg":"ES256","typ":"JWT","kid":"`+kid+`"}`, claims),
		"no kid":              s.sign(`{"alg":"ES256","typ":"portcullis-list+jwt"}`, claims),
		"kid and jwk":         s.sign(`{"alg":"ES256","typ":"portcullis-list+jwt","kid":"`+kid+`","jwk":{"kty":"EC","crv":"P-256",`+off+`}}`, claims),
		"extra header":        s.sign(`{"alg":"ES256","typ":"portcullis-list+jwt","kid":"`+kid+`","crit":["b64"]}`, claims),
		"header twice":        s.sign(`{"alg":"ES256","alg":"ES256","typ":"portcullis-list+jwt","kid":"`+kid+`"}`, claims),
		"header in capitals":  s.sign(`{"ALG":"ES256","typ":"portcullis-list+jwt","kid":"`+kid+`"}`, claims),
		"point off the curve": s.sign(`{"alg":"ES256","typ":"portcullis-pair+jwt","jwk":{"kty":"EC","crv":"P-256",`+off+`}}`, claims),
		"other curve":         s.sign(`{"alg":"ES256","typ":"portcullis-pair+jwt","jwk":{"kty":"EC","crv":"P-384",`+off+`}}`, claims),
		"newline":             append(append([]byte(nil), right...), '\n'),
		"newline within":      []byte(strings.Replace(string(right), ".", "\n.", 1)),
		"padding":             append(append([]byte(nil), right...), '='),
		"loose last letter":   loosened(right),
		"signature too long":  append(append([]byte(nil), right...), "AAAA"...),
		"signature cut":       right[:len(right)-4],
		"too long":            append(append([]byte(nil), right...), make([]byte, MaxSize)...),
	} {
		if got, err := Parse(message); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: read %+v, %v", name, got, err)
		}
	}
}

// loosened changes the unused bits of a signature's last letter.
func loosened(message []byte) []byte {
	const letters = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	loose := append([]byte(nil), message...)
	last := &loose[len(loose)-1]
	*last = letters[strings.IndexByte(letters, *last)|1]
	return loose
}

// U02: the edges of the signature scheme, as Project Wycheproof tries them.
func TestSignatures(t *testing.T) {
	s := newSigner(t)
	signed := Encode([]byte(s.header())) + "." + Encode([]byte(claims))
	r, v := s.scalars(signed)
	n := elliptic.P256().Params().N
	zero, one := new(big.Int), big.NewInt(1)
	for name, test := range map[string]struct {
		r, v *big.Int
		want bool
	}{
		"right":          {r, v, true},
		"n-s":            {r, new(big.Int).Sub(n, v), true}, // why nothing is recognized by its signature
		"r is zero":      {zero, v, false},
		"s is zero":      {r, zero, false},
		"both are zero":  {zero, zero, false},
		"both are one":   {one, one, false},
		"r is n":         {n, v, false},
		"s is n":         {r, n, false},
		"n and zero":     {n, zero, false},
		"swapped":        {v, r, false},
		"s is n-1":       {r, new(big.Int).Sub(n, one), false},
		"r is n-r":       {new(big.Int).Sub(n, r), v, false},
		"r is p":         {elliptic.P256().Params().P, v, false},
		"r is all ones":  {new(big.Int).Sub(new(big.Int).Lsh(one, 256), one), v, false},
		"another's work": {zero, one, false},
	} {
		got, err := Parse(joined(signed, test.r, test.v))
		if err != nil || got.IsBy(&s.key.PublicKey) != test.want {
			t.Errorf("%s: %t, %v", name, !test.want, err)
		}
	}
}

func TestClaimsThatAreRefused(t *testing.T) {
	s := newSigner(t)
	for name, payload := range map[string]string{
		"no JSON":     `aud`,
		"a list":      `[]`,
		"two values":  claims + claims,
		"unknown":     `{"aud":"a","nonce":"n","subscription":"","more":1}`,
		"twice":       `{"aud":"a","aud":"a","nonce":"n","subscription":""}`,
		"in capitals": `{"AUD":"a","nonce":"n","subscription":""}`,
		"a number":    `{"aud":1,"nonce":"n","subscription":""}`,
		"bad UTF-8":   "{\"aud\":\"\xff\",\"nonce\":\"n\",\"subscription\":\"\"}",
	} {
		got, err := Parse(s.sign(s.header(), payload))
		if err != nil {
			t.Fatal(err)
		}
		if err := got.Read(new(ListClaims)); !errors.Is(err, ErrMalformed) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func FuzzParse(f *testing.F) {
	s := newSigner(f)
	f.Add(s.sign(s.header(), claims))
	f.Add([]byte("e30.e30.e30"))
	f.Fuzz(func(t *testing.T, raw []byte) {
		got, err := Parse(raw)
		if err != nil {
			return
		}
		if parts := strings.Split(string(raw), "."); len(parts) != 3 || Encode(got.signature) != parts[2] || Encode(got.payload) != parts[1] {
			t.Errorf("%q isn't the one form of what was read", raw)
		}
		_ = got.Read(new(AnswerClaims))
		_ = got.Read(new(PairClaims))
	})
}
