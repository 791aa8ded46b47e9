// Package ceremony keeps the questions that flows put to people: one record for
// each, found by a reference that another device can name too. It must not know
// flows, limits on guessing, or how a factor works.
package ceremony

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// Purpose says what a question is for.
type Purpose string

// The purposes.
const (
	Proof     Purpose = "proof"     // to show a credential
	Enrolment Purpose = "enrolment" // to make one
)

// ErrNone says that nothing is kept of a question: it was closed, has expired or
// was never put, or its factor has nothing to remember.
var ErrNone = errors.New("no such question")

// Question is what is kept of one question.
type Question struct {
	Ref     string           `json:"-"`
	Owner   string           `json:"-"`    // whom it is put to; empty: somebody who has no account yet
	Flow    string           `json:"flow"` // the key of the flow that it is put in
	Purpose Purpose          `json:"purpose"`
	Kind    assurance.Factor `json:"kind"`
	Who     factors.Subject  `json:"who"`
	Scene   factors.Scene    `json:"scene"`
	// State is what the factor keeps.
	State []byte `json:"-"`
	// Until is when it can't be answered any more; zero: when its flow ends.
	Until time.Time `json:"until,omitzero"`
	// Settled says that another device has answered.
	Settled bool `json:"settled,omitempty"`
	// Closed is when the question was closed, if it can still be found until KeptUntil;
	// zero: it wasn't closed.
	Closed    time.Time `json:"closed,omitzero"`
	KeptUntil time.Time `json:"kept_until,omitzero"`
	// Begun is when it was put.
	Begun time.Time `json:"begun,omitzero"`
	// SignOn is the sign-on that came of it, or that it was put to raise.
	SignOn string `json:"sign_on,omitempty"`
	// Handles are secrets by which it is found, too; see Book.Referred.
	Handles []string `json:"-"`
	// Recipient and NewRecipient are as in factors.Turn, and aren't kept.
	Recipient    string `json:"-"`
	NewRecipient bool   `json:"-"`
	// Kept is until when it is found. A flow lives no longer, so that no question
	// is put twice.
	Kept time.Time `json:"-"`

	version int64
}

// Ref names the question that a flow puts for the number-th time. It follows from
// what it is about, so that two tabs or nodes put one question. The id of a flow
// is secret, so nobody can guess a reference.
func Ref(flow string, p Purpose, kind assurance.Factor, number int) string {
	return token.Hash("question\x00" + flow + "\x00" + string(p) + "\x00" + string(kind) + "\x00" + strconv.Itoa(number))
}

// IsOpen reports whether a question can be answered at a time.
func (q Question) IsOpen(at time.Time) bool {
	return q.Closed.IsZero() && (q.Until.IsZero() || at.Before(q.Until))
}

// Turned is the question after a turn of its factor.
func (q Question) Turned(t factors.Turn) Question {
	q.State, q.Until, q.Settled, q.KeptUntil, q.Handles = t.State, t.Until, t.Settled, t.Kept, t.Handles
	q.Recipient, q.NewRecipient = t.Recipient, t.NewRecipient
	return q
}

// Sealer seals what factors keep, bound to its question.
type Sealer interface {
	Seal(plaintext, associated []byte) ([]byte, error)
	Open(sealed, associated []byte) ([]byte, error)
}

// Book keeps questions in the store's one-time records. It is safe for
// concurrent use.
type Book struct {
	Sealer Sealer
	Clock  func() time.Time
}

const namespace = "question"

// record is how a question is written.
type record struct {
	Question
	Sealed []byte `json:"state,omitempty"`
}

// Reader finds records, alone or in a transaction.
type Reader interface {
	GetRecord(ctx context.Context, namespace, key string, now time.Time) (store.Record, error)
}

// Writer writes records, alone or in a transaction.
type Writer interface {
	PutRecord(ctx context.Context, r store.Record) error
	UpdateRecord(ctx context.Context, r store.Record, now time.Time) error
}

// Find returns a question, or ErrNone.
func (b Book) Find(ctx context.Context, r Reader, ref string) (Question, error) {
	row, err := r.GetRecord(ctx, namespace, ref, b.Clock())
	if errors.Is(err, store.ErrNotFound) {
		return Question{}, ErrNone
	}
	if err != nil {
		return Question{}, fmt.Errorf("reading a question: %w", err)
	}
	return b.read(row)
}

