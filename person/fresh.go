package person

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// FreshFor is how old the check may be that a change of somebody's factors asks
// for (NIST SP 800-63B-4 §4.1.2.1 asks for one at the highest level that the
// person can still present).
const FreshFor = 5 * time.Minute

// ErrStale says that a fresh check of the person comes first.
var ErrStale = errors.New("a fresh check comes first")

// Freshness returns what a change of a user's factors asks for.
func (k *Keeper) Freshness(ctx context.Context, userID string) (assurance.Requirement, error) {
	active, err := k.Vault.ActiveOf(ctx, userID)
	if err != nil {
		return assurance.Requirement{}, err
	}
	return k.freshness(active), nil
}

// freshness asks for a second factor shown lately, of the highest level that the
// credentials can reach.
func (k *Keeper) freshness(active []store.Credential) assurance.Requirement {
	level := assurance.Multi
	if k.CanResistPhishing(active) {
		level = assurance.PhishingResistant
	}
	return assurance.Requirement{Level: level, MaxAge: FreshFor}
}

// CanResistPhishing reports whether somebody with these active credentials can
// show one that counts as phishing-resistant.
func (k *Keeper) CanResistPhishing(active []store.Credential) bool {
	return slices.ContainsFunc(active, func(c store.Credential) bool {
		return k.Vault.Factors.Traits(c.Kind).Weight == assurance.Unphishable && !k.Clock().Before(c.ProbationUntil)
	})
}

// Checked reads a sign-on, its user and their active credentials in the
// transaction that a change is made in: ErrStale unless the person was checked
// lately, session.ErrEnded where the sign-on has ended.
func (k *Keeper) Checked(ctx context.Context, tx store.Tx, signOn string) (store.SignOn, store.User, []store.Credential, error) {
	s, u, err := session.Check(ctx, tx, signOn, k.Clock())
	if err != nil {
		return s, u, nil, err
	}
	active, err := tx.CredentialsOf(ctx, u.ID)
	if err != nil {
		return s, u, nil, err
	}
	active = k.Vault.Active(active)
	if k.freshness(active).Missing(s.Proofs, k.Clock(), k.Vault.Factors.Weights()) != assurance.Nothing {
		return s, u, nil, ErrStale
	}
	return s, u, active, nil
}
