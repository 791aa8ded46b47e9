// Package factors is the contract of a kind of proof. Each factor is a package
// below this one. It puts questions: to show a credential, and to enrol one. A
// question is a ceremony, which is begun once, resumed as often as its page is
// shown, and decided by an answer, or by another device.
//
//	Begin ──▶ open ──▶ Check ──▶ accepted
//	           ▲ │  │        ├──▶ refused: still open, or closed
//	  Resume ──┘ │  │        └──▶ pending: one step further, or waiting
//	             │  └──▶ Again: its message is sent once more
//	             └─────▶ Resolve: another device has answered; Check collects
//
// A factor computes; it neither stores nor counts nor talks HTTP. What it
// must remember between two requests it returns as state, which is kept,
// sealed, at the server. What it consumes (a time step, a code) it returns as
// the credential's new secret, which is written by compare-and-set before the
// proof counts.
package factors

import (
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
)

// Subject is the person whom a ceremony is about.
type Subject struct {
	UserID      string
	Name        string // sign-in name
	DisplayName string
}

// Credential is an enrolled credential with its secret opened.
type Credential struct {
	ID       string
	Name     string
	Secret   []byte
	Created  time.Time
	LastUsed time.Time
}

// Reason says why an answer was refused. Texts for people are made at the
// edge.
type Reason string

// The reasons for a refusal.
const (
	Wrong       Reason = "wrong"       // not what was asked for
	Malformed   Reason = "malformed"   // not even of the right form
	Unconfirmed Reason = "unconfirmed" // without what has to be confirmed
	Used        Reason = "used"        // right once, and spent
	Drifting    Reason = "drifting"    // right, but for another time
	Expired     Reason = "expired"     // to a question that isn't open any more
	Taken       Reason = "taken"       // a credential that is enrolled already
	Cloned      Reason = "cloned"      // right, from what seems to exist twice
	Unknown     Reason = "unknown"     // from a credential that isn't enrolled, or is no more
	TooSoon     Reason = "too_soon"    // a message was sent a moment ago
	TooOften    Reason = "too_often"   // no more messages are sent
	Denied      Reason = "denied"      // by the person, at another device
)

// The reasons for which an authenticator that works is barred.
const (
	Unattested  Reason = "unattested"  // it doesn't prove what it is
	Unproven    Reason = "unproven"    // what it says that it is doesn't hold
	Unlisted    Reason = "unlisted"    // nothing is known of what it is
	Disallowed  Reason = "disallowed"  // the operator wants others
	Withdrawn   Reason = "withdrawn"   // it is known to be unsafe, or isn't supported any more
	Uncertified Reason = "uncertified" // it isn't certified as highly as asked
)

// Note is what a factor finds out about a credential beside its verdict, and
// its owner and the operator should hear of.
type Note string

// The notes.
const (
	ClockOff        Note = "clock_off"         // with Drift
	CounterWentBack Note = "counter_went_back" // of signatures: there may be a copy
)

// Traits say what is special about a kind of proof, so that nobody compares
// kinds.
type Traits struct {
	// Weight is what its proofs count for: assurance.Second or
	// assurance.Unphishable.
	Weight assurance.Weight
	// Daily says that it is meant to be used day by day, and may be somebody's
	// only second factor. What isn't stands by for need: everybody is asked to
	// set it up too.
	Daily bool
	// Typed says that people type its codes as the answer "code", and that a code of
	// digits may be one of them. Kinds with this trait share one field.
	Typed bool
	// Recalls says that a browser can be remembered in its place.
	Recalls bool
	// Guessable says that somebody who tries for years, as often as a server can
	// answer, has a chance to guess right: failures have to slow down what comes
	// after them.
	Guessable bool
	// Delivers says that a message is sent for each question. A flow puts the first
	// question by itself, and each further one when the person presses a button.
	Delivers bool
	// ByMail says that whoever reads the person's mail can answer: codes are mailed.
	// Such a factor implements Addressed.
	ByMail bool
	// Rank is the rank that a proof has to vouch for to suspend a credential of this
	// kind as lost. Vouches is the highest rank that proofs of this kind vouch for: a
	// code from a mailbox can't suspend a security key. What is enrolled by proofs that
	// vouch for less than its own will is on probation at first.
	Rank, Vouches int
	// AMR are the authentication methods of its proofs (RFC 8176 §2), as apps are
	// told.
	AMR []string
	// OneOpen says that one question is open for a person at a time, since each of
	// them disturbs the person at another device.
	OneOpen bool
	// OnDemand says that even the first question waits until the person presses a
	// button.
	OnDemand bool
}

// Factor is one kind of proof. Implementations are safe for concurrent use.
type Factor interface {
	// Kind is the factor's name in the store, in logs and in configuration,
	// and of its templates.
	Kind() assurance.Factor
	// Traits say what is special about the kind.
	Traits() Traits
	// Most is how many credentials of the kind somebody may have. Where it is
	// 1, a new one takes the place of the old.
	Most() int
	// Proving asks for a proof by any of the credentials that can be used, of
	// which there is at least one.
	Proving() Ceremony
	// Enrolling makes a new credential. It is asked with those of the kind that
	// the person has, lost ones too.
	Enrolling() Ceremony
	// Reads reports whether an answer has the form of one to a question for
	// these credentials. One that hasn't is no attempt, and is refused as
	// Malformed without being checked.
	Reads(credentials []Credential, answer Answer) (bool, error)
}

// Addressed is a Factor whose credentials have an address.
type Addressed interface {
	// Address returns where messages for a credential go.
	Address(c Credential) (string, error)
}

// Describer is a Factor that has more to tell the owner of a credential than
// its name and its times.
type Describer interface {
	Details(c Credential) (Details, error)
}

