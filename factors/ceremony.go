package factors

import (
	"context"
	"errors"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
)

// Answer holds what the person submitted, by form field.
type Answer map[string]string

// Asking is all that a ceremony knows of the question that it puts.
type Asking struct {
	// Ref names the question among all others. It is no secret. What is sent for
	// a question is derived from it, so that nothing has to be kept of that.
	Ref string
	Who Subject
	// Credentials are those of the kind that the question is about.
	Credentials []Credential
	// Scene is where it was put: as of Begin, whenever it is read.
	Scene Scene
	// Closed is when the question was closed, if it is kept after that; zero: it wasn't
	// closed. Only Resolve is asked about such a question.
	Closed time.Time
}

// Scene is where a question was put.
type Scene struct {
	Address   string `json:"address,omitempty"`
	UserAgent string `json:"user_agent,omitempty"`
	// Known says that the browser signed the person in before.
	Known bool `json:"known,omitempty"`
	// Host is the app that the person wants to open; empty: the portal itself.
	Host string `json:"host,omitempty"`
	// Language is the language of the person's pages, as in the lang attribute.
	Language string `json:"language,omitempty"`
	// Zone is the time zone that the browser is in (IANA); empty: it isn't known.
	Zone string `json:"zone,omitempty"`
}

// Turn is a question as its factor leaves it. The zero Turn is one of which
// nothing has to be remembered.
type Turn struct {
	// State is kept at the server, sealed, until the question closes.
	State []byte
	// Until is when the question can't be answered any more; zero: when its flow
	// ends.
	Until time.Time
	// Settled says that another device has answered, so that the browser that
	// asked may collect what comes of it.
	Settled bool
	// Kept is until when another device, and nobody else, can find the question after it
	// was closed or its flow is gone; zero: it isn't kept.
	Kept time.Time
	// Handles are secrets by which another device finds the question before it knows
	// its reference. Those of earlier turns stay as they are.
	Handles []string
	// Send has a message sent about the question, once this turn is kept. What
	// it says is composed when it leaves; see Composer.
	Send bool
	// Recipient is where that message goes, in the form by which messages are
	// counted. NewRecipient says that the person has just named it, and that nobody
	// has shown yet that it's theirs.
	Recipient    string
	NewRecipient bool
}

// IsZero reports whether nothing has to be remembered.
func (t Turn) IsZero() bool {
	return len(t.State) == 0 && t.Until.IsZero() && t.Kept.IsZero() && len(t.Handles) == 0 && !t.Settled && !t.Send
}

// Page is what a question looks like.
type Page struct {
	// Content is what the factor's own template shows.
	Content any
	// File, where there is one, is offered for download beside the page.
	File *File
	// Waits says that another device can answer, so the browser that asked has to
	// find out whether one has.
	Waits bool
	// Again says when the message can be sent again; nil: it can't be.
	Again *Again
}

// Again says when a message can be sent again.
type Again struct {
	At   time.Time // zero: at any time
	Left int       // how often
}

// File is a text file for a person to keep.
type File struct {
	Name    string
	Content string
}

// Outcome is what came of an answer.
type Outcome int

// The outcomes.
const (
	// OutcomeRefused leaves the question open, unless it closes it.
	OutcomeRefused Outcome = iota
	// OutcomePending is neither yes nor no: the question waits for another
	// device, or is one step further.
	OutcomePending
	// OutcomeAccepted closes the question.
	OutcomeAccepted
)

// Verdict is the result of a check. Nothing of it is told before it is
// committed.
type Verdict struct {
	Outcome Outcome
	// Next is the question's new turn; nil: it is as it was.
	Next *Turn
	// Closes says of a refusal that the question can't be answered any more.
	Closes bool
	// Reason is why an answer is refused.
	Reason Reason
	// Drift is how far the authenticator's clock is ahead (negative: behind),
	// with Drifting.
	Drift time.Duration
	// RetryAfter is how long to wait before the same can be asked again, with
	// TooSoon.
	RetryAfter time.Duration
	// CredentialID names the credential that answered, if any did.
	CredentialID string
	// Secret is that credential's new secret; nil: unchanged. It must be written
	// by compare-and-set before an accepted proof counts, and also where a
	// refusal comes with it.
	Secret []byte
	// UserVerified is passed on to the proof.
	UserVerified bool
	// Note is written down, whether or not the answer is accepted; empty:
	// nothing is.
	Note Note
	// Made is the new credential of an accepted enrolment. With Barred its
	// Unique alone is set.
	Made Made
	// Also are further new credentials, of other kinds, that the same thing holds.
	Also []Made
	// Disowned says that the owner of the credential didn't ask for this: what came of
	// the question is ended.
	Disowned bool
	// Model is what was enrolled or refused, as far as it can be told, and Barred
	// says that the refusal is about it.
	Model  Model
	Barred bool
	// Reply is for the other device that answered.
	Reply []byte
}

// Accepted reports whether the answer is right.
func (v Verdict) Accepted() bool { return v.Outcome == OutcomeAccepted }

// Made is a new credential.
type Made struct {
	Kind   assurance.Factor // empty: the factor's own
	Secret []byte
	Name   string
	// Unique is what no two credentials of the kind may share, whoever has
	// them: where another has the same, the enrolment is refused as Taken.
	// Empty: there is nothing of the sort.
	Unique string
	// Realm is where the new credential works, of a Bound factor.
	Realm string
}

// Model says what an authenticator is, as far as it can be told.
type Model struct {
	ID   string // of security keys the AAGUID
	Name string // "YubiKey 5 with NFC"; empty: nobody knows
}

// ErrOver says that a question can't be answered any more, though its time isn't
// up: it was put under another configuration.
var ErrOver = errors.New("the question is over")

// Ceremony is one kind of question. It is begun once, and resumed by every
// further render. Its methods only compute: what they return is kept by whoever
// calls them, who calls again where that lost a race. They return an error only
// where they could not tell; a wrong answer is a result.
type Ceremony interface {
	// Begin puts the question.
	Begin(ctx context.Context, a Asking) (Turn, error)
	// Resume returns the question's page. It has no side effect. After ErrOver, the
	// question is put anew. A nil state means that nothing is asked until the person
	// presses a button. Only kinds with the trait Delivers or OnDemand have to expect
	// it.
	Resume(ctx context.Context, a Asking, state []byte) (Page, error)
	// Check decides on an answer. A nil answer collects what another device has
	// answered.
	Check(ctx context.Context, a Asking, state []byte, answer Answer) (Verdict, error)
}

// Resender is a Ceremony that can send its message again if the person asks for it.
type Resender interface {
	// Again returns the next turn, with Send, or a refusal such as TooSoon.
	Again(ctx context.Context, a Asking, state []byte) (Verdict, error)
}

// Resolver is a Ceremony that another device than the browser can answer.
type Resolver interface {
	// Resolve decides on a message of the other device. It advances no flow: the
	// browser that asked collects what comes of it.
	Resolve(ctx context.Context, a Asking, state, message []byte) (Verdict, error)
}

// Letter is a message to a person.
type Letter struct {
	To string // an address of the kind that the factor sends to
	// Template names the template of the letter, in the Language; Content is what it
	// shows.
	Template string
	Language string
	Content  any
}

// Composer is a Ceremony that sends messages.
type Composer interface {
	// Compose returns what to send, such as a Letter, and whether the message is
	// still needed.
	Compose(ctx context.Context, a Asking, state []byte) (message any, open bool, err error)
}
