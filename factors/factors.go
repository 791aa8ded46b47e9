// Package factors is the contract of a kind of proof: begin a challenge, check
// the answer, enrol. Each factor is a package below this one.
//
// A factor computes; it neither stores nor counts nor talks HTTP. What it
// must remember between two requests it returns as state, which the flow
// keeps, sealed, at the server. What it consumes (a time step, a code) it
// returns as the credential's new secret, which the flow writes by
// compare-and-set before the proof counts.
package factors

import (
	"context"
	"fmt"
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

// Answer holds what the person submitted, by form field.
type Answer map[string]string

// Ceremony is one begun challenge or enrolment.
type Ceremony struct {
	// State is kept at the server until the answer comes; it may be empty.
	State []byte
	// Page is what the factor's own template shows.
	Page any
	// File, where there is one, is offered for download beside the page.
	File *File
}

// File is a text file for a person to keep.
type File struct {
	Name    string
	Content string
}

// Reason says why an answer was refused. Texts for people are made at the
// edge.
type Reason string

// The reasons for a refusal.
const (
	Wrong     Reason = "wrong"     // not what was asked for
	Malformed Reason = "malformed" // not even of the right form
	Used      Reason = "used"      // right once, and spent
	Drifting  Reason = "drifting"  // right, but for another time
	Expired   Reason = "expired"   // to a question that isn't open any more
	Taken     Reason = "taken"     // a credential that is enrolled already
	Cloned    Reason = "cloned"    // right, from what seems to exist twice
)

// Note is what a factor finds out about a credential beside its verdict, and
// its owner and the operator should hear of.
type Note string

// The notes.
const (
	ClockOff        Note = "clock_off"         // with Drift
	CounterWentBack Note = "counter_went_back" // of signatures: there may be a copy
)

// Verdict is the result of checking an answer.
type Verdict struct {
	Accepted bool
	// Reason is set where Accepted is not.
	Reason Reason
	// Drift is how far the authenticator's clock is ahead (negative: behind),
	// with Drifting.
	Drift time.Duration
	// CredentialID names the credential that answered, if any did.
	CredentialID string
	// Secret is the credential's new secret; nil: unchanged. It must be
	// written by compare-and-set before an accepted proof counts, and also
	// where a refusal comes with it.
	Secret []byte
	// UserVerified is passed on to the proof.
	UserVerified bool
	// Note is written down, whether or not the answer is accepted; empty:
	// nothing is.
	Note Note
}

// Enrolment is the result of checking an enrolment's answer.
type Enrolment struct {
	Accepted bool
	Reason   Reason
	Drift    time.Duration
	// Spent says that what was begun can't be answered again; only with a
	// refusal.
	Spent bool
	// Secret and Name make the new credential.
	Secret []byte
	Name   string
	// Unique is what no two credentials of the kind may share, whoever has
	// them: where another has the same, the enrolment is refused as Taken.
	// Empty: there is nothing of the sort.
	Unique string
	// UserVerified is passed on to the proof.
	UserVerified bool
}

// Factor is one kind of proof. Implementations are safe for concurrent use.
//
// Check and CheckEnrolment return an error only where they could not tell;
// a wrong answer is a result.
type Factor interface {
	// Kind is the factor's name in the store, in logs and in configuration,
	// and of its templates.
	Kind() assurance.Factor
	// Begin prepares to ask for a proof by any of the credentials, of which
	// there is at least one.
	Begin(ctx context.Context, who Subject, credentials []Credential) (Ceremony, error)
	// Check decides on the answer to the challenge whose state Begin gave.
	Check(ctx context.Context, who Subject, credentials []Credential, state []byte, answer Answer) (Verdict, error)
	// BeginEnrolment prepares a new credential; nothing of it works yet.
	// existing are those of the kind that the person has, lost ones too.
	BeginEnrolment(ctx context.Context, who Subject, existing []Credential) (Ceremony, error)
	// ResumeEnrolment returns the page of an enrolment that was begun, for a
	// reload or a second try. Its state takes the place of the one given.
	ResumeEnrolment(ctx context.Context, who Subject, existing []Credential, state []byte) (Ceremony, error)
	// CheckEnrolment decides whether the new credential works.
	CheckEnrolment(ctx context.Context, who Subject, state []byte, answer Answer) (Enrolment, error)
	// Most is how many credentials of the kind somebody may have. Where it is
	// 1, a new one takes the place of the old.
	Most() int
}

// Describer is a Factor that has more to tell the owner of a credential than
// its name and its times.
type Describer interface {
	// Details returns what there is to tell, never anything secret.
	Details(c Credential) (any, error)
}

// Codes are the Details of a set of codes.
type Codes struct {
	Left, Total int
	Used        []time.Time // when codes of it were used, oldest first
}

// Key is the Details of a security key or passkey.
type Key struct {
	Form KeyForm
	// Transports are how browsers reach it, in the words of WebAuthn: usb, nfc,
	// ble, smart-card, hybrid, internal.
	Transports []string
}

// KeyForm says what a security key or passkey is kept in.
type KeyForm string

// The forms of keys.
const (
	SecurityKey   KeyForm = "security_key"   // a thing of its own
	DevicePasskey KeyForm = "device_passkey" // in a phone or computer
	SyncedPasskey KeyForm = "synced_passkey" // in an account, on many devices
)

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

// Enabled reports whether proofs of the kind count: passwords always do, other
// kinds where they are configured. Of certificates each requirement says that
// itself, so nothing is to be configured here.
func (s Set) Enabled(kind assurance.Factor) bool {
	if kind == assurance.Password || kind == assurance.Certificate {
		return true
	}
	_, err := s.Get(kind)
	return err == nil
}
