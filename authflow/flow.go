package authflow

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

const (
	// FlowIdle is how long a flow waits for the next answer.
	FlowIdle = 15 * time.Minute
	// FlowLifetime is how long a flow may take in all.
	FlowLifetime = time.Hour
)

// ErrFlowGone says that a flow is unknown, finished or over its time, or that
// its user or sign-on is gone: the person starts again.
var ErrFlowGone = errors.New("the sign-in was finished or took too long")

// Kind says what a flow is for.
type Kind string

// The kinds of flow.
const (
	SignIn Kind = "sign_in"
	StepUp Kind = "step_up"
	SetUp  Kind = "set_up"
	Enrol  Kind = "enrol"
	Reset  Kind = "reset"
)

// Flow is one sign-in, step-up, set-up, enrolment or reset of a password in progress.
type Flow struct {
	ID   string `json:"-"` // in the person's form; the store knows its hash
	Kind Kind   `json:"kind"`
	// UserID is empty while the first administrator has not been made.
	UserID string `json:"user,omitempty"`
	Name   string `json:"name,omitempty"`
	// DisplayName is what people call the user; empty where nobody needs it.
	DisplayName string `json:"display_name,omitempty"`
	// Ask is what the flow has to reach.
	Ask assurance.Requirement `json:"ask"`
	// Rank is the rank that its second factor has to vouch for.
	Rank int `json:"rank,omitempty"`
	// Request is the gate's signed request, which the caller understands.
	Request string `json:"request,omitempty"`
	// Return is where at the caller's own to go afterwards; empty: to where
	// Request says.
	Return string            `json:"return,omitempty"`
	Proofs []assurance.Proof `json:"proofs,omitempty"`
	// SignOn is the sign-on that a step-up raises, or under which somebody adds
	// a credential.
	SignOn string `json:"sign_on,omitempty"`
	// PasswordMark marks the password as it was proven, or as it was when the link of a
	// reset was made: a change in the middle of the flow voids it.
	PasswordMark string `json:"password_mark,omitempty"`
	// Shared says that the browser is at a computer that others use.
	Shared bool `json:"shared,omitempty"`
	// Browser is the hash of the known-browser token, the user's or not, that
	// came with the password of a sign-in.
	Browser string `json:"browser,omitempty"`
	// Remember is the second factor, shown in this flow, that the person wants
	// the browser to stand in for from now on; empty: none.
	Remember assurance.Factor `json:"remember,omitempty"`
	// Platform is what the browser runs on; see Client.
	Platform string `json:"platform,omitempty"`
	// CanPasskey says that the browser's device can keep a passkey.
	CanPasskey bool `json:"can_passkey,omitempty"`
	// Lost are the ids of the credentials that the person says they can't use
	// any more. Nothing comes of it until a second factor is shown that isn't
	// among them.
	Lost []string `json:"lost,omitempty"`
	// Replacing is the kind of what was lost, while its replacement is missing.
	Replacing assurance.Factor `json:"replacing,omitempty"`
	// Helped says that an administrator's code stood in for a second factor.
	Helped bool `json:"helped,omitempty"`
	// Enrol is what an enrolment adds, Offered says that it was offered on the way,
	// and Done that it has happened.
	Enrol   assurance.Factor `json:"enrol,omitempty"`
	Offered bool             `json:"offered,omitempty"`
	Done    bool             `json:"done,omitempty"`
	// Refusals counts wrong answers that nobody could have guessed right.
	Refusals int `json:"refusals,omitempty"`
	// Link is the hash of the invitation that a set-up came by, or of the link of a
	// reset.
	Link string `json:"link,omitempty"`
	// Mailed says that the invitation was mailed: whoever has it may be able to read
	// codes by e-mail, too.
	Mailed bool `json:"mailed,omitempty"`
	// First says that a set-up made the first administrator.
	First bool `json:"first,omitempty"`
	// Account is what a set-up has chosen so far.
	Account *account `json:"account,omitempty"`
	// Closed counts, by purpose and kind, the questions of this flow that are over:
	// the next one has a reference of its own.
	Closed map[string]int `json:"closed,omitempty"`
	// Kept are the references of those questions that can be found after they are over:
	// they are told what comes of the flow.
	Kept    []string  `json:"kept,omitempty"`
	Started time.Time `json:"started"`

	version int64
	expires time.Time
	// judged says that Proofs are those that count at this moment. Such a flow
	// can't be saved: a remembered browser's proof would outlive its being
	// forgotten.
	judged bool
}

