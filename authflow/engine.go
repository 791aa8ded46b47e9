package authflow

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// Store is what flows need of the store; a transaction offers the rest.
type Store interface {
	Reader
	PutRecord(ctx context.Context, r store.Record) error
	GetRecord(ctx context.Context, namespace, key string, now time.Time) (store.Record, error)
	UpdateRecord(ctx context.Context, r store.Record, now time.Time) error
	CountUsers(ctx context.Context, states ...store.UserStatus) (int, error)
	ListEvents(ctx context.Context, f store.EventFilter) ([]store.Event, error)
	session.Lister
	counterReader
	session.Reader
	Atomically(ctx context.Context, fn func(tx store.Tx) error) error
}

// Reader finds people, their credentials and their browsers.
type Reader interface {
	UserByID(ctx context.Context, id string) (store.User, error)
	UserByName(ctx context.Context, name string) (store.User, error)
	UserByEmail(ctx context.Context, email string) (store.User, error)
	CredentialsOf(ctx context.Context, userID string) ([]store.Credential, error)
	BrowsersOf(ctx context.Context, userID string) ([]store.Browser, error)
	DevicesOf(ctx context.Context, userID string) ([]store.Device, error)
	browserReader
}

// Passwords hashes and verifies passwords in a bounded queue. An error means
// that it could not be told.
type Passwords interface {
	// Enter takes a place in the queue, or returns an error that is ErrBusy. The
	// first hash under the context that it returns has that place, which leave
	// gives up.
	Enter(ctx context.Context, turn identity.Turn) (entered context.Context, leave func(), err error)
	Hash(ctx context.Context, password string) (string, error)
	Verify(ctx context.Context, hash, password string) (bool, error)
	// Outdated reports whether a new hash would be made in another way: under
	// another pepper, or at another cost.
	Outdated(hash string) bool
	// Burn costs what Verify costs, where there is nothing to verify.
	Burn(ctx context.Context, password string) error
}

// PasswordRules decides which passwords may be chosen.
type PasswordRules interface {
	Check(password string, own ...string) error
}

// Sealer seals secrets at rest, bound to where they belong.
type Sealer interface {
	Seal(plaintext, associated []byte) ([]byte, error)
	Open(sealed, associated []byte) ([]byte, error)
}

// Settings are what an Engine is made of. Remember, Passwordless, Hold, Offered
// and UpgradeOffer may be zero, all other fields are needed.
type Settings struct {
	Store     Store
	Factors   factors.Set
	Passwords Passwords
	Rules     PasswordRules
	Sealer    Sealer
	Audit     *audit.Log
	Clock     func() time.Time
	Random    io.Reader
	// Lifetime and Idle are the limits of new sign-ons.
	Lifetime, Idle time.Duration
	// Remember is for how long a browser can stand in for a second factor, if
	// its person wants that; 0: nobody is asked, and no browser does.
	Remember time.Duration
	// AdminGroups are what the first administrator is put into.
	AdminGroups []string
	// Passwordless says that people may sign in by a passkey alone.
	Passwordless bool
	// Hold is for how long proofs of a credential that was enrolled in place of
	// a lost one are held to multi; 0: they aren't.
	Hold time.Duration
	// Offered reports whether a second factor is asked for on a platform; nil:
	// each is, on all. Browsers can claim any platform: it is for people's
	// convenience and protects nothing.
	Offered func(kind assurance.Factor, platform string) bool
	// UpgradeOffer has whoever signs in by something weaker offered a passkey.
	UpgradeOffer bool
}

// Engine runs flows. It is safe for concurrent use. All state is in the store,
// but for how often addresses found the server too busy.
type Engine struct {
	Settings
	turnedAway *tally
}

// New returns an Engine.
func New(s Settings) *Engine { return &Engine{Settings: s, turnedAway: newTally(s.Clock)} }

// Client is the browser that a request came from.
type Client struct {
	Address   string // as Caddy's trusted_proxies determine it
	UserAgent string
	// Browser is the token of the known-browser cookie, or empty.
	Browser string
	// Platform is what the browser runs on: windows, macos, linux, android, ios
	// or empty.
	Platform string
}

// Refused says that an answer was looked at and is wrong.
type Refused struct {
	Reason factors.Reason
	Drift  time.Duration
	// Credential is what the factor calls the credential, with Unknown and with the
	// reasons that are about its model.
	Credential string
	// Model is what isn't let in, with the reasons that are about it; empty: it
	// has no name.
	Model string
}

