package credentials

import (
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

// Seals tells by which key something was sealed. It is safe for concurrent use.
type Seals interface {
	// SealedBy returns the id of the key, and whether it's the one that new
	// values are sealed by.
	SealedBy(sealed []byte) (key string, current bool)
}

// InUse is which keys people's credentials depend on.
type InUse struct {
	// Since is when the walk began: what was made before it and isn't found
	// was in no credential then.
	Since time.Time
	// Sealing are the ids of sealing keys, Peppers those of peppers, each once.
	Sealing, Peppers []string
}

// Reseal walks all credentials, seals those by the current key that an older
// one sealed, and returns which keys they depend on after it. A credential
// that somebody changes at the same time keeps its key, which is found to be in
// use, until the next walk.
//
// It takes one credential at a time and ends early with the context's error.
// On any error nothing is known of what is in use; one that is about a single
// credential comes after all others were seen to.
func (v *Vault) Reseal(ctx context.Context, seals Seals) (InUse, error) {
	walk := resealing{Vault: v, seals: seals, used: InUse{Since: v.Clock()}}
	var users []store.User
	err := v.Store.View(ctx, func(r store.Reader) (err error) {
		users, err = store.All(ctx, r.ListUsers) // of one state: none who is renamed is missing
		return err
	})
	if err != nil {
		return InUse{}, fmt.Errorf("listing users: %w", err)
	}
	for _, user := range users {
		if err := walk.visit(ctx, user.ID); err != nil {
			return InUse{}, err
		}
	}
	if walk.unreadable > 0 {
		return InUse{}, fmt.Errorf("%d credentials can't be read, among them: %w", walk.unreadable, walk.first)
	}
	return walk.used, nil
}

// resealing is one walk.
type resealing struct {
	*Vault
	seals Seals
	used  InUse

	unreadable int
	first      error
}

func (w *resealing) visit(ctx context.Context, userID string) error {
	credentials, err := w.Store.CredentialsOf(ctx, userID)
	if err != nil {
		return fmt.Errorf("reading credentials: %w", err)
	}
	for _, c := range credentials {
		peppers, secret, err := w.open(c)
		if err != nil {
			if w.unreadable++; w.first == nil {
				w.first = fmt.Errorf("%s credential %s: %w", c.Kind, c.ID, err)
			}
			continue
		}
		if c, err = w.renew(ctx, c, secret); err != nil {
			return err
		}
		key, _ := w.seals.SealedBy(c.Secret)
		w.used.Sealing = addOnce(w.used.Sealing, key)
		for _, pepper := range peppers {
			w.used.Peppers = addOnce(w.used.Peppers, pepper)
		}
	}
	return nil
}

// open returns a credential's secret, and the peppers that it depends on.
func (w *resealing) open(c store.Credential) (peppers []string, secret []byte, err error) {
	if secret, err = w.secret(c); err != nil {
		return nil, nil, err
	}
	if peppers, err = peppersIn(secret); err != nil {
		return nil, nil, err
	}
	if c.Kind == assurance.Password && len(peppers) == 0 {
		return nil, nil, errors.New("a password's hash names no pepper")
	}
	return peppers, secret, nil
}

// renew returns the credential as it is stored after the attempt to seal its
// secret by the current key.
func (w *resealing) renew(ctx context.Context, c store.Credential, secret []byte) (store.Credential, error) {
	if _, current := w.seals.SealedBy(c.Secret); current {
		return c, nil
	}
	renewed := c
	if err := w.SetSecret(&renewed, secret); err != nil {
		return c, err
	}
	err := w.Update(ctx, renewed)
	if errors.Is(err, store.ErrConflict) || errors.Is(err, store.ErrNotFound) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("sealing a credential again: %w", err)
	}
	return renewed, nil
}

var (
	// anyHash finds the slow hashes within a secret, whatever else a factor keeps
	// in it, and namedPepper those of the form that package identity gives
	// them, with the id of their pepper.
	anyHash     = regexp.MustCompile(`\$argon2`)
	namedPepper = regexp.MustCompile(`\$argon2id\$v=\d+\$m=\d+,t=\d+,p=\d+,keyid=([A-Za-z0-9+/]+)\$`)
)

// peppersIn returns the ids of the peppers that the hashes within a secret
// name. A hash of which that can't be told is an error: its pepper would be
// taken for one that nobody needs.
func peppersIn(secret []byte) ([]string, error) {
	found := namedPepper.FindAllSubmatch(secret, -1)
	if len(found) != len(anyHash.FindAll(secret, -1)) {
		return nil, errors.New("a hash names no pepper")
	}
	var ids []string
	for _, match := range found {
		id, err := base64.RawStdEncoding.DecodeString(string(match[1]))
		if err != nil {
			return nil, errors.New("a hash names no pepper")
		}
		ids = append(ids, string(id))
	}
	return ids, nil
}

func addOnce(ids []string, id string) []string {
	if slices.Contains(ids, id) {
		return ids
	}
	return append(ids, id)
}
