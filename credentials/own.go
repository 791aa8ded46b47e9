package credentials

import (
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/store"
)

// Own is one credential as its owner sees it.
type Own struct {
	ID       string
	Kind     assurance.Factor
	Name     string
	Created  time.Time
	LastUsed time.Time // zero: never
	// Daily is as in factors.Traits.
	Daily bool
	// Suspended says that it was reported lost and proves nothing.
	Suspended bool
	// Frozen says that it proves nothing until its owner has signed in with another
	// factor.
	Frozen bool
	// Realm is where it works, of a kind that works in one place alone, and
	// Elsewhere says that it isn't here: it proves nothing any more.
	Realm     string
	Elsewhere bool
	// ProbationUntil is until when its proofs are held to multi; zero: they
	// aren't.
	ProbationUntil time.Time
	// Details is what its factor has to tell besides; see factors.Describer.
	Details factors.Details
}

// Describe tells the owner of a credential what there is to tell.
func (v *Vault) Describe(row store.Credential) (Own, error) {
	o := Own{
		ID: row.ID, Kind: row.Kind, Name: row.Name, Created: row.Created, LastUsed: row.LastUsed,
		Suspended: row.State == store.CredentialSuspended, Frozen: row.State == store.CredentialFrozen, Daily: v.Factors.Traits(row.Kind).Daily, Realm: row.Realm, Elsewhere: !v.Works(row),
	}
	if !o.Suspended && v.Clock().Before(row.ProbationUntil) {
		o.ProbationUntil = row.ProbationUntil
	}
	factor, err := v.Factors.Get(row.Kind)
	if err != nil {
		return o, nil // the password, or a factor that is configured no more
	}
	describer, ok := factor.(factors.Describer)
	if !ok {
		return o, nil
	}
	secret, err := v.secret(row)
	if err != nil {
		return Own{}, err
	}
	o.Details, err = describer.Details(factors.Credential{ID: row.ID, Name: row.Name, Secret: secret})
	if err != nil {
		return Own{}, fmt.Errorf("describing a %s credential: %w", row.Kind, err)
	}
	return o, nil
}
