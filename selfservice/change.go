package selfservice

import (
	"context"
	"fmt"
	"slices"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// Rename gives a credential another name. *person.Invalid with the field "name" says
// what to mend.
func (s *Service) Rename(ctx context.Context, by store.SignOn, u store.User, id, name string, c person.Client) error {
	name, err := person.CredentialName(name)
	if err != nil {
		return err
	}
	return s.People.Change(ctx, "renaming a credential", func(tx store.Tx) ([]store.Event, error) {
		_, user, _, err := s.People.Checked(ctx, tx, by.ID)
		if err != nil {
			return nil, err
		}
		found, err := secondsOf(ctx, tx, user.ID, func(have store.Credential) bool { return have.ID == id })
		if err != nil || found[0].Name == name {
			return nil, err
		}
		events := make([]store.Event, len(found))
		for i, credential := range found {
			credential.Name = name
			events[i] = s.People.Own(audit.FactorRenamed, user, c, audit.Fields{audit.Factor: string(credential.Kind)})
			if err := tx.UpdateCredential(ctx, credential); err != nil {
				return nil, err
			}
		}
		return events, nil
	})
}

// secondsOf returns those of a user's credentials of second factors that are
// meant, and those that the same things hold, suspended ones too, or
// credentials.ErrUnknown where there is none.
func secondsOf(ctx context.Context, tx store.Tx, userID string, meant func(store.Credential) bool) ([]store.Credential, error) {
	all, err := tx.CredentialsOf(ctx, userID)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(c store.Credential) bool { return c.Kind == assurance.Password })
	found := credentials.WithHeld(all, meant)
	if len(found) == 0 {
		return nil, credentials.ErrUnknown
	}
	return found, nil
}

// Remove deletes a credential of a second factor. All sign-ons of the user end,
// and the browser that asked goes on under a new one, with the proofs that
// still hold. The last way in stays: ErrLastWayIn.
func (s *Service) Remove(ctx context.Context, by store.SignOn, u store.User, id string, c person.Client) (person.Granted, error) {
	return s.remove(ctx, by, u, c, func(have store.Credential) bool { return have.ID == id })
}

// RemoveAll deletes all that somebody has of a second factor, what they lost
// too, as Remove does one. All of it stays where no way in would be left.
func (s *Service) RemoveAll(ctx context.Context, by store.SignOn, u store.User, kind assurance.Factor, c person.Client) (person.Granted, error) {
	return s.remove(ctx, by, u, c, func(have store.Credential) bool { return have.Kind == kind })
}

// remove deletes the credentials of second factors that are to go, all or none
// of them.
func (s *Service) remove(ctx context.Context, by store.SignOn, u store.User, c person.Client, goes func(store.Credential) bool) (person.Granted, error) {
	return s.renew(ctx, u, c, session.EndedFactorRemoved, func(tx store.Tx) (store.SignOn, []store.Event, error) {
		current, user, active, err := s.People.Checked(ctx, tx, by.ID)
		if err != nil {
			return current, nil, err
		}
		going, err := secondsOf(ctx, tx, user.ID, goes)
		if err != nil {
			return current, nil, err
		}
		remaining := slices.DeleteFunc(slices.Clone(active), func(have store.Credential) bool {
			return slices.ContainsFunc(going, func(gone store.Credential) bool { return gone.ID == have.ID })
		})
		if len(remaining) < len(active) && !hasWayIn(remaining, s.Vault.Factors) {
			return current, nil, ErrLastWayIn
		}
		events := make([]store.Event, len(going))
		for i, gone := range going {
			current.Proofs = slices.DeleteFunc(slices.Clone(current.Proofs), func(p assurance.Proof) bool {
				return p.Credential == gone.ID || p.Remembered
			})
			events[i] = s.People.Own(audit.FactorRemoved, user, c, audit.Fields{audit.Factor: string(gone.Kind)})
			if err := tx.DeleteCredential(ctx, gone.ID, gone.Version); err != nil {
				return current, nil, err
			}
		}
		return current, events, nil
	})
}

