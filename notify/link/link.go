// Package link mails links that work once, such as invitations.
//
// The store has a hash of a link's token. The token itself waits sealed, until the
// message is sent, so neither the store nor a copy of it can open anything.
//
// The package must not know what a link is good for.
package link

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/notify"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/token"
)

// Invitation is the purpose of messages with an invitation.
const Invitation = "invitation"

// patience is for how long the delivery of a link is tried.
const patience = 24 * time.Hour

// Store is what has to be looked up while a message is written.
type Store interface {
	UserByID(ctx context.Context, id string) (store.User, error)
	GetRecord(ctx context.Context, namespace, key string, now time.Time) (store.Record, error)
}

// Sealer seals what waits in the store, bound to where it belongs.
type Sealer interface {
	Seal(plaintext, associated []byte) ([]byte, error)
	Open(sealed, associated []byte) ([]byte, error)
}

// Settings are what a Sender is made of. All fields are needed.
type Settings struct {
	Outbox *notify.Outbox
	Store  Store
	Sealer Sealer
	Clock  func() time.Time
	Writer notify.Writer
	// URL returns the address of a link of a kind.
	URL func(kind, token string) string
}

// Sender mails links. It is safe for concurrent use.
type Sender struct{ Settings }

// New returns a Sender.
func New(s Settings) *Sender { return &Sender{s} }

// Invite stores an invitation, in the transaction that creates its link.
func (s *Sender) Invite(ctx context.Context, tx store.Tx, u store.User, value string) error {
	ref := token.Hash(value)
	sealed, err := s.Sealer.Seal([]byte(value), sealedTo(u.ID, ref))
	if err != nil {
		return fmt.Errorf("sealing a link: %w", err)
	}
	return s.Outbox.Queue(ctx, tx, store.Message{
		Lane: store.LaneCritical, Purpose: Invitation, Ref: ref, UserID: u.ID, Data: sealed,
	}, patience)
}

// Wake makes the outbox send what was stored.
func (s *Sender) Wake() { s.Outbox.Wake() }

// sealedTo binds a link to its message.
func sealedTo(userID, ref string) []byte { return []byte("link\x00" + userID + "\x00" + ref) }

// Send implements notify.Route. An invitation that was used or replaced, or whose user
// is no longer invited or has no address any more, isn't sent.
func (s *Sender) Send(ctx context.Context, m store.Message) error {
	user, err := s.Store.UserByID(ctx, m.UserID)
	if errors.Is(err, store.ErrNotFound) || err == nil && (user.Status != store.UserInvited || user.Email == "") {
		return notify.ErrVoid
	}
	if err != nil {
		return fmt.Errorf("reading who is invited: %w", err)
	}
	record, err := s.Store.GetRecord(ctx, person.Links, m.Ref, s.Clock())
	if errors.Is(err, store.ErrNotFound) {
		return notify.ErrVoid
	}
	if err != nil {
		return fmt.Errorf("reading an invitation: %w", err)
	}
	value, err := s.Sealer.Open(m.Data, sealedTo(m.UserID, m.Ref))
	if err != nil {
		return &notify.Failure{Code: "sealed", Permanent: true, Err: err}
	}
	_, err = s.Writer.Write(ctx, m.ID, factors.Letter{
		To: user.Email, Template: "invitation", Language: user.Language,
		Content: templates.LinkMail{Name: user.Name, Link: s.URL(Invitation, string(value)), Until: record.Expires.In(user.Location())},
	})
	return err
}
