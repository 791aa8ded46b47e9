// Package push is the factor of the authenticator app: a sign-in is approved on a
// phone, whose key signs the decision. Pairing makes two credentials of one phone:
// this one, and the one-time codes that the same app shows.
//
//	pairing:  offered ──▶ claimed ──▶ confirmed ──▶ settled ──▶ both credentials
//	            phone       browser      phone       browser
//	request:  open ──▶ allowed ──▶ collected by the browser that asked
//	            └────▶ denied, reported, expired, cancelled
//
// docs/push-protocol.md describes the messages and both state machines. Approving
// a request doesn't stop somebody who relays a sign-in page; see the threat model.
//
// The package must not know how messages arrive, how notifications are sent, or how
// requests are limited.
package push

import (
	"errors"
	"io"
	"net/url"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
)

// The bounds of Config.Digits.
const (
	MinDigits = 2
	MaxDigits = 6
)

// Codes makes the one-time codes of the app: package totp.
type Codes interface {
	Kind() assurance.Factor
	Enrolling() factors.Ceremony
	// URI returns the provisioning URI of an enrolment's state.
	URI(state []byte, who factors.Subject) (string, error)
}

// Config configures a Factor. All fields but Place and Allowed are needed.
type Config struct {
	// Origin is the authenticator's, such as https://phone.example.com.
	Origin string
	// Digits is the length of the number that people type to approve: MinDigits to
	// MaxDigits.
	Digits int
	Codes  Codes
	// Place says where an address is, in a few words; empty: nobody knows. It may be
	// nil.
	Place func(address string) string
	// Allowed reports whether notifications may be sent through an endpoint; nil: none are
	// sent.
	Allowed func(endpoint *url.URL) bool
}

// Factor is the factor "push". It is safe for concurrent use.
type Factor struct {
	Config
	clock  func() time.Time
	random io.Reader
}

var (
	_ factors.Factor    = (*Factor)(nil)
	_ factors.Describer = (*Factor)(nil)
	_ factors.Resolver  = proving{}
	_ factors.Composer  = proving{}
	_ factors.Resolver  = enrolling{}
)

// New returns the factor.
func New(c Config, clock func() time.Time, random io.Reader) (*Factor, error) {
	if c.Digits < MinDigits || c.Digits > MaxDigits {
		return nil, errors.New("write 2 to 6 digits")
	}
	if c.Origin == "" || c.Codes == nil {
		return nil, errors.New("push needs the authenticator's address and one-time codes")
	}
	return &Factor{Config: c, clock: clock, random: random}, nil
}

// Kind implements factors.Factor.
func (f *Factor) Kind() assurance.Factor { return assurance.Push }

// Most returns 5, as many phones as can have one-time codes.
func (f *Factor) Most() int { return 5 }

// Traits implements factors.Factor. A number can't be guessed from a browser: it is
// typed on the phone, twice at most.
func (f *Factor) Traits() factors.Traits {
	return factors.Traits{
		Weight: assurance.Second, Daily: true, Recalls: true, Delivers: true, OneOpen: true,
		Rank: 1, Vouches: 1, AMR: []string{"swk"},
	}
}

// Reads implements factors.Factor: browsers have nothing to answer but the six
// digits of a pairing.
func (f *Factor) Reads([]factors.Credential, factors.Answer) (bool, error) { return false, nil }

// Beside implements factors.Compound.
func (f *Factor) Beside() []assurance.Factor { return []assurance.Factor{f.Codes.Kind()} }

// Proving asks for the approval of a sign-in.
func (f *Factor) Proving() factors.Ceremony { return proving{f} }

// Enrolling pairs a phone.
func (f *Factor) Enrolling() factors.Ceremony { return enrolling{f} }

// Details implements factors.Describer.
func (f *Factor) Details(c factors.Credential) (factors.Details, error) {
	phone, err := ReadPhone(c.Secret)
	return factors.Details{Form: "phone", Heard: phone.Heard, Unreachable: f.Allowed != nil && phone.Subscription == nil}, err
}
