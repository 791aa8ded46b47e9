package authflow

import (
	"context"
	"errors"
	"fmt"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// Companion is a device of a person, other than the browser, that speaks with a
// credential of its own. It advances no flow.
type Companion struct {
	Credential factors.Credential
	Who        factors.Subject
	// Frozen says that the credential can't answer questions for now.
	Frozen bool

	row store.Credential
}

// Companion returns a device by what is unique about its credential, or
// credentials.ErrUnknown if there is none or it was reported lost.
func (e *Engine) Companion(ctx context.Context, kind assurance.Factor, unique string) (Companion, error) {
	row, err := e.Store.CredentialByID(ctx, credentials.ID(kind, unique))
	if errors.Is(err, store.ErrNotFound) || err == nil && row.State == store.CredentialSuspended {
		return Companion{}, credentials.ErrUnknown
	}
	if err != nil {
		return Companion{}, fmt.Errorf("reading a companion's credential: %w", err)
	}
	user, err := e.Store.UserByID(ctx, row.UserID)
	if err != nil {
		return Companion{}, fmt.Errorf("reading a companion's user: %w", err)
	}
	opened, _, err := e.Vault.Open([]store.Credential{row}, kind)
	if err != nil {
		return Companion{}, err
	}
	return Companion{
		Credential: opened[0], row: row, Frozen: row.State != store.CredentialActive,
		Who: factors.Subject{UserID: user.ID, Name: user.Name, DisplayName: user.DisplayName},
	}, nil
}

// Referred returns the reference of the question that a handle leads to, or
// ceremony.ErrNone.
func (e *Engine) Referred(ctx context.Context, kind assurance.Factor, handle string) (string, error) {
	return e.book().Referred(ctx, e.Store, kind, handle)
}

// Waiting returns the open questions that a companion's user is asked and that other
// devices can answer.
func (e *Engine) Waiting(ctx context.Context, c Companion) ([]ceremony.Question, error) {
	if c.Frozen {
		return nil, nil
	}
	open, err := e.book().OpenOf(ctx, e.Store, c.Who.UserID, ceremony.Proof, c.row.Kind)
	if err != nil {
		return nil, err
	}
	var waiting []ceremony.Question
	for _, q := range open {
		closed, err := e.closedAt(ctx, q)
		if err != nil {
			return nil, err
		}
		if closed.IsZero() {
			waiting = append(waiting, q)
		}
	}
	return waiting, nil
}

// UpdateCompanion keeps a companion's new secret, or returns store.ErrConflict.
func (e *Engine) UpdateCompanion(ctx context.Context, c Companion, secret []byte) error {
	row := c.row
	if err := e.Vault.SetSecret(&row, secret); err != nil {
		return err
	}
	return e.Vault.Update(ctx, row)
}

// LoseTouch keeps a companion's new secret, by which it can't be notified any more, or
// returns store.ErrConflict. Its owner is told.
func (e *Engine) LoseTouch(ctx context.Context, c Companion, secret []byte) error {
	row := c.row
	if err := e.Vault.SetSecret(&row, secret); err != nil {
		return err
	}
	return e.People.Change(ctx, "noting that a companion can't be notified", func(tx store.Tx) ([]store.Event, error) {
		return []store.Event{e.Audit.Event(audit.PhoneUnreachable, c.Who.UserID, audit.Fields{
			audit.User: c.Who.Name, audit.Credential: row.Name,
		})}, tx.UpdateCredential(ctx, row)
	})
}

// LeaveCompanion suspends a companion's credential, with all others that the same thing
// holds: they prove nothing any more, as if they had been reported lost, and all sign-ons
// end. They stay in their owner's list, since they may be the last way in.
func (e *Engine) LeaveCompanion(ctx context.Context, c Companion, client person.Client) error {
	user := store.User{ID: c.Who.UserID, Name: c.Who.Name}
	return e.People.Change(ctx, "suspending what a companion holds", func(tx store.Tx) ([]store.Event, error) {
		all, err := tx.CredentialsOf(ctx, user.ID)
		if err != nil {
			return nil, err
		}
		var events []store.Event
		for _, held := range credentials.WithHeld(all, func(have store.Credential) bool { return have.ID == c.row.ID }) {
			if held.State == store.CredentialSuspended {
				continue
			}
			event, err := e.People.Suspend(ctx, tx, user, held, client)
			if err != nil {
				return nil, err
			}
			events = append(events, event)
		}
		if len(events) == 0 {
			return nil, nil
		}
		ended, err := e.People.EndAll(ctx, tx, user, "", session.EndedFactorLost, client)
		return append(events, ended...), err
	})
}
