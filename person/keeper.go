package person

import (
	"context"
	"errors"
	"fmt"
	"io"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// Store is what a Keeper needs of the store; a transaction offers the rest.
type Store interface {
	BrowserByToken(ctx context.Context, userID, tokenHash string) (store.Browser, error)
	audit.Transactor
}

// Passwords hashes and verifies passwords in a bounded queue. An error means
// that it could not be told.
type Passwords interface {
	Hash(ctx context.Context, password string) (string, error)
	Verify(ctx context.Context, hash, password string) (bool, error)
	// Outdated reports whether a new hash would be made in another way: under
	// another pepper, or at another cost.
	Outdated(hash string) bool
	// Burn costs what Verify costs, where there is nothing to verify.
	Burn(ctx context.Context, password string) error
}

// Judgement is what there is to say of a password that somebody wants.
type Judgement = identity.Judgement

// PasswordRules decides which passwords may be chosen.
type PasswordRules interface {
	Judge(password string, own ...string) Judgement
}

// Settings are what a Keeper is made of. All fields are needed.
type Settings struct {
	Store     Store
	Vault     *credentials.Vault
	Guesses   *guess.Limiter
	Passwords Passwords
	Rules     PasswordRules
	Audit     *audit.Log
	Clock     func() time.Time
	Random    io.Reader
	// Lifetime and Idle are the limits of new sign-ons.
	Lifetime, Idle time.Duration
}

// Keeper does what flows and self-service have in common. It is safe for
// concurrent use.
type Keeper struct{ Settings }

// New returns a Keeper.
func New(s Settings) *Keeper { return &Keeper{s} }

// Client is the browser that a request came from.
type Client struct {
	Address   string // as Caddy's trusted_proxies determine it
	UserAgent string
	// Browser is the token of the known-browser cookie, or empty.
	Browser string
	// Platform is what the browser runs on: windows, macos, linux, android, ios
	// or empty.
	Platform string
	// Language is the one that its person reads, as in the lang attribute.
	Language string
	// Zone is the time zone that the browser is in (IANA); empty: it isn't known.
	Zone string
	// Host is the app that they are on their way to; empty: none, or it isn't
	// known.
	Host string
}

// KnownBrowser returns the id of the user's entry for the client's browser, or
// empty.
func (k *Keeper) KnownBrowser(ctx context.Context, userID string, c Client) (string, error) {
	if c.Browser == "" || userID == "" {
		return "", nil
	}
	b, err := k.Store.BrowserByToken(ctx, userID, token.Hash(c.Browser))
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("looking for a known browser: %w", err)
	}
	return b.ID, nil
}

// IsRemembered reports whether a browser is remembered still, at the time now.
func IsRemembered(b store.Browser, now time.Time) bool { return now.Before(b.Remembered) }

// Change makes a change in one transaction with the events that it makes; see
// audit.Log.
func (k *Keeper) Change(ctx context.Context, doing string, apply func(store.Tx) ([]store.Event, error)) error {
	return k.Audit.Change(ctx, k.Store, doing, apply)
}

// Suspend has a credential of somebody's prove nothing any more, and returns the event of
// that.
func (k *Keeper) Suspend(ctx context.Context, tx store.Tx, u store.User, credential store.Credential, c Client) (store.Event, error) {
	return k.SuspendKeepingRank(ctx, tx, u, credential, time.Time{}, c)
}

// SuspendKeepingRank is Suspend, but changes of the account ask for a proof of the
// credential's rank until a time: the one who has it suspended may not be the owner, and
// must not be able to do more afterwards.
func (k *Keeper) SuspendKeepingRank(ctx context.Context, tx store.Tx, u store.User, credential store.Credential, until time.Time, c Client) (store.Event, error) {
	credential.State, credential.ProbationUntil = store.CredentialSuspended, until
	event := k.Own(audit.FactorLost, u, c, audit.Fields{audit.Factor: string(credential.Kind)})
	return event, tx.UpdateCredential(ctx, credential)
}

// Own makes an event of something that somebody did to their own account.
func (k *Keeper) Own(what audit.Name, u store.User, c Client, more audit.Fields) store.Event {
	fields := audit.Fields{audit.User: u.Name, audit.Address: c.Address, audit.UserAgent: c.UserAgent}
	for field, value := range more {
		fields[field] = value
	}
	return k.Audit.Event(what, u.ID, fields)
}
