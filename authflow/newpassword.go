package authflow

import (
	"context"
	"errors"
	"fmt"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// ChooseNewPassword replaces the password in a sign-in that asks for another
// one, once two factors are shown. *person.Invalid says what to mend.
func (e *Engine) ChooseNewPassword(ctx context.Context, f Flow, password string, c person.Client) error {
	step, err := e.Step(ctx, f, "")
	if err != nil {
		return err
	}
	if step.Kind != StepNewPassword {
		return ErrWrongStep
	}
	user, err := e.Store.UserByID(ctx, f.UserID)
	if err != nil {
		return fmt.Errorf("reading the user of a flow: %w", err)
	}
	if err := e.People.CheckOtherPassword(ctx, user, password); err != nil {
		return err
	}
	fresh, mark, err := e.People.HashPassword(ctx, user.ID, password)
	if err != nil {
		return err
	}
	f.PasswordMark = mark
	err = e.People.Change(ctx, "choosing a new password", func(tx store.Tx) ([]store.Event, error) {
		current, err := tx.UserByID(ctx, user.ID)
		if err != nil {
			return nil, err
		}
		changed := f
		if err := e.save(ctx, tx, &changed); err != nil {
			return nil, err
		}
		ended, err := e.People.EndAll(ctx, tx, current, changed.key(), session.EndedPasswordChanged, c)
		if err != nil {
			return nil, err
		}
		return append([]store.Event{e.People.Own(audit.PasswordChanged, current, c, nil)}, ended...),
			person.ReplacePassword(ctx, tx, current, fresh)
	})
	if errors.Is(err, store.ErrConflict) {
		return fmt.Errorf("%w: %w", ErrWrongStep, err)
	}
	return err
}
