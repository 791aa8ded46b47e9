package authflow

import (
	"context"
	"fmt"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// ChooseNewPassword replaces the password in a sign-in that asks for another
// one, once two factors are shown. *person.Invalid says what to mend.
func (e *Engine) ChooseNewPassword(ctx context.Context, f Flow, password string, c person.Client) error {
	if err := e.checkStep(ctx, f, StepNewPassword, ""); err != nil {
		return err
	}
	user, err := e.Store.UserByID(ctx, f.UserID)
	if err != nil {
		return fmt.Errorf("reading the user of a flow: %w", err)
	}
	if invalid := e.People.CheckOtherPassword(ctx, user, password); invalid != nil {
		// It is the present one if the first of two clicks has just chosen it.
		if err := e.checkUnchanged(ctx, e.Store, f); err != nil {
			return err
		}
		return invalid
	}
	fresh, mark, err := e.People.HashPassword(ctx, user.ID, password)
	if err != nil {
		return err
	}
	return e.retried(ctx, f, func(f Flow) error { return e.putNewPassword(ctx, f, fresh, mark, c) })
}

// putNewPassword puts a new password in the place of the old one, if a flow
// still asks for that, and has the flow go on.
func (e *Engine) putNewPassword(ctx context.Context, f Flow, fresh store.Credential, mark string, c person.Client) error {
	return e.advance(ctx, f, "choosing a new password", func(tx store.Tx) ([]store.Event, error) {
		if err := e.stillAt(ctx, tx, f, StepNewPassword, ""); err != nil {
			return nil, err
		}
		current, err := tx.UserByID(ctx, f.UserID)
		if err != nil {
			return nil, err
		}
		changed := f
		changed.PasswordMark = mark
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
}
