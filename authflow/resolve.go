package authflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

// Resolve hands a message from another device to the question that it names. It
// returns the reply for the device, and advances no flow. It returns ceremony.ErrNone
// if no such question is open, or if its flow is gone.
func (e *Engine) Resolve(ctx context.Context, kind assurance.Factor, ref string, message []byte) ([]byte, error) {
	var reply []byte
	err := repeated(func() (err error) {
		reply, err = e.resolve(ctx, kind, ref, message)
		return err
	})
	return reply, err
}

func (e *Engine) resolve(ctx context.Context, kind assurance.Factor, ref string, message []byte) ([]byte, error) {
	q, err := e.found(ctx, kind, ref)
	if err != nil {
		return nil, err
	}
	if !q.asking.Closed.IsZero() && !e.Clock().Before(q.kept.KeptUntil) {
		return nil, ceremony.ErrNone
	}
	resolver, ok := q.ceremony.(factors.Resolver)
	if !ok {
		return nil, ceremony.ErrNone
	}
	verdict, err := resolver.Resolve(ctx, q.asking, q.kept.State, message)
	if err != nil {
		return nil, q.failing("resolving", err)
	}
	if verdict.Disowned {
		return verdict.Reply, e.disown(ctx, q, verdict)
	}
	if verdict.Next != nil && q.asking.Closed.IsZero() {
		if err := e.turn(ctx, q.kept.Turned(*verdict.Next), verdict.Next.Send, nothing); err != nil {
			return nil, err
		}
	}
	return verdict.Reply, nil
}

// found returns a question by its reference, or ceremony.ErrNone. What isn't open any
// more is Closed.
func (e *Engine) found(ctx context.Context, kind assurance.Factor, ref string) (posed, error) {
	kept, err := e.book().Find(ctx, e.Store, ref)
	if err != nil {
		return posed{}, err
	}
	factor, err := e.Vault.Factors.Get(kind)
	if err != nil || kept.Kind != kind {
		return posed{}, ceremony.ErrNone
	}
	closed, err := e.closedAt(ctx, kept)
	if err != nil {
		return posed{}, err
	}
	q := posed{purpose: kept.Purpose, factor: factor, ceremony: factor.Enrolling(), kept: kept}
	if kept.Purpose == ceremony.Proof {
		q.ceremony = factor.Proving()
	}
	q.asking = factors.Asking{Ref: ref, Who: kept.Who, Scene: kept.Scene, Closed: closed}
	all, err := e.Vault.Of(ctx, kept.Owner)
	if err != nil {
		return posed{}, err
	}
	// Of what is over, frozen ones can still be told.
	all = slices.DeleteFunc(all, func(c store.Credential) bool {
		isFrozen := c.State == store.CredentialFrozen && !closed.IsZero()
		return c.State != store.CredentialActive && !isFrozen || !e.Vault.Works(c)
	})
	q.asking.Credentials, q.rows, err = e.Vault.Open(all, kind)
	return q, err
}

// closedAt is when a question was over; zero: it is open. With its flow it is over,
// too.
func (e *Engine) closedAt(ctx context.Context, q ceremony.Question) (time.Time, error) {
	switch {
	case !q.Closed.IsZero():
		return q.Closed, nil
	case !q.IsOpen(e.Clock()):
		return q.Until, nil
	}
	_, err := e.Store.GetRecord(ctx, person.Flows, q.Flow, e.Clock())
	if errors.Is(err, store.ErrNotFound) {
		return e.Clock(), nil
	}
	if err != nil {
		return time.Time{}, fmt.Errorf("reading the flow of a question: %w", err)
	}
	return time.Time{}, nil
}

// Compose returns what to send about a question, and whether the message is still
// needed.
func (e *Engine) Compose(ctx context.Context, kind assurance.Factor, ref string) (message any, open bool, err error) {
	q, err := e.found(ctx, kind, ref)
	if errors.Is(err, ceremony.ErrNone) {
		return nil, false, nil
	}
	if err != nil {
		return nil, false, err
	}
	composer, ok := q.ceremony.(factors.Composer)
	if !ok || !q.asking.Closed.IsZero() {
		return nil, false, nil
	}
	message, open, err = composer.Compose(ctx, q.asking, q.kept.State)
	return message, open, q.failing("composing a message of", err)
}
