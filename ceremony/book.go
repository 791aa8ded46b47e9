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
func (q Question) IsOpen(at time.Time) bool { return q.Until.IsZero() || at.Before(q.Until) }

// Turned is the question after a turn of its factor.
func (q Question) Turned(t factors.Turn) Question {
	q.State, q.Until, q.Settled = t.State, t.Until, t.Settled
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
	var kept record
	if err := json.Unmarshal(row.Value, &kept); err != nil {
		return Question{}, fmt.Errorf("reading a question: %w", err)
	}
	q := kept.Question
	q.Ref, q.Owner, q.Kept, q.version = ref, row.Owner, row.Expires, row.Version
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
	return nil
}

// Close forgets a question, in the transaction that settles it. It reports
// whether there was one.
func (b Book) Close(ctx context.Context, tx store.Records, ref string) (bool, error) {
	_, err := tx.TakeRecord(ctx, namespace, ref, b.Clock())
	if errors.Is(err, store.ErrNotFound) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("closing a question: %w", err)
	}
	return true, nil
}
