package authflow

import (
	"context"
	"errors"
	"fmt"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/store"
)

// Enrolment begins the enrolment that a flow is at, or resumes it after a
// reload, and returns its page.
func (e *Engine) Enrolment(ctx context.Context, f Flow, kind assurance.Factor) (factors.Ceremony, error) {
	factor, err := e.enrolling(ctx, f, kind)
	if err != nil {
		return factors.Ceremony{}, err
	}
	if sealed, begun := f.Enrolments[kind]; begun {
		state, err := e.Sealer.Open(sealed, f.sealingContext("enrolment", kind))
		if err != nil {
			return factors.Ceremony{}, fmt.Errorf("opening a %s enrolment: %w", kind, err)
		}
		return factor.ResumeEnrolment(ctx, f.subject(), state)
	}
	ceremony, err := factor.BeginEnrolment(ctx, f.subject())
	if err != nil {
		return factors.Ceremony{}, fmt.Errorf("beginning a %s enrolment: %w", kind, err)
	}
	sealed, err := e.Sealer.Seal(ceremony.State, f.sealingContext("enrolment", kind))
	if err != nil {
		return factors.Ceremony{}, fmt.Errorf("sealing a %s enrolment: %w", kind, err)
	}
	f.Enrolments = with(f.Enrolments, kind, sealed)
	return ceremony, e.save(ctx, e.Store, &f)
}

// enrolling returns the factor that a flow is about to enrol, or ErrWrongStep.
func (e *Engine) enrolling(ctx context.Context, f Flow, kind assurance.Factor) (factors.Factor, error) {
	step, err := e.Step(ctx, f, "")
	if err != nil {
		return nil, err
	}
	if step.Kind != StepEnrol || step.Factor != kind {
		return nil, ErrWrongStep
	}
	return e.Factors.Get(kind)
}

// AnswerEnrolment checks whether a new credential works and, if so, keeps it.
// In a set-up the first one makes the account: user, password and factor come
// into being together, and the link is spent, or nothing happens at all.
func (e *Engine) AnswerEnrolment(ctx context.Context, f Flow, kind assurance.Factor, answer factors.Answer, c Client) error {
	factor, err := e.enrolling(ctx, f, kind)
	if err != nil {
		return err
	}
	sealed, begun := f.Enrolments[kind]
	if !begun {
		return ErrWrongStep
	}
	state, err := e.Sealer.Open(sealed, f.sealingContext("enrolment", kind))
	if err != nil {
		return fmt.Errorf("opening a %s enrolment: %w", kind, err)
	}
	enrolment, err := factor.CheckEnrolment(ctx, f.subject(), state, answer)
	if err != nil {
		return fmt.Errorf("checking a %s enrolment: %w", kind, err)
	}
	if !enrolment.Accepted {
		return &Refused{Reason: enrolment.Reason, Drift: enrolment.Drift}
	}
	f.Enrolments = with(f.Enrolments, kind, nil)
	if f.Kind == SetUp && len(f.Proofs) == 0 {
		return e.activate(ctx, f, kind, enrolment, c)
	}
	return e.enrol(ctx, f, factor, enrolment, c)
}

// enrol adds a credential to a user who exists.
func (e *Engine) enrol(ctx context.Context, f Flow, factor factors.Factor, enrolment factors.Enrolment, c Client) error {
	credential, err := e.newCredential(f.UserID, factor.Kind(), enrolment.Name, enrolment.Secret)
	if err != nil {
		return err
	}
	event := e.enrolled(f.UserID, f.subject().Name, factor.Kind(), c)
	err = e.Store.Atomically(ctx, func(tx store.Tx) error {
		if factor.OnePerUser() {
			if err := deleteKind(ctx, tx, f.UserID, factor.Kind()); err != nil {
				return err
			}
		}
		if err := tx.CreateCredential(ctx, credential); err != nil {
			return err
		}
		changed := f
		if err := e.save(ctx, tx, &changed); err != nil {
			return err
		}
		return tx.AppendEvent(ctx, event)
	})
	if errors.Is(err, store.ErrConflict) {
		return ErrWrongStep
	}
	if err != nil {
		return fmt.Errorf("keeping a new %s credential: %w", factor.Kind(), err)
	}
	e.Audit.Written(event)
	return nil
}

func (e *Engine) enrolled(userID, name string, kind assurance.Factor, c Client) store.Event {
	return e.Audit.Event(audit.FactorEnrolled, userID, audit.Fields{
		audit.User: name, audit.Factor: string(kind), audit.Address: c.Address, audit.UserAgent: c.UserAgent,
	})
}

func deleteKind(ctx context.Context, tx store.Tx, userID string, kind assurance.Factor) error {
	all, err := tx.CredentialsOf(ctx, userID)
	if err != nil {
		return err
	}
	for _, c := range all {
		if c.Kind != kind {
			continue
		}
		if err := tx.DeleteCredential(ctx, c.ID, c.Version); err != nil {
			return err
		}
	}
	return nil
}