// account is the first step of a set-up, held back until the second factor is
// confirmed, so that nobody is ever half set up.
type account struct {
	// UserID is the id that the first administrator is to have: what they set
	// up may be bound to it.
	UserID      string `json:"user,omitempty"`
	Name        string `json:"name"`
	DisplayName string `json:"display_name"`
	Password    []byte `json:"password"` // sealed hash
}

func (f Flow) subject() factors.Subject {
	s := factors.Subject{UserID: f.UserID, Name: f.Name, DisplayName: f.DisplayName}
	if f.Account != nil {
		s.Name, s.DisplayName = f.Account.Name, f.Account.DisplayName
		s.UserID = cmp.Or(s.UserID, f.Account.UserID)
	}
	return s
}

// waiting has what is hashed in a flow wait as whoever it is of, or as whoever
// has the link that it came by.
func (f Flow) waiting(ctx context.Context) context.Context {
	return guess.WaitingFor(ctx, cmp.Or(f.Link, f.UserID))
}

// sealingContext binds what is sealed inside a flow to the flow and its use.
func (f Flow) sealingContext(use string, kind assurance.Factor) []byte {
	return []byte("flow\x00" + token.Hash(f.ID) + "\x00" + use + "\x00" + string(kind))
}

// key is where a flow is kept; empty: there is none.
func (f Flow) key() string {
	if f.ID == "" {
		return ""
	}
	return token.Hash(f.ID)
}

// ref names the question of a kind that a flow puts, or would put next.
func (f Flow) ref(p ceremony.Purpose, kind assurance.Factor) string {
	return ceremony.Ref(f.ID, p, kind, f.Closed[questionKey(p, kind)])
}

// close notes that the question of a kind is over.
func (f *Flow) close(p ceremony.Purpose, kind assurance.Factor) {
	closed := maps.Clone(f.Closed)
	if closed == nil {
		closed = make(map[string]int)
	}
	closed[questionKey(p, kind)]++
	f.Closed = closed
}

func questionKey(p ceremony.Purpose, kind assurance.Factor) string {
	return string(p) + "/" + string(kind)
}

func (f Flow) record(now time.Time) (store.Record, error) {
	raw, err := json.Marshal(f)
	if err != nil {
		return store.Record{}, fmt.Errorf("writing a flow: %w", err)
	}
	expires := now.Add(FlowIdle)
	if end := f.Started.Add(FlowLifetime); end.Before(expires) {
		expires = end
	}
	return store.Record{
		Namespace: person.Flows, Key: f.key(), Owner: f.UserID,
		Value: raw, Expires: expires, Version: f.version,
	}, nil
}

// begin keeps a new flow.
func (e *Engine) begin(ctx context.Context, f Flow) (Flow, error) {
	if err := e.name(&f); err != nil {
		return Flow{}, err
	}
	return f, e.save(ctx, e.Store, &f)
}

// name gives a new flow, which isn't kept yet, its id.
func (e *Engine) name(f *Flow) (err error) {
	f.ID, err = token.New(e.Random)
	f.Started, f.version = e.Clock(), 0
	return err
}

// Load returns a flow in progress, or ErrFlowGone. A flow that belongs to a
// sign-on ends with it.
func (e *Engine) Load(ctx context.Context, id string) (Flow, error) {
	f, err := e.load(ctx, e.Store, id)
	if err != nil || f.SignOn == "" {
		return f, err
	}
	if _, err := e.signOnOf(ctx, e.Store, f); err != nil {
		return Flow{}, err
	}
	return f, nil
}

// signOnOf returns the sign-on that a flow belongs to, or ErrFlowGone where that
// has ended.
func (e *Engine) signOnOf(ctx context.Context, r session.Reader, f Flow) (store.SignOn, error) {
	s, _, err := session.Check(ctx, r, f.SignOn, e.Clock())
	if errors.Is(err, session.ErrEnded) || err == nil && s.UserID != f.UserID {
		return store.SignOn{}, ErrFlowGone
	}
	return s, err
}