func (r *Refused) Error() string { return "refused: " + string(r.Reason) }

// ErrBusy says that too many people sign in at this moment.
var ErrBusy = identity.ErrBusy

// knownBrowser returns the id of the user's entry for the client's browser,
// or empty.
func (e *Engine) knownBrowser(ctx context.Context, userID string, c Client) (string, error) {
	if c.Browser == "" || userID == "" {
		return "", nil
	}
	b, err := e.Store.BrowserByToken(ctx, userID, token.Hash(c.Browser))
	if errors.Is(err, store.ErrNotFound) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("looking for a known browser: %w", err)
	}
	return b.ID, nil
}

// credentialContext binds a credential's sealed secret to its row, so that it
// opens nowhere else.
func credentialContext(c store.Credential) []byte {
	return []byte("credential\x00" + c.ID + "\x00" + c.UserID + "\x00" + string(c.Kind))
}

// activeCredentials returns the user's usable credentials, still sealed.
func (e *Engine) activeCredentials(ctx context.Context, userID string) ([]store.Credential, error) {
	all, err := e.credentials(ctx, userID)
	return e.active(all), err
}

// credentials returns all of the user's credentials, lost ones too, still
// sealed; nobody has none.
func (e *Engine) credentials(ctx context.Context, userID string) ([]store.Credential, error) {
	if userID == "" {
		return nil, nil
	}
	all, err := e.Store.CredentialsOf(ctx, userID)
	if err != nil {
		return nil, fmt.Errorf("reading credentials: %w", err)
	}
	return all, nil
}

// active returns the credentials that can be used.
func (e *Engine) active(all []store.Credential) []store.Credential {
	return slices.DeleteFunc(all, func(c store.Credential) bool {
		return c.State != store.CredentialActive || !e.works(c)
	})
}

// works reports whether a credential could be shown where things stand now: a
// security key can't, once the RP ID is another.
func (e *Engine) works(c store.Credential) bool { return e.Factors.Works(c.Kind, c.Realm) }

// ofKind opens the credentials of one kind for its factor, and returns their
// rows by id beside them.
func (e *Engine) ofKind(all []store.Credential, kind assurance.Factor) ([]factors.Credential, map[string]store.Credential, error) {
	var opened []factors.Credential
	rows := make(map[string]store.Credential)
	for _, c := range all {
		if c.Kind != kind {
			continue
		}
		secret, err := e.Sealer.Open(c.Secret, credentialContext(c))
		if err != nil {
			return nil, nil, fmt.Errorf("opening a %s credential: %w", kind, err)
		}
		opened = append(opened, factors.Credential{
			ID: c.ID, Name: c.Name, Secret: secret, Created: c.Created, LastUsed: c.LastUsed,
		})
		rows[c.ID] = c
	}
	return opened, rows, nil
}

// newCredential seals a fresh credential. What is unique about it makes its id,
// so that no second one with the same can be kept.
func (e *Engine) newCredential(userID string, kind assurance.Factor, made factors.Enrolment) (store.Credential, error) {
	id, err := token.New(e.Random)
	if err != nil {
		return store.Credential{}, err
	}
	if made.Unique != "" {
		id = credentialID(kind, made.Unique)
	}
	c := store.Credential{
		ID: id, UserID: userID, Kind: kind, Name: made.Name, Realm: made.Realm,
		State: store.CredentialActive, Created: e.Clock(),
	}
	if c.Secret, err = e.Sealer.Seal(made.Secret, credentialContext(c)); err != nil {
		return store.Credential{}, fmt.Errorf("sealing a %s credential: %w", kind, err)
	}
	return c, nil
}

// credentialID is the id of a credential of which something is unique.
func credentialID(kind assurance.Factor, unique string) string {
	return token.Hash("credential\x00" + string(kind) + "\x00" + unique)
}

// keepNew writes a fresh credential, or returns *Refused where another has the
// same that may be there once only.
func keepNew(ctx context.Context, tx store.Credentials, c store.Credential, made factors.Enrolment) error {
	err := tx.CreateCredential(ctx, c)
	if made.Unique != "" && errors.Is(err, store.ErrConflict) {
		return &Refused{Reason: factors.Taken}
	}
	return err
}

// The kinds of browser in audit events.
const (
	browserKnown      = "known"
	browserUnknown    = "unknown"
	browserRemembered = "remembered"
)

func browserKind(known bool) string {
	if known {
		return browserKnown
	}
	return browserUnknown
}
