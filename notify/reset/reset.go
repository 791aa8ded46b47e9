// Package reset mails the links by which people choose a new password.
//
// A request waits sealed, and as long as any other, until the outbox sends it. Only then
// does the server find out whom it means, so what strangers can observe of a request
// doesn't depend on that.
//
// The package must not know who may reset a password.
package reset

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/notify"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/token"
)

// Purpose is the purpose of messages about resets.
const Purpose = "reset"

// size is how long a request is before it is sealed, in bytes. A request that would be
// longer names nobody: no name or address is that long.
const size = 1024

// Links keeps the links; see authflow.Engine.
type Links interface {
	KeepReset(ctx context.Context, r authflow.ResetRequest, token string, until time.Time) (authflow.Resetting, error)
}

// Sealer seals what waits in the store, bound to where it belongs.
type Sealer interface {
	Seal(plaintext, associated []byte) ([]byte, error)
	Open(sealed, associated []byte) ([]byte, error)
}

// Settings are what a Sender is made of. All fields are needed.
type Settings struct {
	Outbox *notify.Outbox
	Links  Links
	Sealer Sealer
	Clock  func() time.Time
	Random io.Reader
	Writer notify.Writer
	// URL returns the address of a link.
	URL func(token string) string
}

// Sender mails links. It is safe for concurrent use.
type Sender struct{ Settings }

// New returns a Sender.
func New(s Settings) *Sender { return &Sender{s} }

// request is what waits, sealed.
type request struct {
	authflow.ResetRequest
	// Token is that of the link, should there be one. It is made with the request, so
	// that each attempt mails the same link.
	Token string
}

// Queue implements authflow.Resets.
func (s *Sender) Queue(ctx context.Context, tx store.Tx, r authflow.ResetRequest) error {
	value, err := token.New(s.Random)
	if err != nil {
		return err
	}
	ref, err := token.New(s.Random)
	if err != nil {
		return err
	}
	content, err := padded(request{r, value})
	if err != nil {
		return err
	}
	sealed, err := s.Sealer.Seal(content, sealedTo(ref))
	if err != nil {
		return fmt.Errorf("sealing a wish for a new password: %w", err)
	}
	return s.Outbox.Queue(ctx, tx, store.Message{
		Lane: store.LaneCritical, Purpose: Purpose, Ref: ref, Data: sealed,
	}, authflow.ResetLifetime)
}

// padded writes a request at its size.
func padded(r request) ([]byte, error) {
	written, err := json.Marshal(r)
	if err == nil && len(written) > size {
		r.ResetRequest = authflow.ResetRequest{}
		written, err = json.Marshal(r)
	}
	if err != nil {
		return nil, fmt.Errorf("writing a wish for a new password: %w", err)
	}
	return append(written, strings.Repeat(" ", size-len(written))...), nil
}

// Wake makes the outbox send what was stored.
func (s *Sender) Wake() { s.Outbox.Wake() }

// sealedTo binds a request to its message.
func sealedTo(ref string) []byte { return []byte("reset\x00" + ref) }

// Send implements notify.Route.
func (s *Sender) Send(ctx context.Context, m store.Message) error {
	content, err := s.Sealer.Open(m.Data, sealedTo(m.Ref))
	if err != nil {
		return &notify.Failure{Code: "sealed", Permanent: true, Err: err}
	}
	var r request
	if err := json.Unmarshal(content, &r); err != nil {
		return &notify.Failure{Code: "content", Permanent: true, Err: err}
	}
	until := m.Queued.Add(authflow.ResetLifetime)
	whom, err := s.Links.KeepReset(ctx, r.ResetRequest, r.Token, until)
	if errors.Is(err, authflow.ErrNoReset) {
		return notify.ErrVoid
	}
	if err != nil {
		return fmt.Errorf("finding out who wants a new password: %w", err)
	}
	view := templates.ResetMail{Name: whom.User.Name, At: m.Queued.In(whom.User.Location()), Address: r.Address}
	if whom.Possible {
		view.Link, view.Until = s.URL(r.Token), until.In(whom.User.Location())
	}
	_, err = s.Writer.Write(ctx, m.ID, factors.Letter{
		To: whom.Address, Template: "reset", Language: cmp.Or(whom.User.Language, r.Language), Content: view,
	})
	return err
}