type recordReader interface {
	GetRecord(ctx context.Context, namespace, key string, now time.Time) (store.Record, error)
}

func (e *Engine) load(ctx context.Context, r recordReader, id string) (Flow, error) {
	record, err := r.GetRecord(ctx, person.Flows, token.Hash(id), e.Clock())
	if errors.Is(err, store.ErrNotFound) {
		return Flow{}, ErrFlowGone
	}
	if err != nil {
		return Flow{}, fmt.Errorf("reading a flow: %w", err)
	}
	var f Flow
	if err := json.Unmarshal(record.Value, &f); err != nil {
		return Flow{}, fmt.Errorf("reading a flow: %w", err)
	}
	f.ID, f.version, f.expires = id, record.Version, record.Expires
	return f, nil
}

type recordWriter interface {
	PutRecord(ctx context.Context, r store.Record) error
	UpdateRecord(ctx context.Context, r store.Record, now time.Time) error
}

// save writes a new flow, or a changed one by compare-and-set: of two answers to
// one flow the later finds it gone, ErrFlowGone, or changed, store.ErrConflict.
func (e *Engine) save(ctx context.Context, w recordWriter, f *Flow) error {
	if f.judged {
		panic("authflow: a flow is to be saved as it was judged")
	}
	record, err := f.record(e.Clock())
	if err != nil {
		return err
	}
	if f.version == 0 {
		err = w.PutRecord(ctx, record)
	} else {
		err = w.UpdateRecord(ctx, record, e.Clock())
	}
	if errors.Is(err, store.ErrNotFound) {
		err = ErrFlowGone
	}
	if err != nil {
		return fmt.Errorf("keeping a flow: %w", err)
	}
	f.version++
	f.expires = record.Expires
	return nil
}

// Extend gives a flow more time, as far as its whole time allows, and returns
// how long is left: people may need longer (WCAG 2.2, success criterion 2.2.1).
func (e *Engine) Extend(ctx context.Context, f Flow) (time.Duration, error) {
	err := e.save(ctx, e.Store, &f)
	if errors.Is(err, store.ErrConflict) {
		f, err = e.Load(ctx, f.ID) // what changed it gave it its time
	}
	return e.Left(f), err
}

// Left returns how long a flow waits if nothing more comes of it now.
func (e *Engine) Left(f Flow) time.Duration { return f.expires.Sub(e.Clock()) }

// answerTries is how often an answer is looked at that something else in the
// same flow, or with the same credential, got in ahead of.
const answerTries = 5

// repeated does something, and does it again where something else got in ahead.
func repeated(do func() error) error {
	for tries := 1; ; tries++ {
		if err := do(); !errors.Is(err, store.ErrConflict) || tries == answerTries {
			return err
		}
	}
}

// retried does something with a flow, and does it again with the flow as it is
// then where something else got in ahead.
func (e *Engine) retried(ctx context.Context, f Flow, do func(Flow) error) error {
	first := true
	return repeated(func() (err error) {
		if !first {
			if f, err = e.Load(ctx, f.ID); err != nil {
				return err
			}
		}
		first = false
		return do(f)
	})
}

// advance changes a flow in one transaction with all that comes of an answer. Where
// the flow isn't as it was loaded, it is another answer that came first, such as the
// first click of two: advance then returns store.ErrConflict before anything that this
// answer would need is found missing.
func (e *Engine) advance(ctx context.Context, f Flow, doing string, apply func(store.Tx) ([]store.Event, error)) error {
	return e.People.Change(ctx, doing, func(tx store.Tx) ([]store.Event, error) {
		if err := e.checkUnchanged(ctx, tx, f); err != nil {
			return nil, err
		}
		return apply(tx)
	})
}

// checkUnchanged returns store.ErrConflict if a flow was changed since it was loaded,
// and ErrFlowGone if it is over.
func (e *Engine) checkUnchanged(ctx context.Context, r recordReader, f Flow) error {
	if f.version == 0 {
		return nil // it isn't kept yet
	}
	current, err := e.load(ctx, r, f.ID)
	if err == nil && current.version != f.version {
		err = store.ErrConflict
	}
	return err
}