// Valued is a Factor whose texts name values of its configuration.
type Valued interface {
	// Values returns the values for texts about the kind, such as how often its codes
	// change.
	Values() map[string]any
}

// Compound is a Factor whose enrolment makes credentials of other kinds too; see
// Verdict.Also.
type Compound interface {
	Beside() []assurance.Factor
}

// Discoverer is a Factor whose credentials tell whose they are, so that nobody
// has to give a name first.
type Discoverer interface {
	// Discovering asks whoever is there. It begins with no subject and no
	// credentials, and its state is good for its own Check alone. An accepted
	// answer proves by itself who it is from.
	Discovering() Ceremony
	// Discover reads from an answer whom it is said to come from. Nothing of
	// that is proven. It returns false where the answer doesn't say.
	Discover(answer Answer) (Discovered, bool)
}

// Discovered says whom an answer is said to come from.
type Discovered struct {
	UserID string
	// Unique is what the credential had as such when it was Made.
	Unique string
}

// Bound is a Factor whose credentials each work in one realm alone.
type Bound interface {
	// Realm is where those work that are enrolled now.
	Realm() string
}

// Announcer is a Factor of whose credentials browsers and authenticators keep
// lists of their own, which they can be told to bring up to date.
type Announcer interface {
	// Announcement returns what the account's page is to tell the browser of all
	// credentials of the kind that the person has, lost ones too; never anything
	// secret.
	Announcement(who Subject, all []Credential) (any, error)
}

// Details tell the owner of a credential more than its name and its times. They
// contain no secret.
type Details struct {
	// Form says what the credential is kept in, by the name of an icon and of a text
	// below portal.kind.KIND.form; empty: it isn't shown.
	Form string
	// Model is what the authenticator is called; empty: nobody knows.
	Model string
	// Picture shows it, as a data URL of PNG or SVG; empty: there is none.
	Picture string
	// By names texts below portal.kind.KIND.by: how browsers reach it.
	By []string
	// Stock is what is left of a credential that gets used up; nil: it doesn't.
	Stock *Stock
	// Heard is when another device was last heard from, to the hour; zero: it isn't known.
	Heard time.Time
	// Unreachable says that the other device can't be sent notifications.
	Unreachable bool
}

// Stock is what is left of a credential that gets used up.
type Stock struct {
	Left, Total int
	Used        []time.Time // oldest first
}

// Set is the factors that are configured, in the order of recommendation.
type Set []Factor

// Get returns the factor of the kind.
func (s Set) Get(kind assurance.Factor) (Factor, error) {
	for _, f := range s {
		if f.Kind() == kind {
			return f, nil
		}
	}
	return nil, fmt.Errorf("factor %q is not configured", kind)
}

// Guessable lists the kinds of proof whose failures slow down what comes after
// them: the password, and what says so.
func (s Set) Guessable() []assurance.Factor {
	kinds := []assurance.Factor{assurance.Password}
	for _, f := range s {
		if f.Traits().Guessable {
			kinds = append(kinds, f.Kind())
		}
	}
	return kinds
}

// Works reports whether a credential of the kind, which was enrolled for a
// realm, works where things stand now.
func (s Set) Works(kind assurance.Factor, realm string) bool {
	f, err := s.Get(kind)
	if err != nil {
		return true // whether the factor is configured is asked elsewhere
	}
	bound, ok := f.(Bound)
	return !ok || bound.Realm() == realm
}

// Weights say what proofs of the kinds count for: of passwords always, of other
// kinds where they are configured. Of certificates each requirement says that
// itself, so nothing is to be configured here.
func (s Set) Weights() assurance.Weights {
	weights := assurance.Weights{assurance.Password: assurance.First, assurance.Certificate: assurance.Machine}
	for _, f := range s {
		weights[f.Kind()] = f.Traits().Weight
	}
	return weights
}

// Methods returns the authentication methods of each kind (RFC 8176 §2). Where a
// device keeps its key isn't known.
func (s Set) Methods() map[assurance.Factor][]string {
	methods := map[assurance.Factor][]string{assurance.Password: {"pwd"}, assurance.Certificate: {"swk"}}
	for _, f := range s {
		methods[f.Kind()] = f.Traits().AMR
	}
	return methods
}

// Vouching returns those proofs that may vouch for a rank: without second factors
// that vouch for less, or that were on probation when they were shown.
func (s Set) Vouching(proofs []assurance.Proof, rank int) []assurance.Proof {
	if rank == 0 {
		return proofs
	}
	return slices.DeleteFunc(slices.Clone(proofs), func(p assurance.Proof) bool {
		return p.Factor != assurance.Password && (p.HeldToMulti || s.Traits(p.Factor).Vouches < rank)
	})
}

// Traits are those of a kind; the zero Traits: it isn't configured.
func (s Set) Traits(kind assurance.Factor) Traits {
	f, err := s.Get(kind)
	if err != nil {
		return Traits{}
	}
	return f.Traits()
}

// IsStandby reports whether the kind is configured as a second factor and isn't
// Daily.
func (s Set) IsStandby(kind assurance.Factor) bool {
	f, err := s.Get(kind)
	return err == nil && !f.Traits().Daily
}

// Enabled reports whether a second factor of the kind is configured.
func (s Set) Enabled(kind assurance.Factor) bool {
	_, err := s.Get(kind)
	return err == nil
}

// First returns the first kind with the traits that are meant, or none.
func (s Set) First(isMeant func(Traits) bool) assurance.Factor {
	for _, f := range s {
		if isMeant(f.Traits()) {
			return f.Kind()
		}
	}
	return ""
}
