package authflow

import (
	"context"
	"io"
	"sync/atomic"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// Store is what flows need of the store; a transaction offers the rest.
type Store interface {
	UserByID(ctx context.Context, id string) (store.User, error)
	UserByName(ctx context.Context, name string) (store.User, error)
	UserByEmail(ctx context.Context, email string) (store.User, error)
	CountUsers(ctx context.Context, states ...store.UserStatus) (int, error)
	GetRecord(ctx context.Context, namespace, key string, now time.Time) (store.Record, error)
	RecordsOf(ctx context.Context, namespace, owner string, now time.Time) ([]store.Record, error)
	CredentialByID(ctx context.Context, id string) (store.Credential, error)
	recordWriter
	browserReader
	session.Reader
	audit.Transactor
}

// Settings are what an Engine is made of. All fields but Outbox are needed.
type Settings struct {
	Store   Store
	People  *person.Keeper
	Vault   *credentials.Vault
	Guesses *guess.Limiter
	Audit   *audit.Log
	Clock   func() time.Time
	Random  io.Reader
	Rules   Rules
	// Outbox sends what factors have to send; nil: nothing does.
	Outbox Outbox
	// Invitations mails invitations; nil: no mail is sent.
	Invitations Invitations
	// Resets mails the links of password resets; nil: passwords can't be reset.
	Resets Resets
}

// Invitations mails invitations.
type Invitations interface {
	// Invite stores an invitation in the transaction that makes its link.
	Invite(ctx context.Context, tx store.Tx, u store.User, token string) error
	// Wake sends what was stored, once it is committed.
	Wake()
}

// Rules are what an operator decides about flows. The zero Rules are the
// strictest.
type Rules struct {
	// Remember is how long a browser can stand in for a second factor, if
	// its person wants that; 0: nobody is asked, and no browser does.
	Remember time.Duration
	// AdminGroups are what the first administrator is put into.
	AdminGroups []string
	// Passwordless says that people may sign in by a passkey alone.
	Passwordless bool
	// Hold is how long proofs of a credential that was enrolled in place of
	// a lost one are held to multi; 0: they aren't.
	Hold time.Duration
	// Offered reports whether a second factor is asked for on a platform; nil:
	// each is, on all. Browsers can claim any platform: it is for people's
	// convenience and protects nothing.
	Offered func(kind assurance.Factor, platform string) bool
	// UpgradeOffer has whoever signs in by something weaker offered a passkey.
	UpgradeOffer bool
}

// offers reports whether a second factor is asked for on a platform.
func (r Rules) offers(kind assurance.Factor, platform string) bool {
	return r.Offered == nil || r.Offered(kind, platform)
}

// Engine runs flows. It is safe for concurrent use. All state is in the store.
type Engine struct {
	Settings
	// populated is when somebody was last seen to have set up, in Unix seconds.
	populated atomic.Int64
}

// New returns an Engine.
func New(s Settings) *Engine { return &Engine{Settings: s} }
