// Package assurance is the vocabulary of what was proven and the rule of what
// suffices: factors, proofs, levels and requirements.
//
// Everything here is a value or a pure function of values. The package must
// not know where proofs are kept, how they came about, or who asks.
package assurance

import (
	"fmt"
	"slices"
	"time"
)

// Factor names a kind of proof.
type Factor string

// The factors, as they appear in the store, in logs and in configuration.
const (
	Password    Factor = "password"
	TOTP        Factor = "totp"
	FIDO        Factor = "fido"
	Push        Factor = "push"
	BackupCode  Factor = "backup_code"
	Email       Factor = "email"
	SMS         Factor = "sms"
	Certificate Factor = "certificate"
)

// numbered are the factors by their numbers. New ones go to the end, since the numbers
// are in cookies.
var numbered = []Factor{"", Password, TOTP, FIDO, Push, BackupCode, Email, SMS, Certificate}

// Number returns a number from 1 to 15 that stands for the factor in few bytes, and
// always will; 0: it has none.
func (f Factor) Number() uint8 { return uint8(max(0, slices.Index(numbered, f))) }

// FactorByNumber is the reverse of Number.
func FactorByNumber(number uint8) (Factor, bool) {
	if number == 0 || int(number) >= len(numbered) {
		return "", false
	}
	return numbered[number], true
}

// Proof is one factor shown once.
type Proof struct {
	Factor Factor    `json:"factor"`
	At     time.Time `json:"at"`
	// UserVerified says that the authenticator itself checked who holds it
	// (PIN or biometrics), as FIDO authenticators can.
	UserVerified bool `json:"uv,omitempty"`
	// Remembered says that the factor was not shown now: a browser stands in
	// for it that was told to be remembered when it was.
	Remembered bool `json:"remembered,omitempty"`
	// HeldToMulti bars a proof from counting as phishing-resistant: set for a
	// credential that was enrolled in place of a lost one.
	HeldToMulti bool `json:"held,omitempty"`
	// Credential is the id of the credential that it was shown with; empty
	// where nobody needs to know.
	Credential string `json:"credential,omitempty"`
}

// Level is how much was proven. Higher levels include lower ones, except that
// Device stands apart: it says that a managed machine asks, not that a person
// proved anything.
type Level int

// The levels, lowest first.
const (
	None Level = iota
	Device
	Single
	Multi
	PhishingResistant
)

var levelNames = [...]string{"none", "device", "single", "multi", "phishing_resistant"}

// String returns the level's name in configuration.
func (l Level) String() string {
	if l < 0 || int(l) >= len(levelNames) {
		return fmt.Sprintf("level(%d)", int(l))
	}
	return levelNames[l]
}

// ParseLevel reads a level that a rule may ask for: device, single, multi or
// phishing_resistant.
func ParseLevel(s string) (Level, error) {
	if i := slices.Index(levelNames[:], s); i > 0 {
		return Level(i), nil
	}
	return None, fmt.Errorf("unknown assurance %q: write single, multi or phishing_resistant", s)
}

// Weight is what a proof of a kind counts for. The kinds of second factor say
// that themselves, so that no kind has to be known here.
type Weight int

// The weights.
const (
	// Weightless counts for nothing: nobody knows the kind, or it isn't
	// configured.
	Weightless Weight = iota
	// Machine is a device's certificate.
	Machine
	// First is the password.
	First
	// Second counts beside a password.
	Second
	// Unphishable is Second, and phishing-resistant beside a password or where
	// the authenticator verified its user.
	Unphishable
)

// IsSecond reports whether a proof of the weight can stand beside a password as
// the second one.
func (w Weight) IsSecond() bool { return w == Machine || w >= Second }

// Weights say what proofs count for, by kind. A kind that isn't there counts for
// nothing.
type Weights map[Factor]Weight

// Of returns the highest level that the proofs reach together. A remembered one
// stands beside a password as a second factor and counts for nothing else.
func Of(proofs []Proof, weights Weights) Level {
	return of(proofs, func(f Factor) Weight { return weights[f] })
}

func of(proofs []Proof, weigh func(Factor) Weight) Level {
	var password, second, unphishable, verified, certificate bool
	for _, p := range proofs {
		weight := weigh(p.Factor)
		switch {
		case p.Remembered:
			second = second || weight.IsSecond()
		case weight == First:
			password = true
		case weight == Machine:
			certificate = true
		case weight == Unphishable && !p.HeldToMulti:
			unphishable = true
			verified = verified || p.UserVerified
		case weight.IsSecond():
			second = true
		}
	}
	switch {
	case verified, password && unphishable:
		return PhishingResistant
	case password && (second || certificate):
		return Multi
	case password:
		return Single
	case certificate:
		return Device
	}
	return None
}