// hasWayIn reports whether a second factor is among the credentials that is
// meant to be used day by day: backup codes stand beside one.
func hasWayIn(active []store.Credential, set factors.Set) bool {
	return slices.ContainsFunc(active, func(c store.Credential) bool {
		return set.Traits(c.Kind).Daily
	})
}

// PasswordChange is what somebody types to have another password.
type PasswordChange struct {
	Current, New string
	// Revoke are the ids of the app passwords to revoke along with it.
	Revoke []string
}

// JudgePassword says what changing a user's password to this one would come to,
// apart from its being the one that they have.
func (s *Service) JudgePassword(u store.User, password string) person.Judgement {
	return s.People.JudgePassword(u, password)
}

// ChangePassword replaces the password of somebody who knows the present one:
// *factors.Refused or *guess.Slowed where that isn't right, *person.Invalid with the field
// "password" where the new one can't be used. All sign-ons end, and the browser
// that asked goes on under a new one.
func (s *Service) ChangePassword(ctx context.Context, by store.SignOn, u store.User, p PasswordChange, c person.Client) (person.Granted, error) {
	err := s.Store.Atomically(ctx, func(tx store.Tx) error {
		_, _, _, err := s.People.Checked(ctx, tx, by.ID)
		return err
	})
	if err != nil {
		return person.Granted{}, fmt.Errorf("changing a password: %w", err)
	}
	if err := s.People.CheckNewPassword(u, p.New); err != nil {
		return person.Granted{}, err
	}
	mark, err := s.People.ProvePassword(ctx, u, person.PasswordTry{Name: u.Name, Password: p.Current, SignedIn: true}, c)
	if err != nil {
		return person.Granted{}, err
	}
	if p.New == p.Current {
		return person.Granted{}, person.ErrSamePassword
	}
	fresh, _, err := s.People.HashPassword(ctx, u.ID, p.New)
	if err != nil {
		return person.Granted{}, err
	}
	return s.renew(ctx, u, c, session.EndedPasswordChanged, func(tx store.Tx) (store.SignOn, []store.Event, error) {
		current, user, active, err := s.People.Checked(ctx, tx, by.ID)
		if err != nil {
			return current, nil, err
		}
		isCurrent, err := s.People.IsCurrent(mark, active)
		if err == nil && !isCurrent {
			err = store.ErrConflict
		}
		if err != nil {
			return current, nil, err
		}
		current.Proofs = assurance.Add(assurance.Shown(current.Proofs), assurance.Proof{
			Factor: assurance.Password, At: s.Clock(),
		})
		revoked, err := s.People.RevokeAppPasswords(ctx, tx, user, session.EndedPasswordChanged, c, among(p.Revoke))
		if err != nil {
			return current, nil, err
		}
		return current, append(revoked, s.People.Own(audit.PasswordChanged, user, c, nil)), person.ReplacePassword(ctx, tx, user, fresh)
	})
}

// renew makes a change that ends all sign-ons of a user, and gives the browser
// that asked for it a new one: of the proofs that apply leaves, until the same
// absolute limit as before.
func (s *Service) renew(ctx context.Context, u store.User, c person.Client, reason string, apply func(store.Tx) (store.SignOn, []store.Event, error)) (person.Granted, error) {
	prepared, err := s.People.NewSignOn(u.ID, c)
	if err != nil {
		return person.Granted{}, err
	}
	var made person.Granted
	err = s.People.Change(ctx, "changing how a user signs in", func(tx store.Tx) ([]store.Event, error) {
		made = prepared
		current, events, err := apply(tx)
		if err != nil {
			return nil, err
		}
		ended, err := s.People.EndAll(ctx, tx, u, "", reason, c)
		if err != nil {
			return nil, err
		}
		made.SignOn.Expires, made.SignOn.Idle = current.Expires, current.Idle
		made.SignOn.Shared, made.SignOn.Proofs = current.Shared, current.Proofs
		return append(events, ended...), tx.CreateSignOn(ctx, made.SignOn)
	})
	if err != nil {
		return person.Granted{}, err
	}
	return made, nil
}

