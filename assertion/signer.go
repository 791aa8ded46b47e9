// Package assertion makes the signed statement that a gate gives an app about
// the person at it: a JSON Web Token (RFC 7519) which the app can verify by
// itself, by the keys that the portal publishes.
//
// A token is made per sign-on and app and serves for minutes, so that a request
// costs no signature. The package must not know HTTP, who is let in where, or
// where keys are kept: a small Keys lives with it, and the caller brings one.
package assertion

import (
	"crypto/ecdsa"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/maypok86/otter/v2"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

const (
	// Lifetime is how long a token is good for at most.
	Lifetime = 5 * time.Minute
	// leastLeft is for how long a token that is given out is still good at
	// least, unless the session ends earlier.
	leastLeft = time.Minute
	// maxCached bounds the tokens that are remembered, in bytes.
	maxCached = 32 << 20
	// perEntry is what an entry takes beside its token, about.
	perEntry = 512
)

// errOver says that there is nothing left to state.
var errOver = errors.New("making an assertion: the session is over")

// Keys are the keys of assertions, as they are at the moment. The key set of
// package keys offers them.
type Keys interface {
	// AssertionKey returns the key of P-256 to sign with, and its id. It
	// doesn't allocate.
	AssertionKey() (id string, key *ecdsa.PrivateKey)
	// AssertionKeys returns the public keys that an app may need, by id.
	AssertionKeys() map[string]*ecdsa.PublicKey
}

// Config is what a Signer is made of. All fields are needed.
type Config struct {
	Issuer string // the portal's origin
	Keys   Keys
	Clock  func() time.Time
	// Weights say what proofs count for.
	Weights assurance.Weights
	// Methods name, by kind, how proofs are shown (RFC 8176 §2).
	Methods map[assurance.Factor][]string
}

// Subject is whom a token is about, and what they have shown.
type Subject struct {
	SignOn string // id; empty for a certificate alone, and for a program
	// Program is the id of the access token that a program uses; empty: a person is
	// signed in.
	Program string
	User    store.User
	// Proofs are those that the session counts with. The times in them are of
	// when something was shown, not of this request: each other time makes
	// another token.
	Proofs []assurance.Proof
	// Expires is when the session ends, or the certificate.
	Expires time.Time
	// Groups are those of the user's that the app is told of.
	Groups Groups
}

// Groups chooses groups. The zero value is all of them.
type Groups struct {
	// Filter names the choice: where Tells differs, Filter does.
	Filter string
	Tells  func(group string) bool
}

func (g Groups) of(all []string) []string {
	told := append([]string{}, all...)
	if g.Tells == nil {
		return told
	}
	return slices.DeleteFunc(told, func(group string) bool { return !g.Tells(group) })
}

// Signer makes tokens. It is safe for concurrent use.
type Signer struct {
	Config
	methods map[assurance.Factor]methods
	cache   *otter.Cache[identity, signed]
}

// identity is all that a token says, but for its times: where any of it
// changes, another token is made.
type identity struct {
	signOn, program, userID, audience, keyID string
	userVersion                              int64
	shown                                    shown
	groups                                   string // Filter
}

// signed is a token and its times.
type signed struct {
	token           string
	issued, expires time.Time
}

// NewSigner returns a Signer.
func NewSigner(c Config) *Signer {
	shownBy := make(map[assurance.Factor]methods, len(c.Methods))
	for kind, named := range c.Methods {
		shownBy[kind] = methodsNamed(named)
	}
	return &Signer{Config: c, methods: shownBy, cache: otter.Must(&otter.Options[identity, signed]{
		MaximumWeight: maxCached,
		Weigher:       func(_ identity, s signed) uint32 { return uint32(len(s.token) + perEntry) },
	})}
}

// Token returns a token about the subject for the app of the origin audience.
// It is good for a minute at least and five at most, but never longer than the
// session: of one that is over it is an error.
func (s *Signer) Token(subject Subject, audience string) (string, error) {
	keyID, key := s.Keys.AssertionKey()
	id := identity{
		signOn: subject.SignOn, program: subject.Program, userID: subject.User.ID, userVersion: subject.User.Version,
		audience: audience, keyID: keyID, shown: s.whatWasShown(subject.Proofs),
		groups: subject.Groups.Filter,
	}
	now := s.Clock()
	if known, ok := s.cache.GetIfPresent(id); ok && known.serves(now, subject.Expires) {
		return known.token, nil
	}
	made, err := s.sign(subject, id, key, now)
	if err != nil {
		return "", err
	}
	s.cache.Set(id, made)
	return made.token, nil
}

// serves reports whether a token can be given out at the time now in a session
// that ends at the given time. A clock that was set back leaves tokens of the
// future behind, which apps refuse.
func (s signed) serves(now, end time.Time) bool {
	if now.Before(s.issued) || !now.Before(s.expires) || s.expires.After(end) {
		return false
	}
	return s.expires.Sub(now) >= leastLeft || s.expires.Equal(end.Truncate(time.Second))
}

// claims are what a token says. RFC 7519 §4.1 defines the first ones, OpenID
// Connect Core 1.0 §2 and §5.1 those about the person and how they signed in.
type claims struct {
	Issuer   string `json:"iss"`
	Audience string `json:"aud"`
	Subject  string `json:"sub"`
	Issued   int64  `json:"iat"`
	Expires  int64  `json:"exp"`

	Username string   `json:"preferred_username"`
	Name     string   `json:"name,omitempty"`
	Email    string   `json:"email,omitempty"`
	Groups   []string `json:"groups"`

	Methods  []string `json:"amr"`
	Level    string   `json:"acr"`
	AuthTime int64    `json:"auth_time,omitempty"`

	ClientID string `json:"client_id,omitempty"` // of a program, RFC 9068 §2.2
}

// byProgram is what a token says in "acr" and "amr" of a program: nobody has signed
// in.
const byProgram = "token"

// sign makes a token. Its times are whole seconds (RFC 7519 §2, NumericDate).
func (s *Signer) sign(subject Subject, id identity, key *ecdsa.PrivateKey, now time.Time) (signed, error) {
	made := signed{issued: now.Truncate(time.Second), expires: subject.Expires.Truncate(time.Second)}
	if latest := made.issued.Add(Lifetime); made.expires.After(latest) {
		made.expires = latest
	}
	if !now.Before(made.expires) {
		return signed{}, errOver
	}
	signer, err := jose.NewSigner(
		jose.SigningKey{Algorithm: jose.ES256, Key: jose.JSONWebKey{Key: key, KeyID: id.keyID}},
		new(jose.SignerOptions).WithType("JWT"))
	if err != nil {
		return signed{}, fmt.Errorf("preparing to sign an assertion: %w", err)
	}
	user := subject.User
	said := claims{
		Issuer: s.Issuer, Audience: id.audience, Subject: user.ID,
		Issued: made.issued.Unix(), Expires: made.expires.Unix(),
		Username: user.Name, Name: user.DisplayName, Email: user.Email, Groups: subject.Groups.of(user.Groups),
		Methods: id.shown.methods.names(), Level: id.shown.level.String(), AuthTime: id.shown.at,
	}
	if id.program != "" {
		said.Methods, said.Level, said.AuthTime, said.ClientID = []string{byProgram}, byProgram, 0, id.program
	}
	payload, err := json.Marshal(said)
	if err != nil {
		return signed{}, fmt.Errorf("writing an assertion: %w", err)
	}
	signature, err := signer.Sign(payload)
	if err != nil {
		return signed{}, fmt.Errorf("signing an assertion: %w", err)
	}
	if made.token, err = signature.CompactSerialize(); err != nil {
		return signed{}, fmt.Errorf("writing a signed assertion: %w", err)
	}
	return made, nil
}

// JWKS returns the JSON Web Key Set (RFC 7517 §5) by which apps verify tokens.
// A key is in it five minutes before it signs: whoever serves it lets it be
// cached for less than that, since another node may have learnt of the key a
// minute later.
func (s *Signer) JWKS() ([]byte, error) {
	published := s.Keys.AssertionKeys()
	var set jose.JSONWebKeySet
	for _, id := range slices.Sorted(maps.Keys(published)) {
		set.Keys = append(set.Keys, jose.JSONWebKey{Key: published[id], KeyID: id, Algorithm: string(jose.ES256), Use: "sig"})
	}
	written, err := json.Marshal(set)
	if err != nil {
		return nil, fmt.Errorf("writing the public keys of assertions: %w", err)
	}
	return written, nil
}
