package accounts

import (
	"context"
	"errors"
	"slices"
	"strings"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// AccessCode returns a code by which somebody who can show no second factor
// sets one up, beside their password; authflow.ErrNotActive where they can't
// sign in.
func (d *Desk) AccessCode(ctx context.Context, name string) (string, error) {
	user, err := d.find(ctx, name)
	if err != nil {
		return "", err
	}
	return d.links.NewAccessCode(ctx, user)
}

// Reset is what a reset of somebody's factors comes to.
type Reset struct {
	Factors []assurance.Factor // kinds that were deleted, sorted
	Ended   int                // sign-ons
}

// ResetFactors deletes all second factors of a user, ends all their sign-ons,
// revokes all their app passwords, forgets their browsers and their failed attempts, and voids what they have
// under way. With password, the password goes too: they have to set up anew, by
// an invitation, as if they never had.
func (d *Desk) ResetFactors(ctx context.Context, name string, password bool) (Reset, error) {
	var done Reset
	err := d.change(ctx, name, func(tx store.Tx, user store.User) ([]store.Event, error) {
		done = Reset{}
		if user.Status == store.UserInvited {
			return nil, ErrNotSetUp
		}
		var err error
		if done.Factors, err = deleteFactors(ctx, tx, user.ID, password); err != nil {
			return nil, err
		}
		events, err := d.endAll(ctx, tx, user, session.EndedByReset)
		if err != nil {
			return nil, err
		}
		done.Ended = count(events, audit.SignOnEnded)
		revoked, err := person.RevokeAppPasswords(ctx, tx, user.ID, d.clock(), person.All)
		if err != nil {
			return nil, err
		}
		for _, t := range revoked {
			events = append(events, d.event(audit.TokenRevoked, user, audit.Fields{audit.Token: t.Name, audit.Reason: session.EndedByReset}))
		}
		if err := forgetAllOf(ctx, tx, user.ID); err != nil {
			return nil, err
		}
		if password {
			user.NewPassword = false
			if user.Status == store.UserActive {
				user.Status = store.UserInvited
			}
			if err := tx.UpdateUser(ctx, user); err != nil {
				return nil, err
			}
		}
		return append(events, d.event(audit.FactorsReset, user, audit.Fields{audit.Factors: joined(done.Factors)})), nil
	})
	return done, err
}

// ErrNotSetUp says that a user has nothing to reset.
var ErrNotSetUp = errors.New("the user hasn't set up their account yet: run `caddy mfa user invite` for a new link")

// deleteFactors deletes a user's credentials and returns the kinds.
func deleteFactors(ctx context.Context, tx store.Tx, userID string, password bool) ([]assurance.Factor, error) {
	credentials, err := tx.CredentialsOf(ctx, userID)
	if err != nil {
		return nil, err
	}
	var kinds []assurance.Factor
	for _, c := range credentials {
		if c.Kind == assurance.Password && !password {
			continue
		}
		if err := tx.DeleteCredential(ctx, c.ID, c.Version); err != nil {
			return nil, err
		}
		kinds = append(kinds, c.Kind)
	}
	slices.Sort(kinds)
	return slices.Compact(kinds), nil
}

// forgetAllOf forgets by what a user could come in again: browsers, failed
// attempts and what is under way.
func forgetAllOf(ctx context.Context, tx store.Tx, userID string) error {
	if err := tx.DeleteBrowsersOf(ctx, userID); err != nil {
		return err
	}
	if err := guess.Forget(ctx, tx, userID); err != nil {
		return err
	}
	return person.Abandon(ctx, tx, userID)
}

func joined(kinds []assurance.Factor) string {
	names := make([]string, len(kinds))
	for i, kind := range kinds {
		names[i] = string(kind)
	}
	return strings.Join(names, ",")
}
