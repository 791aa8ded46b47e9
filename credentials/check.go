package credentials

import (
	"context"
	"errors"
	"fmt"

	"github.com/portcullis-mfa/portcullis/store"
)

// ErrOtherKeys says that the secrets in the store are sealed with other keys.
var ErrOtherKeys = errors.New("the secrets in the store are sealed with other keys")

const (
	// checkedUsers and checkedCredentials are how many CheckKeys looks at, at most.
	checkedUsers, checkedCredentials = 50, 5
)

// CheckKeys returns ErrOtherKeys if none of a few credentials can be opened: with such
// keys nobody could sign in, and what is sealed with them nobody else could open. A
// credential that is damaged by itself is no such sign.
func (v *Vault) CheckKeys(ctx context.Context) error {
	return v.Store.View(ctx, func(r store.Reader) error {
		users, err := r.ListUsers(ctx, store.Page[store.User]{Limit: checkedUsers})
		if err != nil {
			return fmt.Errorf("listing users: %w", err)
		}
		checked := 0
		for _, u := range users {
			all, err := r.CredentialsOf(ctx, u.ID)
			if err != nil {
				return fmt.Errorf("reading credentials: %w", err)
			}
			for _, c := range all {
				if len(c.Secret) == 0 {
					continue // it keeps none
				}
				if _, err := v.secret(c); err == nil {
					return nil
				}
				if checked++; checked == checkedCredentials {
					return ErrOtherKeys
				}
			}
		}
		if checked > 0 {
			return ErrOtherKeys
		}
		return nil
	})
}
