package person

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// FreshFor is how old the check may be that a change of somebody's factors asks
// for (NIST SP 800-63B-4 §4.1.2.1 asks for one at the highest level that the
// person can still present).
const FreshFor = 5 * time.Minute

// ErrStale says that a fresh check of the person comes first.
var ErrStale = errors.New("a fresh check comes first")

// FreshCheck is what a change of somebody's factors asks for.
type FreshCheck struct {
	Ask assurance.Requirement
	// Rank is the rank that the second factor has to vouch for.
	Rank int
}

// IsMet reports whether proofs suffice.
func (c FreshCheck) IsMet(proofs []assurance.Proof, now time.Time, set factors.Set) bool {
	return c.Ask.Missing(set.Vouching(proofs, c.Rank), now, set.Weights()) == assurance.Nothing
}

// FreshCheck returns what a change of a user's factors asks for.
func (k *Keeper) FreshCheck(ctx context.Context, userID string) (FreshCheck, error) {
	all, err := k.Vault.Of(ctx, userID)
	if err != nil {
		return FreshCheck{}, err
	}
	return k.freshCheck(all), nil
}

// freshCheck asks for a second factor shown lately, of the highest level and the
// highest rank that the credentials can reach: whoever reads somebody's mail must
// not remove their authenticator app. What is on probation, or stands by for need,
// asks for nothing: the owner may be without it. What the link of a notice suspended still
// asks for a while: anyone who reads somebody's mail can follow that link.
func (k *Keeper) freshCheck(all []store.Credential) FreshCheck {
	asking := slices.DeleteFunc(slices.Clone(all), func(c store.Credential) bool {
		keepsRank := c.State == store.CredentialSuspended && k.Clock().Before(c.ProbationUntil)
		return !keepsRank && (len(k.Vault.Active([]store.Credential{c})) == 0 || k.Clock().Before(c.ProbationUntil))
	})
	check := FreshCheck{Ask: assurance.Requirement{Level: assurance.Multi, MaxAge: FreshFor}}
	for _, c := range asking {
		traits := k.Vault.Factors.Traits(c.Kind)
		if traits.Weight == assurance.Unphishable {
			check.Ask.Level = assurance.PhishingResistant
		}
		if traits.Daily {
			check.Rank = max(check.Rank, traits.Vouches)
		}
	}
	return check
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
	all, err := tx.CredentialsOf(ctx, u.ID)
	if err != nil {
		return s, u, nil, err
	}
	if !k.freshCheck(all).IsMet(s.Proofs, k.Clock(), k.Vault.Factors) {
		return s, u, nil, ErrStale
	}
	return s, u, k.Vault.Active(all), nil
}
