package authflow

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

// Outbox has messages sent about questions. What they say is composed when they
// leave: see Compose.
type Outbox interface {
	// Queue notes in the transaction that keeps a question that a message about
	// it is to leave.
	Queue(ctx context.Context, tx store.Tx, kind assurance.Factor, ref string) error
	// Wake has what was queued sent. It doesn't wait for that.
	Wake()
}

// ErrPending says that an answer was neither right nor wrong: the question waits
// for another device, or has another page to be answered.
var ErrPending = errors.New("the question is still open")

// errUnsent says that a factor wants a message sent, and nothing sends any.
var errUnsent = errors.New("nothing sends messages")

// posed is the question that a flow is at.
type posed struct {
	flow     Flow
	purpose  ceremony.Purpose
	factor   factors.Factor
	ceremony factors.Ceremony
	asking   factors.Asking
	rows     map[string]store.Credential // of the credentials, by id
	// kept is what is kept of it; the zero Question: nothing is.
	kept ceremony.Question
}

// pose returns the question of a kind that a flow is at: to show a second
// factor, or to enrol one. ErrWrongStep where it is at another.
func (e *Engine) pose(ctx context.Context, f Flow, p ceremony.Purpose, kind assurance.Factor) (posed, error) {
	q := posed{flow: f, purpose: p}
	var err error
	if p == ceremony.Proof {
		err = e.poseProof(ctx, &q, kind)
	} else {
		err = e.poseEnrolment(ctx, &q, kind)
	}
	if err != nil {
		return posed{}, err
	}
	q.asking.Ref, q.asking.Who = f.ref(p, kind), f.subject()
	q.kept, err = e.book().Find(ctx, e.Store, q.asking.Ref)
	if err != nil && !errors.Is(err, ceremony.ErrNone) {
		return posed{}, err
	}
	q.asking.Scene = q.kept.Scene
	return q, nil
}

// poseProof has a question be about the credentials of the second factor that a
// flow asks for.
func (e *Engine) poseProof(ctx context.Context, q *posed, kind assurance.Factor) error {
	all, err := e.Vault.ActiveOf(ctx, q.flow.UserID)
	if err != nil {
		return err
	}
	_, step, err := e.next(ctx, e.Store, q.flow, all, kind)
	if err != nil {
		return err
	}
	if step.Kind != StepChallenge || step.Factor != kind {
		return ErrWrongStep
	}
	if q.factor, err = e.Vault.Factors.Get(kind); err != nil {
		return err
	}
	q.ceremony = q.factor.Proving()
	q.asking.Credentials, q.rows, err = e.askable(all, q.flow, kind, step.Resistant)
	return err
}

// askable opens those active credentials of a kind that a flow may ask for.
func (e *Engine) askable(active []store.Credential, f Flow, kind assurance.Factor, resistant bool) ([]factors.Credential, map[string]store.Credential, error) {
	now := e.Clock()
	active = slices.DeleteFunc(slices.Clone(active), func(c store.Credential) bool {
		return slices.Contains(f.Lost, c.ID) || resistant && now.Before(c.ProbationUntil)
	})
	return e.Vault.Open(active, kind)
}

// poseEnrolment has a question be about a new credential.
func (e *Engine) poseEnrolment(ctx context.Context, q *posed, kind assurance.Factor) error {
	var err error
	if q.factor, err = e.enrolling(ctx, q.flow, kind); err != nil {
		return err
	}
	q.ceremony = q.factor.Enrolling()
	all, err := e.Vault.Of(ctx, q.flow.UserID)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(c store.Credential) bool { return !e.Vault.Works(c) })
	q.asking.Credentials, _, err = e.Vault.Open(all, kind)
	return err
}

// isOpen reports whether something is kept of the question that waits for an
// answer.
func (e *Engine) isOpen(q posed) bool { return q.kept.Ref != "" && q.kept.IsOpen(e.Clock()) }

// render returns the page of the question that a flow is at. It puts the
// question where it wasn't yet, or is over. Where another tab was first, what
// that put is shown.
func (e *Engine) render(ctx context.Context, f Flow, p ceremony.Purpose, kind assurance.Factor, c person.Client) (factors.Page, error) {
	var page factors.Page
	err := e.retried(ctx, f, func(f Flow) error {
		q, err := e.pose(ctx, f, p, kind)
		if err == nil {
			page, err = e.renderOnce(ctx, q, c)
		}
		return err
	})
	return page, err
}

func (e *Engine) renderOnce(ctx context.Context, q posed, c person.Client) (factors.Page, error) {
	if e.isOpen(q) {
		page, err := q.ceremony.Resume(ctx, q.asking, q.kept.State)
		if !errors.Is(err, factors.ErrOver) {
			return page, q.failing("resuming", err)
		}
	}
	over := q.kept.Ref != ""
	if over {
		q.flow.close(q.purpose, q.factor.Kind())
		q.asking.Ref = q.flow.ref(q.purpose, q.factor.Kind())
	}
	known, err := e.People.KnownBrowser(ctx, q.flow.UserID, c)
	if err != nil {
		return factors.Page{}, err
	}
	q.asking.Scene = factors.Scene{Address: c.Address, UserAgent: c.UserAgent, Known: known != ""}
	turn, err := q.ceremony.Begin(ctx, q.asking)
	if err != nil {
		return factors.Page{}, q.failing("beginning", err)
	}
	if !turn.IsZero() {
		if err := e.put(ctx, q, turn, over); err != nil {
			return factors.Page{}, err
		}
	}
	page, err := q.ceremony.Resume(ctx, q.asking, turn.State)
	return page, q.failing("resuming", err)
}