// Requirement is what a rule asks of the person in front of it.
type Requirement struct {
	Level Level `json:"level"`
	// MaxAge bounds the age of the proof that the level turns on: of the
	// newest second factor under Multi, of what resists phishing under
	// PhishingResistant, of the password under Single. Zero: any age that the session allows.
	// A certificate has no age: nobody has to act for it to be shown.
	MaxAge time.Duration `json:"max_age,omitempty"`
	// Certificate is what a device's certificate does for the requirement.
	Certificate CertificateUse `json:"certificate,omitempty"`
}

// CertificateUse is what a device's certificate does for a requirement.
type CertificateUse int

// The uses of a certificate.
const (
	// CertificateIgnored: it counts for nothing.
	CertificateIgnored CertificateUse = iota
	// CertificateAdded: it counts as a second factor beside a password.
	CertificateAdded
	// CertificateAlone: it suffices without anything else, in place of the
	// level, unless there is a MaxAge.
	CertificateAlone
)

// String returns the name of a use.
func (u CertificateUse) String() string {
	switch u {
	case CertificateIgnored:
		return "ignored"
	case CertificateAdded:
		return "added"
	case CertificateAlone:
		return "alone"
	}
	return fmt.Sprintf("use(%d)", int(u))
}

// Need is what is still missing for a requirement.
type Need int

// What may be missing.
const (
	Nothing       Need = iota // the requirement is met
	NeedPassword              // a password, first or again
	NeedSecond                // any second factor, first or again
	NeedResistant             // something phishing-resistant, first or again
)

// skew is by how much the clocks of nodes may differ: a proof of later than
// that is from before a clock was set back, and nobody knows how old it is.
const skew = time.Minute

// Missing returns what must be proven next for the requirement to be met at
// the time now. It asks for one thing at a time and for nothing twice.
func (r Requirement) Missing(proofs []Proof, now time.Time, weights Weights) Need {
	weigh := func(f Factor) Weight {
		weight := weights[f]
		if weight == Machine && r.Certificate == CertificateIgnored {
			return Weightless
		}
		return weight
	}
	if r.Certificate == CertificateAlone && r.MaxAge <= 0 && weigh(Certificate) == Machine && slices.ContainsFunc(proofs, isCertificate) {
		return Nothing
	}
	level := of(proofs, weigh)
	if level < r.Level {
		switch {
		case level < Single:
			return NeedPassword
		case r.Level == PhishingResistant:
			return NeedResistant
		default:
			return NeedSecond
		}
	}
	if r.MaxAge <= 0 {
		return Nothing
	}
	fresh := func(isMeant func(Proof, Weight) bool) bool {
		return slices.ContainsFunc(proofs, func(p Proof) bool {
			age := now.Sub(p.At)
			return !p.Remembered && isMeant(p, weigh(p.Factor)) && age <= r.MaxAge && age >= -skew
		})
	}
	switch r.Level {
	case PhishingResistant:
		if !fresh(func(p Proof, w Weight) bool { return w == Unphishable && !p.HeldToMulti }) {
			return NeedResistant
		}
	case Multi:
		if !fresh(func(_ Proof, w Weight) bool { return w >= Second }) {
			return NeedSecond
		}
	default:
		if !fresh(func(_ Proof, w Weight) bool { return w == First }) {
			return NeedPassword
		}
	}
	return Nothing
}

// isCertificate reports whether a certificate was shown.
func isCertificate(p Proof) bool { return p.Factor == Certificate && !p.Remembered }

// Shown returns the proofs that were shown, without those for which a
// remembered browser stands in. The given slice is not changed.
func Shown(proofs []Proof) []Proof {
	shown := make([]Proof, 0, len(proofs))
	for _, p := range proofs {
		if !p.Remembered {
			shown = append(shown, p)
		}
	}
	return shown
}

// Add returns proofs with p in them, in place of an older proof of the same
// factor. Of two proofs of a factor one that was shown stays before one that is
// remembered, and then the newer one. The given slice is not changed.
func Add(proofs []Proof, p Proof) []Proof {
	kept := make([]Proof, 0, len(proofs)+1)
	for _, q := range proofs {
		switch {
		case q.Factor != p.Factor:
			kept = append(kept, q)
		case q.outweighs(p):
			p = q
		}
	}
	return append(kept, p)
}

// outweighs reports whether p stays where q of the same factor comes to it.
func (p Proof) outweighs(q Proof) bool {
	if p.Remembered != q.Remembered {
		return q.Remembered
	}
	return p.At.After(q.At)
}
