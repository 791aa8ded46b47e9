package enrolment

import (
	"context"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// CodeLifetime is how long a code works that a machine got when somebody confirmed it.
const CodeLifetime = 5 * time.Minute

// Wish is a machine's request to become a device, as the person who confirms it sees it.
type Wish struct {
	// Key is the only key that may be enrolled (devices.KeyID).
	Key string
	// Challenge is the PKCE code challenge (RFC 7636 §4.2, S256).
	Challenge string
	Claims
}

// Confirm makes the code with which a machine becomes a device of the user who confirmed
// its request.
func (r *Registrar) Confirm(ctx context.Context, tx store.Tx, user store.User, w Wish) (code string, err error) {
	made, err := r.newPermit(ctx, tx, user, CodeLifetime, permit{
		Via: ViaBrowser, Name: shown(w.Name), Key: w.Key, Challenge: w.Challenge,
	})
	return made.Secret, err
}

// NewOwnToken makes a token that enrols one machine as a device of the user who asks
// for it.
func (r *Registrar) NewOwnToken(ctx context.Context, tx store.Tx, user store.User) (Token, error) {
	return r.newPermit(ctx, tx, user, TokenLifetime, permit{Via: ViaToken})
}
