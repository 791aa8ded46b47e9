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
	// HeldToMulti bars a FIDO proof from counting as phishing-resistant: set
	// for a credential that was enrolled in place of a lost one.
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

// IsSecond reports whether the factor can stand beside a password as the
// second one. A kind that nobody knows can't.
func (f Factor) IsSecond() bool {
	switch f {
	case TOTP, FIDO, Push, BackupCode, Email, SMS, Certificate:
		return true
	}
	return false
}

// Of returns the highest level that the proofs reach together. Proofs of
// factors that enabled does not hold count for nothing; a nil enabled holds all.
// A remembered one stands beside a password as a second factor and counts for
// nothing else.
func Of(proofs []Proof, enabled func(Factor) bool) Level {
	var password, second, fido, verified, certificate bool
	for _, p := range proofs {
		if enabled != nil && !enabled(p.Factor) {
			continue
		}
		switch {
		case p.Remembered:
			second = second || p.Factor.IsSecond()
		case p.Factor == Password:
			password = true
		case p.Factor == Certificate:
			certificate = true
		case p.Factor == FIDO && !p.HeldToMulti:
			fido = true
			verified = verified || p.UserVerified
		case p.Factor.IsSecond():
			second = true
		}
	}
	switch {
	case verified, password && fido:
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
	// newest second factor under Multi, of FIDO under PhishingResistant, of
	// the password under Single. Zero: any age that the session allows.
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
	Nothing      Need = iota // the requirement is met
	NeedPassword             // a password, first or again
	NeedSecond               // any second factor, first or again
	NeedFIDO                 // a security key or passkey, first or again
)

// skew is by how much the clocks of nodes may differ: a proof of later than
// that is from before a clock was set back, and nobody knows how old it is.
const skew = time.Minute

// Missing returns what must be proven next for the requirement to be met at
// the time now. It asks for one thing at a time and for nothing twice.
func (r Requirement) Missing(proofs []Proof, now time.Time, enabled func(Factor) bool) Need {
	counts := func(f Factor) bool {
		return (f != Certificate || r.Certificate != CertificateIgnored) && (enabled == nil || enabled(f))
	}
	if r.Certificate == CertificateAlone && r.MaxAge <= 0 && counts(Certificate) && slices.ContainsFunc(proofs, isCertificate) {
		return Nothing
	}
	level := Of(proofs, counts)
	if level < r.Level {
		switch {
		case level < Single:
			return NeedPassword
		case r.Level == PhishingResistant:
			return NeedFIDO
		default:
			return NeedSecond
		}
	}
	if r.MaxAge <= 0 {
		return Nothing
	}
	fresh := func(isMeant func(Proof) bool) bool {
		return slices.ContainsFunc(proofs, func(p Proof) bool {
			age := now.Sub(p.At)
			return counts(p.Factor) && !p.Remembered && isMeant(p) && age <= r.MaxAge && age >= -skew
		})
	}
	switch r.Level {
	case PhishingResistant:
		if !fresh(func(p Proof) bool { return p.Factor == FIDO && !p.HeldToMulti }) {
			return NeedFIDO
		}
	case Multi:
		if !fresh(func(p Proof) bool { return p.Factor.IsSecond() && p.Factor != Certificate }) {
			return NeedSecond
		}
	default:
		if !fresh(func(p Proof) bool { return p.Factor == Password }) {
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
