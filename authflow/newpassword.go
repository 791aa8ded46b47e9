package authflow

import (
	"context"
	"fmt"
	"slices"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// ChooseNewPassword replaces the password in a sign-in that asks for another
// one, once two factors are shown, or in a reset. *person.Invalid says what to mend, and
// ErrResetGone that the link of a reset was used or replaced.
func (e *Engine) ChooseNewPassword(ctx context.Context, f Flow, password string, c person.Client) error {
	if err := e.checkStep(ctx, f, StepNewPassword, ""); err != nil {
		return err
	}
	user, err := e.Store.UserByID(ctx, f.UserID)
	if err != nil {
		return fmt.Errorf("reading the user of a flow: %w", err)
	}
	if invalid := e.checkNewPassword(ctx, f, user, password); invalid != nil {
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

// checkNewPassword says as *person.Invalid why a password can't be chosen in a flow. A
// reset takes the present one too: it must not tell which one that is.
func (e *Engine) checkNewPassword(ctx context.Context, f Flow, u store.User, password string) error {
	if f.Kind == Reset {
		return e.People.CheckNewPassword(u, password)
	}
	return e.People.CheckOtherPassword(ctx, u, password)
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
		changed, name, reason := f, audit.PasswordChanged, session.EndedPasswordChanged
		var revoked []store.Event
		if f.Kind == Reset {
			name, reason = audit.PasswordReset, session.EndedPasswordReset
			if revoked, err = e.finishReset(ctx, tx, &changed, current, c); err != nil {
				return nil, err
			}
		}
		changed.PasswordMark = mark
		if err := e.save(ctx, tx, &changed); err != nil {
			return nil, err
		}
		ended, err := e.People.EndAll(ctx, tx, current, changed.key(), reason, c)
		if err != nil {
			return nil, err
		}
		return slices.Concat([]store.Event{e.People.Own(name, current, c, nil)}, ended, revoked),
			person.ReplacePassword(ctx, tx, current, fresh)
	})
}