// failing says what was being done with a question.
func (q posed) failing(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s a %s question (%s): %w", doing, q.factor.Kind(), q.purpose, err)
}

// put keeps a question that was begun, and in the flow that the one before it is
// over.
func (e *Engine) put(ctx context.Context, q posed, turn factors.Turn, over bool) error {
	fresh := ceremony.Question{
		Ref: q.asking.Ref, Owner: q.flow.UserID, Flow: q.flow.key(), Purpose: q.purpose, Kind: q.factor.Kind(),
		Who: q.asking.Who, Scene: q.asking.Scene, Kept: q.flow.Started.Add(FlowLifetime),
	}.Turned(turn)
	return e.turn(ctx, fresh, turn.Send, func(tx store.Tx) error {
		if !over {
			return nil
		}
		flow := q.flow
		if _, err := e.book().Close(ctx, tx, q.kept.Ref); err != nil {
			return err
		}
		return e.save(ctx, tx, &flow)
	})
}

// turn keeps a question as it is now, together with its message and what else
// is written at the same time, and has the message sent then.
func (e *Engine) turn(ctx context.Context, q ceremony.Question, send bool, also func(store.Tx) error) error {
	if send && e.Outbox == nil {
		return errUnsent
	}
	err := e.Store.Atomically(ctx, func(tx store.Tx) error {
		if err := also(tx); err != nil {
			return err
		}
		if send {
			if err := e.Outbox.Queue(ctx, tx, q.Kind, q.Ref); err != nil {
				return fmt.Errorf("queueing a message: %w", err)
			}
		}
		return e.book().Put(ctx, tx, q)
	})
	if err == nil && send {
		e.Outbox.Wake()
	}
	return err
}

// nothing is written besides.
func nothing(store.Tx) error { return nil }

// closeQuestions closes what a flow asks, in the transaction in which one answer
// was accepted.
func (e *Engine) closeQuestions(ctx context.Context, tx store.Tx, f *Flow, p ceremony.Purpose) error {
	for _, factor := range e.Vault.Factors {
		closed, err := e.book().Close(ctx, tx, f.ref(p, factor.Kind()))
		if err != nil {
			return err
		}
		if closed {
			f.close(p, factor.Kind())
		}
	}
	return nil
}

// Resend has a question's message sent once more, by the person's wish:
// *factors.Refused where its factor doesn't want that now.
func (e *Engine) Resend(ctx context.Context, f Flow, kind assurance.Factor) error {
	return e.retried(ctx, f, func(f Flow) error {
		q, err := e.poseAny(ctx, f, kind)
		if err != nil {
			return err
		}
		resender, ok := q.ceremony.(factors.Resender)
		if !ok || !e.isOpen(q) {
			return ErrWrongStep
		}
		verdict, err := resender.Again(ctx, q.asking, q.kept.State)
		switch {
		case err != nil:
			return q.failing("repeating", err)
		case verdict.Next == nil:
			return &factors.Refused{Reason: verdict.Reason}
		}
		return e.turn(ctx, q.kept.Turned(*verdict.Next), verdict.Next.Send, nothing)
	})
}

// poseAny is pose for whichever purpose the flow has for a kind.
func (e *Engine) poseAny(ctx context.Context, f Flow, kind assurance.Factor) (posed, error) {
	q, err := e.pose(ctx, f, ceremony.Proof, kind)
	if errors.Is(err, ErrWrongStep) {
		q, err = e.pose(ctx, f, ceremony.Enrolment, kind)
	}
	return q, err
}

// IsSettled reports whether another device has answered a flow's question of a
// kind, so that it can be collected. It only reads: the browser that asked polls.
func (e *Engine) IsSettled(ctx context.Context, f Flow, kind assurance.Factor) (bool, error) {
	for _, p := range []ceremony.Purpose{ceremony.Proof, ceremony.Enrolment} {
		q, err := e.book().Find(ctx, e.Store, f.ref(p, kind))
		if err == nil && q.IsOpen(e.Clock()) {
			return q.Settled, nil
		}
		if err != nil && !errors.Is(err, ceremony.ErrNone) {
			return false, err
		}
	}
	return false, nil
}

// Resolve hands a message of another device to the question that it names. It
// returns what the device is told, and advances no flow. ceremony.ErrNone where
// no such question is open, or its flow is gone.
func (e *Engine) Resolve(ctx context.Context, kind assurance.Factor, ref string, message []byte) ([]byte, error) {
	for tries := 1; ; tries++ {
		reply, err := e.resolve(ctx, kind, ref, message)
		if !errors.Is(err, store.ErrConflict) || tries == answerTries {
			return reply, err
		}
	}
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

// Compose returns what is to be sent about a question, and whether there still
// is something to send.
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

// book is where questions are kept.
func (e *Engine) book() ceremony.Book { return ceremony.Book{Sealer: e.Vault.Sealer, Clock: e.Clock} }
