package notice

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/notify"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
)

// The purposes of the messages of this package.
const (
	Purpose       = "notice"
	DigestPurpose = "digest"
)

// Store is what has to be looked up while a notice is written.
type Store interface {
	UserByID(ctx context.Context, id string) (store.User, error)
	CredentialsOf(ctx context.Context, userID string) ([]store.Credential, error)
	ListEvents(ctx context.Context, f store.EventFilter) ([]store.Event, error)
}

// Sealer seals what waits in the store, bound to where it belongs.
type Sealer interface {
	Seal(plaintext, associated []byte) ([]byte, error)
	Open(sealed, associated []byte) ([]byte, error)
}

// Texts puts things into words; see templates.Set.
type Texts interface {
	Text(language, key string, values map[string]any) string
}

// Settings are what Notices are made of. All fields are needed.
type Settings struct {
	Outbox *notify.Outbox
	Store  Store
	Sealer Sealer
	Clock  func() time.Time
	Random io.Reader
	Logger *zap.Logger
	Texts  Texts
	Writer notify.Writer
	// UndoURL returns the address of the page to undo something by a token.
	UndoURL func(token string) string
	// IsMailed reports whether codes of a kind are mailed, MailAddress returns where a
	// credential of such a kind has them sent, and IsStandby reports whether a kind is only
	// for emergencies.
	IsMailed    func(assurance.Factor) bool
	MailAddress func(store.Credential) (string, error)
	IsStandby   func(assurance.Factor) bool
}

// Notices stores and writes notices. It is safe for concurrent use.
type Notices struct{ Settings }

// New returns Notices.
func New(s Settings) *Notices { return &Notices{s} }

// Wake makes the outbox send what was stored.
func (n *Notices) Wake() { n.Outbox.Wake() }

// Gives reports whether an event may give a notice.
func (n *Notices) Gives(e store.Event) bool {
	_, gives := happeningOf(e)
	return gives
}

// Send implements notify.Route for single notices.
func (n *Notices) Send(ctx context.Context, m store.Message) error {
	content, err := n.Sealer.Open(m.Data, sealedTo(m.UserID, m.Ref))
	if err != nil {
		return &notify.Failure{Code: "sealed", Permanent: true, Err: err}
	}
	var l letter
	if err := json.Unmarshal(content, &l); err != nil {
		return &notify.Failure{Code: "content", Permanent: true, Err: err}
	}
	user, err := n.recipient(ctx, m)
	if err != nil {
		return err
	}
	return n.write(ctx, m, user, l, false)
}

// recipient returns the user whom a message is for, or notify.ErrVoid.
func (n *Notices) recipient(ctx context.Context, m store.Message) (store.User, error) {
	user, err := n.Store.UserByID(ctx, m.UserID)
	if errors.Is(err, store.ErrNotFound) || err == nil && user.Status == store.UserDisabled {
		return user, notify.ErrVoid
	}
	if err != nil {
		return user, fmt.Errorf("reading the recipient of a notice: %w", err)
	}
	return user, nil
}

// Digests returns the Route for digests.
func (n *Notices) Digests() notify.Route { return digests{n} }

type digests struct{ *Notices }

// mostInDigest is how many events a digest lists, the newest ones.
const mostInDigest = 50

// Send implements notify.Route.
func (d digests) Send(ctx context.Context, m store.Message) error {
	user, err := d.recipient(ctx, m)
	if err != nil {
		return err
	}
	to, err := d.mainAddress(ctx, user)
	if err != nil {
		return err
	}
	events, err := d.Store.ListEvents(ctx, store.EventFilter{UserID: user.ID, Limit: 10 * mostInDigest})
	if err != nil {
		return fmt.Errorf("reading what a digest tells of: %w", err)
	}
	// What made the digest necessary happened just before it was queued.
	since, err := time.Parse(time.RFC3339Nano, string(m.Data))
	if err != nil {
		since = m.Queued
	}
	l := letter{To: to}
	for _, e := range events {
		if h, ok := happeningOf(e); ok && !e.At.Before(since) && !h.isOrdinary() && len(l.Happenings) < mostInDigest {
			l.Happenings = append(l.Happenings, h)
		}
	}
	if to == "" || len(l.Happenings) == 0 {
		return notify.ErrVoid
	}
	slices.Reverse(l.Happenings)
	return d.write(ctx, m, user, l, true)
}

// isOrdinary reports whether a digest passes over an event: one of the kinds that are
// told only sometimes.
func (h happening) isOrdinary() bool {
	switch audit.Name(h.Name) {
	case audit.StepUpSucceeded:
		return true
	case audit.SignInSucceeded:
		return h.field(audit.Browser) != audit.UnknownBrowser
	}
	return h.class == urgent // it was told already
}

// mainAddress returns where digests go; empty: nowhere.
func (d digests) mainAddress(ctx context.Context, u store.User) (string, error) {
	if u.Email != "" {
		return u.Email, nil
	}
	all, err := d.Store.CredentialsOf(ctx, u.ID)
	if err != nil {
		return "", fmt.Errorf("reading where a digest goes: %w", err)
	}
	for _, c := range all {
		if d.IsMailed(c.Kind) && c.State == store.CredentialActive {
			return d.addressOf(c), nil
		}
	}
	return "", nil
}

// write writes a notice in the language and zone of its recipient, and hands it over.
func (n *Notices) write(ctx context.Context, m store.Message, u store.User, l letter, digest bool) error {
	zone, t := u.Location(), words{n.Texts, u.Language}
	view := templates.NoticeMail{Name: u.Name, Digest: digest, Last: l.Last}
	for _, h := range l.Happenings {
		view.Lines = append(view.Lines, templates.NoticeLine{What: t.what(h), At: h.At.In(zone), Where: t.where(h)})
	}
	view.What = t.what(l.Happenings[0])
	if l.Undo != "" {
		view.Undo = n.UndoURL(l.Undo)
	}
	_, err := n.Writer.Write(ctx, m.ID, factors.Letter{To: l.To, Template: "notice", Language: u.Language, Content: view})
	return err
}

// words speaks the language of a recipient.
type words struct {
	texts    Texts
	language string
}

func (t words) say(key string, values map[string]any) string {
	return t.texts.Text(t.language, key, values)
}

// what says what happened.
func (t words) what(h happening) string {
	var things []string
	for _, kind := range h.kinds() {
		things = append(things, t.kind(kind))
	}
	return t.say(h.Text, map[string]any{"Thing": strings.Join(things, ", ")})
}

// kind is what a kind of factor is called.
func (t words) kind(kind assurance.Factor) string {
	key := "portal.kind." + string(kind) + ".name"
	if said := t.say(key, nil); said != key {
		return said
	}
	return t.say("portal.kind.unnamed.name", nil)
}

// where says from where something was done, and by whom if it wasn't the person.
func (t words) where(h happening) string {
	var parts []string
	switch name, system := h.browser(); {
	case name != "" && system != "":
		parts = append(parts, t.say("portal.browser.on", map[string]any{"Browser": name, "System": system}))
	case h.field(audit.UserAgent) != "":
		parts = append(parts, t.say("portal.browser.unnamed", nil))
	}
	if address := h.field(audit.Address); address != "" {
		parts = append(parts, address)
	}
	if h.field(audit.By) != "" {
		parts = append(parts, t.say("portal.by_administrator", nil))
	}
	return strings.Join(parts, " · ")
}
