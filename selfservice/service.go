// Package selfservice is what people who are signed in look up and change about
// their own account. Whatever could let another person in, or keep the owner
// out, asks for a fresh check, which is made once more in the transaction that
// changes it. It begins no flow, and must not know flows, HTTP or SQL.
package selfservice

import (
	"context"
	"errors"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// Store is what self-service needs of the store; a transaction offers the rest.
type Store interface {
	BrowsersOf(ctx context.Context, userID string) ([]store.Browser, error)
	DevicesOf(ctx context.Context, userID string) ([]store.Device, error)
	AccessTokensOf(ctx context.Context, userID string) ([]store.AccessToken, error)
	ListEvents(ctx context.Context, f store.EventFilter) ([]store.Event, error)
	session.Lister
	audit.Transactor
}

// Settings are what a Service is made of. All fields but Remembers and Enrolment are
// needed.
type Settings struct {
	Store  Store
	People *person.Keeper
	Vault  *credentials.Vault
	Clock  func() time.Time
	// Remembers says that browsers can stand in for a second factor.
	Remembers bool
	// Enrolment makes what machines enrol with; nil: no certificates are issued.
	Enrolment Enrolment
}

// Service lets people see to their own accounts. It is safe for concurrent use.
type Service struct{ Settings }

// New returns a Service.
func New(s Settings) *Service { return &Service{s} }

// What people can't do to their own account.
var (
	// ErrLastWayIn says that without the credential no way in would be left.
	ErrLastWayIn = errors.New("it is the last way in")
	// ErrNoSignOn says that the person has no such live sign-on.
	ErrNoSignOn = errors.New("no such live sign-on of this user")
	// ErrNoBrowser says that the person has no such browser.
	ErrNoBrowser = errors.New("no such browser of this user")
)
