package person

import (
	"strings"

	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// Granted is a sign-on as a browser gets it.
type Granted struct {
	SignOn store.SignOn
	// PortalSecret belongs into the portal's cookie.
	PortalSecret string
}

// maxUserAgent bounds what is kept of a client's own description, in bytes.
const maxUserAgent = 256

// NewSignOn prepares a sign-on of a user without proofs. Nothing is kept yet:
// what is random is made ahead of the transaction, which may be retried.
func (k *Keeper) NewSignOn(userID string, c Client) (Granted, error) {
	var made Granted
	for _, value := range []*string{&made.SignOn.ID, &made.PortalSecret} {
		var err error
		if *value, err = token.New(k.Random); err != nil {
			return Granted{}, err
		}
	}
	now := k.Clock()
	made.SignOn = store.SignOn{
		ID: made.SignOn.ID, UserID: userID, Started: now, Expires: now.Add(k.Lifetime),
		Idle: k.Idle, LastSeen: now, PortalSession: token.Hash(made.PortalSecret),
		Address: c.Address, UserAgent: strings.ToValidUTF8(c.UserAgent[:min(len(c.UserAgent), maxUserAgent)], ""),
	}
	return made, nil
}
