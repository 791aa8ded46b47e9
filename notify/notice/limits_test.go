package notice

import (
	"context"
	"crypto/rand"
	"path/filepath"
	"slices"
	"strconv"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/notify"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/undo"
)

// unsealed seals nothing.
type unsealed struct{}

func (unsealed) Seal(plaintext, _ []byte) ([]byte, error) { return plaintext, nil }
func (unsealed) Open(sealed, _ []byte) ([]byte, error)    { return sealed, nil }

// letters are what was written.
type letters []factors.Letter

func (l *letters) Write(_ context.Context, _ string, letter factors.Letter) (string, error) {
	*l = append(*l, letter)
	return "", nil
}

// bureau tells ada, whom it knows, what happens to her.
type bureau struct {
	*testing.T
	db      *sqlite.DB
	log     *audit.Log
	notices *Notices
	written letters
	now     time.Time
}

func newBureau(t *testing.T) *bureau {
	b := &bureau{T: t, now: time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)}
	clock := func() time.Time {
		b.now = b.now.Add(time.Millisecond)
		return b.now
	}
	var err error
	b.db, err = sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "store.db"))
	b.must(err)
	t.Cleanup(func() { _ = b.db.Close() })
	pages, err := templates.New(templates.Options{})
	b.must(err)
	b.notices = New(Settings{
		Store: b.db, Sealer: unsealed{}, Clock: clock, Random: rand.Reader, Logger: zap.NewNop(), Texts: pages, Writer: &b.written,
		Outbox:  notify.New(notify.Settings{Store: b.db, Clock: clock, Random: rand.Reader, Logger: zap.NewNop()}),
		UndoURL: func(token string) string { return token }, IsMailed: func(assurance.Factor) bool { return false },
		IsStandby: func(kind assurance.Factor) bool { return kind == assurance.BackupCode },
	})
	b.log = audit.NewLog(zap.NewNop(), b.db, clock)
	b.log.Notify(b.notices)
	b.must(b.db.CreateUser(t.Context(), store.User{ID: "ada", Name: "ada", Email: "ada@example.com", Status: store.UserActive}))
	return b
}

func (b *bureau) must(err error) {
	b.Helper()
	if err != nil {
		b.Fatal(err)
	}
}

// happens has an event of ada's happen.
func (b *bureau) happens(name audit.Name, fields audit.Fields) {
	b.Helper()
	fields[audit.User] = "ada"
	b.must(b.log.Change(b.Context(), b.db, "testing", func(store.Tx) ([]store.Event, error) {
		return []store.Event{b.log.Event(name, "ada", fields)}, nil
	}))
}

// signsIn has her sign in with a browser that she hasn't used before.
func (b *bureau) signsIn(n int) {
	b.happens(audit.SignInSucceeded, audit.Fields{audit.Browser: audit.UnknownBrowser, audit.SignOn: strconv.Itoa(n)})
}

// claimed returns what is due.
func (b *bureau) claimed() []store.Message {
	b.Helper()
	due, err := b.db.ClaimMessages(b.Context(), b.now, b.now.Add(time.Minute), 100)
	b.must(err)
	return due
}

// TestLimitOfPromptNotices has ten of them leave in a day, the last of which says so. The
// rest comes in one digest, a day later. What is urgent has no limit.
func TestLimitOfPromptNotices(t *testing.T) {
	b := newBureau(t)
	for n := range mostPrompt + 3 {
		b.signsIn(n)
	}
	b.happens(audit.PasswordChanged, audit.Fields{})
	due := b.claimed()
	if len(due) != mostPrompt+1 {
		t.Fatalf("%d notices are due", len(due))
	}
	for _, m := range due {
		b.must(b.notices.Send(t.Context(), m))
		m.State = store.MessageHandedOver
		b.must(b.db.UpdateMessage(t.Context(), m))
	}
	last := 0
	for _, letter := range b.written {
		if letter.Content.(templates.NoticeMail).Last {
			last++
		}
	}
	if urgent := b.written[0].Content.(templates.NoticeMail); last != 1 || urgent.What != "Password changed" {
		t.Errorf("%d notices say that they are the last; the first is %+v", last, urgent)
	}
	b.now = b.now.Add(digestAfter - time.Minute)
	if early := b.claimed(); len(early) != 0 {
		t.Errorf("%d digests come early", len(early))
	}
	b.now = b.now.Add(2 * time.Minute)
	due, b.written = b.claimed(), nil
	if len(due) != 1 || due[0].Purpose != DigestPurpose {
		t.Fatalf("due are %+v", due)
	}
	b.must(b.notices.Digests().Send(t.Context(), due[0]))
	if digest := b.written[0].Content.(templates.NoticeMail); !digest.Digest || len(digest.Lines) != 3 || digest.Lines[0].What != "Sign-in in a new browser" {
		t.Errorf("the digest is %+v", digest)
	}
	b.signsIn(99)
	if due := b.claimed(); len(due) != 1 || due[0].Purpose != Purpose {
		t.Errorf("on the next day, due are %+v", due)
	}
}

// TestM01TheFormerAddressKeepsTheLink gives the link to undo a change of the address only to
// the address that nobody has just set, however often it is changed.
func TestM01TheFormerAddressKeepsTheLink(t *testing.T) {
	b := newBureau(t)
	b.notices.IsMailed = func(kind assurance.Factor) bool { return kind == assurance.Email }
	b.notices.MailAddress = func(c store.Credential) (string, error) { return c.Name, nil }
	takes := func(address string, hold time.Duration) {
		b.must(b.log.Change(b.Context(), b.db, "testing", func(tx store.Tx) ([]store.Event, error) {
			now := b.notices.Clock()
			if _, err := credentials.Replace(b.Context(), tx, "ada", assurance.Email, now.Add(24*time.Hour), now); err != nil {
				return nil, err
			}
			c := store.Credential{ID: address, UserID: "ada", Kind: assurance.Email, Name: address, State: store.CredentialActive, Created: now}
			if hold > 0 {
				c.ProbationUntil = now.Add(hold)
			}
			fields := audit.Fields{audit.User: "ada", audit.Factor: string(assurance.Email)}
			return []store.Event{b.log.Event(audit.FactorEnrolled, "ada", fields)}, tx.CreateCredential(b.Context(), c)
		}))
	}
	takes("first@example.com", 0)
	b.claimed()
	takes("thief@example.net", 24*time.Hour)
	b.claimed()
	takes("thief@example.org", 24*time.Hour)
	links := undo.New(undo.Settings{Store: b.db, Clock: b.notices.Clock})
	found := 0
	for _, m := range b.claimed() {
		b.written = nil
		b.must(b.notices.Send(t.Context(), m))
		link := b.written[0].Content.(templates.NoticeMail).Undo
		if link == "" {
			continue
		}
		found++
		target, err := links.Look(t.Context(), link)
		if to := b.written[0].To; err != nil || to != "first@example.com" || !slices.Equal(target.Restored, []string{"first@example.com"}) {
			t.Errorf("%s gets a link that restores %v, %v", to, target.Restored, err)
		}
	}
	if found != 1 {
		t.Errorf("%d links", found)
	}
}