// EndSignOn ends one of the person's own sign-ons, by its short id. It takes
// away alone, so it asks for no fresh check.
func (s *Service) EndSignOn(ctx context.Context, u store.User, short string, c person.Client) error {
	return s.People.Change(ctx, "ending a sign-on", func(tx store.Tx) ([]store.Event, error) {
		rows, err := session.ListLive(ctx, tx, u.ID, s.Clock())
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(rows, func(s store.SignOn) bool { return audit.ShortID(s.ID) == short })
		if i < 0 {
			return nil, ErrNoSignOn
		}
		return []store.Event{s.People.SignOnEnded(u, rows[i].ID, session.EndedByOwner, c)},
			tx.EndSignOn(ctx, rows[i].ID, s.Clock(), session.EndedByOwner)
	})
}

// EndOthers ends all of the person's sign-ons but the one that asks, and
// returns how many. What is under way ends, too, and browsers that skip the
// second step do so no more.
func (s *Service) EndOthers(ctx context.Context, by store.SignOn, u store.User, c person.Client) (int, error) {
	ended := 0
	err := s.People.Change(ctx, "ending other sign-ons", func(tx store.Tx) ([]store.Event, error) {
		rows, err := session.ListLive(ctx, tx, u.ID, s.Clock())
		if err != nil {
			return nil, err
		}
		var events []store.Event
		for _, row := range rows {
			if row.ID == by.ID {
				continue
			}
			if err := tx.EndSignOn(ctx, row.ID, s.Clock(), session.EndedByOwner); err != nil {
				return nil, err
			}
			events = append(events, s.People.SignOnEnded(u, row.ID, session.EndedByOwner, c))
		}
		ended = len(events)
		if err := person.AbandonFlows(ctx, tx, u.ID); err != nil {
			return nil, err
		}
		forgotten, err := s.People.ForgetBrowsers(ctx, tx, u, c)
		return append(events, forgotten...), err
	})
	return ended, err
}

// Disown is for somebody who finds in their account what they didn't do. It
// ends all sign-ons and what is under way, revokes all app passwords, forgets all
// browsers, and has a new password asked for at the next sign-in, after two factors. That sign-in is in
// a browser that nobody knows by then, so whoever guessed there mustn't have used
// up what it may try: failures are forgotten, unless the sign-on shows the
// password alone.
func (s *Service) Disown(ctx context.Context, by store.SignOn, u store.User, c person.Client) error {
	return s.People.Change(ctx, "ending everything of a user", func(tx store.Tx) ([]store.Event, error) {
		current, user, err := session.Check(ctx, tx, by.ID, s.Clock())
		if err != nil {
			return nil, err
		}
		two := assurance.Requirement{Level: assurance.Multi}
		if two.Missing(current.Proofs, s.Clock(), s.Vault.Factors.Weights()) == assurance.Nothing {
			if err := guess.Forget(ctx, tx, user.ID); err != nil {
				return nil, err
			}
		}
		ended, err := s.People.EndAll(ctx, tx, user, "", session.EndedDisowned, c)
		if err != nil {
			return nil, err
		}
		revoked, err := s.People.RevokeAppPasswords(ctx, tx, user, session.EndedDisowned, c, person.All)
		if err != nil {
			return nil, err
		}
		if err := tx.DeleteBrowsersOf(ctx, user.ID); err != nil {
			return nil, err
		}
		if err := person.Abandon(ctx, tx, user.ID); err != nil {
			return nil, err
		}
		user.NewPassword = true
		events := append([]store.Event{s.People.Own(audit.ActivityDisowned, user, c, nil)}, ended...)
		return append(events, revoked...), tx.UpdateUser(ctx, user)
	})
}
