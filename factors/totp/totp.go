// Package totp is the factor of codes from an authenticator app: time-based
// one-time passwords as of RFC 6238.
//
// A step of time, and every older one, is dead once a code of it was accepted;
// the credential remembers the step itself, so a clock that is set back by some
// minutes revives nothing. A dead step further ahead comes of a clock that was
// ahead itself, and nobody is kept out until that time has come. A credential also carries its algorithm, digits and period,
// so it works on when the configuration changes.
//
// The package must not know how secrets are sealed, where they are kept, or
// how failures are counted.
package totp

import (
	"context"
	"encoding/base32"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/pquerna/otp"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/qrcode"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/token"
)

// The bounds of a configuration.
const (
	MinPeriod        = 15 * time.Second
	MaxPeriod        = 120 * time.Second
	maxIssuerLetters = 64 // keeps the QR code coarse enough for old cameras
)

// credentialName is what a new credential is called until its owner names it.
const credentialName = "Authenticator app"

// Config says what codes new credentials make.
type Config struct {
	// Algorithm is SHA1, SHA256 or SHA512; empty: SHA1, which alone every
	// authenticator app can do.
	Algorithm string
	// Digits is 6 or 8; 0: 6.
	Digits int
	// Period is how long a code lasts, in whole seconds from MinPeriod to
	// MaxPeriod; 0: 30 s.
	Period time.Duration
	// Issuer is under which name apps list the account. It must be set and
	// hold no colon, which separates it from the account.
	Issuer string
}

// algorithm is one hash function that codes can be made with.
type algorithm struct {
	name    string
	library otp.Algorithm
	// secretBytes is the size of a new secret: the length of the hash, as
	// RFC 6238 §5.1 and RFC 4226 §4 R6 (160 bits) recommend.
	secretBytes int
}

var algorithms = []algorithm{
	{"SHA1", otp.AlgorithmSHA1, 20},
	{"SHA256", otp.AlgorithmSHA256, 32},
	{"SHA512", otp.AlgorithmSHA512, 64},
}

func algorithmNamed(name string) (algorithm, bool) {
	i := slices.IndexFunc(algorithms, func(a algorithm) bool { return a.name == name })
	if i < 0 {
		return algorithm{}, false
	}
	return algorithms[i], true
}

// Factor is the factor "totp".
type Factor struct {
	config Config // complete
	clock  func() time.Time
	random io.Reader
}

var _ factors.Factor = (*Factor)(nil)

// New returns the factor, or an error that says what to write instead.
func New(config Config, clock func() time.Time, random io.Reader) (*Factor, error) {
	if config.Algorithm == "" {
		config.Algorithm = "SHA1"
	}
	if config.Digits == 0 {
		config.Digits = 6
	}
	if config.Period == 0 {
		config.Period = 30 * time.Second
	}
	if err := config.check(); err != nil {
		return nil, fmt.Errorf("totp: %w", err)
	}
	return &Factor{config: config, clock: clock, random: random}, nil
}

func (c Config) check() error {
	if _, ok := algorithmNamed(c.Algorithm); !ok {
		return fmt.Errorf("unknown algorithm %q: write SHA1, SHA256 or SHA512", c.Algorithm)
	}
	if c.Digits != 6 && c.Digits != 8 {
		return fmt.Errorf("%d digits: write 6 or 8", c.Digits)
	}
	if c.Period < MinPeriod || c.Period > MaxPeriod || c.Period%time.Second != 0 {
		return fmt.Errorf("period %v: write whole seconds from %v to %v", c.Period, MinPeriod, MaxPeriod)
	}
	return checkIssuer(c.Issuer)
}

func checkIssuer(issuer string) error {
	switch {
	case strings.TrimSpace(issuer) == "":
		return fmt.Errorf("no issuer: write the name for authenticator apps to show")
	case !utf8.ValidString(issuer) || strings.ContainsFunc(issuer, unicode.IsControl):
		return fmt.Errorf("issuer %q contains characters that can't be shown", issuer)
	case strings.Contains(issuer, ":"):
		return fmt.Errorf("issuer %q contains a colon, which authenticator apps read as its end: leave it out", issuer)
	case utf8.RuneCountInString(issuer) > maxIssuerLetters:
		return fmt.Errorf("issuer %q has more than %d characters", issuer, maxIssuerLetters)
	}
	return nil
}

// Kind returns assurance.TOTP.
func (f *Factor) Kind() assurance.Factor { return assurance.TOTP }

// Most returns 5: several phones may be enrolled, but each one more gives a
// guess another chance.
func (f *Factor) Most() int { return 5 }

// Proving asks for a code.
func (f *Factor) Proving() factors.Ceremony { return proving{f} }

// Enrolling shows a new secret, and asks for a code of it.
func (f *Factor) Enrolling() factors.Ceremony { return enrolling{f} }

type proving struct{ *Factor }

// Begin has nothing to remember.
func (proving) Begin(context.Context, factors.Asking) (factors.Turn, error) {
	return factors.Turn{}, nil
}

// Resume says what codes to ask for.
func (proving) Resume(_ context.Context, a factors.Asking, _ []byte) (factors.Page, error) {
	secrets, err := parseAll(a.Credentials)
	if err != nil {
		return factors.Page{}, err
	}
	// Where credentials differ, the page goes by the longest code, so that it
	// neither cuts one off nor submits it too early.
	var page templates.TOTPChallenge
	for _, s := range secrets {
		if s.Digits > page.Digits {
			page = templates.TOTPChallenge{Digits: s.Digits, Period: s.Period}
		}
	}
	return factors.Page{Content: page}, nil
}