func (b Book) read(row store.Record) (Question, error) {
	var kept record
	err := json.Unmarshal(row.Value, &kept)
	if err != nil {
		return Question{}, fmt.Errorf("reading a question: %w", err)
	}
	q := kept.Question
	q.Ref, q.Owner, q.Kept, q.version = row.Key, row.Owner, row.Expires, row.Version
	if len(kept.Sealed) > 0 {
		if q.State, err = b.Sealer.Open(kept.Sealed, sealedTo(q)); err != nil {
			return Question{}, fmt.Errorf("opening a question: %w", err)
		}
	}
	return q, nil
}

// sealedTo binds what a factor keeps to its question, and to what that is for.
func sealedTo(q Question) []byte {
	return []byte("question\x00" + q.Ref + "\x00" + string(q.Purpose) + "\x00" + string(q.Kind))
}

// Put keeps a question as it is now: a new one, or by compare-and-set one that
// was found. It returns store.ErrConflict where somebody else was first, be it to
// close it.
func (b Book) Put(ctx context.Context, w Writer, q Question) error {
	kept := record{Question: q}
	if len(q.State) > 0 {
		var err error
		if kept.Sealed, err = b.Sealer.Seal(q.State, sealedTo(q)); err != nil {
			return fmt.Errorf("sealing a question: %w", err)
		}
	}
	value, err := json.Marshal(kept)
	if err != nil {
		return fmt.Errorf("writing a question: %w", err)
	}
	row := store.Record{Namespace: namespace, Key: q.Ref, Owner: q.Owner, Value: value, Expires: q.Kept, Version: q.version}
	if q.version == 0 {
		err = w.PutRecord(ctx, row)
	} else {
		err = w.UpdateRecord(ctx, row, b.Clock())
	}
	if errors.Is(err, store.ErrNotFound) {
		err = store.ErrConflict
	}
	if err != nil {
		return fmt.Errorf("keeping a question: %w", err)
	}
	for _, handle := range q.Handles {
		err := w.PutRecord(ctx, store.Record{
			Namespace: handles, Key: handleKey(q.Kind, handle), Owner: q.Owner, Value: []byte(q.Ref), Expires: q.Kept,
		})
		if err != nil && !errors.Is(err, store.ErrConflict) { // it leads here already
			return fmt.Errorf("keeping a handle of a question: %w", err)
		}
	}
	return nil
}

// handles is where references are kept by the handles of their questions.
const handles = "question_handle"

func handleKey(kind assurance.Factor, handle string) string {
	return token.Hash("handle\x00" + string(kind) + "\x00" + handle)
}

// Referred returns the reference of the question that a handle leads to, or ErrNone.
func (b Book) Referred(ctx context.Context, r Reader, kind assurance.Factor, handle string) (string, error) {
	row, err := r.GetRecord(ctx, handles, handleKey(kind, handle), b.Clock())
	if errors.Is(err, store.ErrNotFound) {
		return "", ErrNone
	}
	if err != nil {
		return "", fmt.Errorf("reading a handle of a question: %w", err)
	}
	return string(row.Value), nil
}

// Lister lists records, alone or in a transaction.
type Lister interface {
	RecordsOf(ctx context.Context, namespace, owner string, now time.Time) ([]store.Record, error)
}

// OpenOf returns the open questions of a kind that are put to a user.
func (b Book) OpenOf(ctx context.Context, r Lister, owner string, p Purpose, kind assurance.Factor) ([]Question, error) {
	rows, err := r.RecordsOf(ctx, namespace, owner, b.Clock())
	if err != nil {
		return nil, fmt.Errorf("listing questions: %w", err)
	}
	var open []Question
	for _, row := range rows {
		q, err := b.read(row)
		if err != nil {
			return nil, err
		}
		if q.Purpose == p && q.Kind == kind && q.IsOpen(b.Clock()) {
			open = append(open, q)
		}
	}
	return open, nil
}

// Close closes a question, in the transaction that settles it, and forgets it unless
// it is to be kept. It reports whether there was one to close.
func (b Book) Close(ctx context.Context, tx store.Records, ref string) (bool, error) {
	q, err := b.Find(ctx, tx, ref)
	switch {
	case errors.Is(err, ErrNone):
		return false, nil
	case err != nil:
		return false, err
	case !q.Closed.IsZero():
		return false, nil
	case b.Clock().Before(q.KeptUntil):
		q.Closed, q.Kept = b.Clock(), q.KeptUntil
		return true, b.Put(ctx, tx, q)
	}
	_, err = tx.TakeRecord(ctx, namespace, ref, b.Clock())
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("closing a question: %w", err)
	}
	return true, nil
}
