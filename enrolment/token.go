package enrolment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// TokenLifetime is how long a token for one enrolment works.
const TokenLifetime = 10 * time.Minute

// namespace is where tokens and codes are kept, under their hash.
const namespace = person.Enrolments

// permit is what a token or a code stands for.
type permit struct {
	Via string `json:"via"`
	// Name is what the device will be called; empty: as it calls itself.
	Name string `json:"name,omitempty"`
	// Key is the only key that may be enrolled; empty: the first one that comes.
	Key string `json:"key,omitempty"`
	// Challenge is the PKCE code challenge (RFC 7636 §4.2, S256); empty: there is none.
	Challenge string `json:"challenge,omitempty"`
	// Waiting says that nobody has confirmed it yet.
	Waiting bool `json:"waiting,omitempty"`
	// Device is the device that came of it; empty: none yet.
	Device string `json:"device,omitempty"`
}

// Token is a new token for one enrolment.
type Token struct {
	Secret  string
	User    string // sign-in name
	Expires time.Time
}

// The ways in which devices are enrolled, as store.Device.Via.
const (
	ViaToken   = "token"
	ViaBrowser = "browser"
	ViaCode    = "code"
)

// newPermit makes a token or a code for a user.
func (r *Registrar) newPermit(ctx context.Context, tx store.Tx, user store.User, lifetime time.Duration, p permit) (Token, error) {
	secret, err := token.New(r.Random)
	if err != nil {
		return Token{}, err
	}
	value, err := json.Marshal(p)
	if err != nil {
		return Token{}, fmt.Errorf("encoding an enrolment token: %w", err)
	}
	made := Token{secret, user.Name, r.Clock().Add(lifetime)}
	return made, tx.PutRecord(ctx, store.Record{
		Namespace: namespace, Key: token.Hash(secret), Owner: user.ID, Value: value, Expires: made.Expires,
	})
}

// NewToken makes a token that enrols one machine as a device of the user. ErrInactive
// unless the user may sign in. by says who made it, if it isn't the user.
func (r *Registrar) NewToken(ctx context.Context, userID, name, by string) (Token, error) {
	var made Token
	err := r.Audit.Change(ctx, r.Store, "making an enrolment token", func(tx store.Tx) ([]store.Event, error) {
		user, err := activeUser(ctx, tx, userID)
		if err != nil {
			return nil, err
		}
		made, err = r.newPermit(ctx, tx, user, TokenLifetime, permit{Via: ViaToken, Name: name})
		return []store.Event{r.Audit.Event(audit.DeviceTokenMade, user.ID, audit.Fields{audit.User: user.Name, audit.By: by})}, err
	})
	return made, err
}

// activeUser reads a user who may sign in, or returns ErrInactive.
func activeUser(ctx context.Context, tx store.Tx, id string) (store.User, error) {
	user, err := tx.UserByID(ctx, id)
	if errors.Is(err, store.ErrNotFound) || err == nil && user.Status != store.UserActive {
		return store.User{}, ErrInactive
	}
	return user, err
}
