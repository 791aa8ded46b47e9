package authflow

import (
	"context"
	"errors"
	"fmt"

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
	resolver, ok := q.ceremony.(factors.Resolver)
	if !ok {
		return nil, ceremony.ErrNone
	}
	verdict, err := resolver.Resolve(ctx, q.asking, q.kept.State, message)
	if err != nil {
		return nil, q.failing("resolving", err)
	}
	if verdict.Next != nil {
		if err := e.turn(ctx, q.kept.Turned(*verdict.Next), verdict.Next.Send, nothing); err != nil {
			return nil, err
		}
	}
	return verdict.Reply, nil
}

// found returns an open question by its reference, or ceremony.ErrNone.
func (e *Engine) found(ctx context.Context, kind assurance.Factor, ref string) (posed, error) {
	kept, err := e.book().Find(ctx, e.Store, ref)
	if err != nil {
		return posed{}, err
	}
	factor, err := e.Vault.Factors.Get(kind)
	if err != nil || kept.Kind != kind || !kept.IsOpen(e.Clock()) {
		return posed{}, ceremony.ErrNone
	}
	if _, err := e.Store.GetRecord(ctx, person.Flows, kept.Flow, e.Clock()); errors.Is(err, store.ErrNotFound) {
		return posed{}, ceremony.ErrNone
	} else if err != nil {
		return posed{}, fmt.Errorf("reading the flow of a question: %w", err)
	}
	q := posed{purpose: kept.Purpose, factor: factor, ceremony: factor.Enrolling(), kept: kept}
	if kept.Purpose == ceremony.Proof {
		q.ceremony = factor.Proving()
	}
	q.asking = factors.Asking{Ref: ref, Who: kept.Who, Scene: kept.Scene}
	active, err := e.Vault.ActiveOf(ctx, kept.Owner)
	if err == nil {
		q.asking.Credentials, q.rows, err = e.Vault.Open(active, kind)
	}
	return q, err
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
	if !ok {
		return nil, false, nil
	}
	message, open, err = composer.Compose(ctx, q.asking, q.kept.State)
	return message, open, q.failing("composing a message of", err)
}
