package authflow

import (
	"context"
	"errors"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
)

// Send sends a question's message when the person presses a button: the first one, if
// none was sent by itself, or another one. It returns *factors.Refused if the factor
// sends none now.
func (e *Engine) Send(ctx context.Context, f Flow, kind assurance.Factor, c person.Client) error {
	return e.retried(ctx, f, func(f Flow) error {
		q, err := e.poseAny(ctx, f, kind)
		switch {
		case err != nil:
			return err
		case e.isOpen(q):
			return e.sendAgain(ctx, q)
		case !q.isSent():
			return ErrWrongStep
		}
		_, _, err = e.ask(ctx, q, c)
		return err
	})
}

// sendAgain has the message of an open question sent once more.
func (e *Engine) sendAgain(ctx context.Context, q posed) error {
	resender, ok := q.ceremony.(factors.Resender)
	if !ok {
		return ErrWrongStep
	}
	verdict, err := resender.Again(ctx, q.asking, q.kept.State)
	switch {
	case err != nil:
		return q.failing("repeating", err)
	case verdict.Next == nil:
		return &factors.Refused{Reason: verdict.Reason, RetryAfter: verdict.RetryAfter}
	}
	return e.turn(ctx, q.kept.Turned(*verdict.Next), verdict.Next.Send, nothing)
}

// poseAny is pose for whichever purpose the flow has for a kind.
func (e *Engine) poseAny(ctx context.Context, f Flow, kind assurance.Factor) (posed, error) {
	q, err := e.pose(ctx, f, ceremony.Proof, kind)
	if errors.Is(err, ErrWrongStep) {
		q, err = e.pose(ctx, f, ceremony.Enrolment, kind)
	}
	return q, err
}

// Progress is the progress of a question that another device has to answer.
type Progress string

// The progress of questions.
const (
	ProgressWaiting Progress = "waiting" // nobody has answered yet
	ProgressSettled Progress = "settled" // the browser that asked can collect an answer
	ProgressOver    Progress = "over"    // it isn't asked, or can't be answered any more
)

// Poll returns the progress of a flow's question of a kind. It changes nothing.
func (e *Engine) Poll(ctx context.Context, f Flow, kind assurance.Factor) (Progress, error) {
	for _, p := range []ceremony.Purpose{ceremony.Proof, ceremony.Enrolment} {
		q, err := e.book().Find(ctx, e.Store, f.ref(p, kind))
		switch {
		case errors.Is(err, ceremony.ErrNone):
		case err != nil:
			return "", err
		case !q.IsOpen(e.Clock()):
			return ProgressOver, nil
		case q.Settled:
			return ProgressSettled, nil
		default:
			return ProgressWaiting, nil
		}
	}
	return ProgressOver, nil
}

// DeliveryOf returns what became of the newest message about a flow's question of a kind,
// and whether the question is about a new credential. The delivery is empty if nothing is
// known yet, or if there is no message. It changes nothing.
func (e *Engine) DeliveryOf(ctx context.Context, f Flow, kind assurance.Factor) (d Delivery, enrols bool, err error) {
	for _, p := range []ceremony.Purpose{ceremony.Proof, ceremony.Enrolment} {
		q, err := e.book().Find(ctx, e.Store, f.ref(p, kind))
		if errors.Is(err, ceremony.ErrNone) {
			continue
		}
		if err != nil {
			return "", false, err
		}
		d, err = e.deliveryOf(ctx, q.Ref)
		return d, p == ceremony.Enrolment, err
	}
	return "", false, nil
}