// Check decides on answer "code" against all credentials.
func (f proving) Check(_ context.Context, a factors.Asking, _ []byte, answer factors.Answer) (factors.Verdict, error) {
	secrets, err := parseAll(a.Credentials)
	if err != nil {
		return factors.Verdict{}, err
	}
	wellFormed := false
	var best finding
	var answered int
	corrected := false // the answered secret has changed already
	for i, s := range secrets {
		code, ok := token.ReadDigits(answer["code"], s.Digits)
		if !ok {
			continue
		}
		wellFormed = true
		now := s.stepAt(f.clock())
		s, moved := s.pulledBack(now)
		secrets[i] = s
		if found := s.judge(code, now); found.outcome > best.outcome {
			best, answered, corrected = found, i, moved
		}
	}
	switch {
	case !wellFormed:
		return factors.Verdict{Reason: factors.Malformed}, nil
	case best.outcome == wrong:
		return factors.Verdict{Reason: factors.Wrong}, nil
	}
	return verdict(best, secrets[answered], corrected, a.Credentials[answered].ID)
}

// Traits implements factors.Factor. Of a million codes three are right at a time.
func (f *Factor) Traits() factors.Traits {
	return factors.Traits{Weight: assurance.Second, Daily: true, Typed: true, Recalls: true, Guessable: true, Rank: 1, Vouches: 1, AMR: []string{"otp"}}
}

// Values implements factors.Valued.
func (f *Factor) Values() map[string]any {
	return map[string]any{"Seconds": int(f.config.Period.Seconds())}
}

// Reads reports whether answer "code" has as many digits as the codes of one of
// the credentials.
func (f *Factor) Reads(credentials []factors.Credential, answer factors.Answer) (bool, error) {
	secrets, err := parseAll(credentials)
	return slices.ContainsFunc(secrets, func(s secret) bool {
		_, ok := token.ReadDigits(answer["code"], s.Digits)
		return ok
	}), err
}

// verdict turns what was found for a credential into the answer to the flow,
// with what the credential has to remember of it, or of a correction before.
func verdict(found finding, s secret, corrected bool, credentialID string) (factors.Verdict, error) {
	v := factors.Verdict{CredentialID: credentialID}
	switch found.outcome {
	case accepted:
		v.Outcome = factors.OutcomeAccepted
		s = s.withAccepted(found)
	case drifting:
		v.Reason, v.Drift, v.Note = factors.Drifting, s.drift(found), factors.ClockOff
		if s.isRefused(found.step) && !corrected {
			return v, nil // told before
		}
		s = s.withRefused(found)
	default:
		v.Reason = factors.Used
		if !corrected {
			return v, nil
		}
	}
	var err error
	v.Secret, err = s.marshal()
	return v, err
}

type enrolling struct{ *Factor }

// Begin makes a secret. The question's state holds it in clear.
func (f enrolling) Begin(context.Context, factors.Asking) (factors.Turn, error) {
	algorithm, _ := algorithmNamed(f.config.Algorithm)
	key := make([]byte, algorithm.secretBytes)
	if _, err := io.ReadFull(f.random, key); err != nil {
		return factors.Turn{}, fmt.Errorf("making a TOTP secret: %w", err)
	}
	s := secret{
		Key:       base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(key),
		Algorithm: f.config.Algorithm,
		Digits:    f.config.Digits,
		Period:    int(f.config.Period / time.Second),
	}
	state, err := s.marshal()
	return factors.Turn{State: state}, err
}

// Resume shows the secret.
func (f enrolling) Resume(_ context.Context, a factors.Asking, state []byte) (factors.Page, error) {
	s, err := parseSecret(state)
	if err != nil {
		return factors.Page{}, fmt.Errorf("reading a TOTP enrolment: %w", err)
	}
	uri := f.uri(s, a.Who)
	code, err := qrcode.Draw(uri)
	if err != nil {
		return factors.Page{}, fmt.Errorf("drawing the QR code: %w", err)
	}
	return factors.Page{Content: templates.TOTPEnrolment{
		QR:      code,
		Key:     inGroups(s.Key),
		URI:     uri,
		Issuer:  f.config.Issuer,
		Account: a.Who.Name,
		Digits:  s.Digits,
		Period:  s.Period,
	}}, nil
}

// URI returns the provisioning URI of an enrolment's state.
func (f *Factor) URI(state []byte, who factors.Subject) (string, error) {
	s, err := parseSecret(state)
	if err != nil {
		return "", fmt.Errorf("reading a TOTP enrolment: %w", err)
	}
	return f.uri(s, who), nil
}

func (f *Factor) uri(s secret, who factors.Subject) string { return s.uri(f.config.Issuer, who.Name) }

// Check accepts answer "code" as that of proving would, and that code's step is
// dead from then on.
func (f enrolling) Check(_ context.Context, _ factors.Asking, state []byte, answer factors.Answer) (factors.Verdict, error) {
	s, err := parseSecret(state)
	if err != nil {
		return factors.Verdict{}, fmt.Errorf("reading a TOTP enrolment: %w", err)
	}
	code, ok := token.ReadDigits(answer["code"], s.Digits)
	if !ok {
		return factors.Verdict{Reason: factors.Malformed}, nil
	}
	found := s.judge(code, s.stepAt(f.clock()))
	switch found.outcome {
	case accepted:
		written, err := s.withAccepted(found).marshal()
		if err != nil {
			return factors.Verdict{}, err
		}
		return factors.Verdict{Outcome: factors.OutcomeAccepted, Made: factors.Made{Secret: written, Name: credentialName}}, nil
	case drifting:
		// Nothing is noted as refused: whoever enrols has seen the secret.
		return factors.Verdict{Reason: factors.Drifting, Drift: s.drift(found)}, nil
	}
	return factors.Verdict{Reason: factors.Wrong}, nil
}
