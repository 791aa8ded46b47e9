package portal_test

import (
	"context"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/descope/virtualwebauthn"
	otp "github.com/pquerna/otp/totp"
	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
	"pgregory.net/rapid"

	admin "github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/backupcode"
	"github.com/portcullis-mfa/portcullis/factors/fido"
	"github.com/portcullis-mfa/portcullis/factors/totp"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/portal"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
	"github.com/portcullis-mfa/portcullis/stream"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// town is where all walks begin: people, and a store in a file that knows them.
type town struct {
	folder    string
	keys      *keys.Set
	hasher    *identity.Hasher
	pages     *templates.Set
	factors   factors.Set
	now       time.Time
	random    io.Reader
	residents []resident
}

// resident is somebody with what they know and have.
type resident struct {
	name, link string
	id         string
	password   string
	secrets    []string // of authenticators, the newest last
	codes      []string // that were not used yet
	keys       virtualwebauthn.Authenticator
}

// passwords are all that anybody in town ever chooses.
var passwords = []string{"lantern orchard 57", "harbour violet 31", "meadow copper 88"}

var keySite = virtualwebauthn.RelyingParty{ID: "login.example.com", Name: "Test", Origin: "https://login.example.com"}

// newTown sets Ada and Eve up, and invites Zoe.
func newTown(t testing.TB) *town {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	c := &town{folder: t.TempDir(), now: noon, random: rand.NewChaCha8([32]byte{1})}
	var err error
	c.pages, err = usualPages()
	must(err)
	c.keys, err = keys.Open(t.Context(), keys.FileStorage(filepath.Join(c.folder, "keys.json")), c, c.clock, true)
	must(err)
	c.hasher, err = identity.NewHasher(identity.HasherConfig{Peppers: c.keys, Params: identity.Params{Memory: 8, Passes: 1, Parallelism: 1}, Waiting: 1000})
	must(err)
	codes, err := totp.New(totp.Config{Issuer: "Test"}, c.clock, c)
	must(err)
	securityKeys, err := fido.New(fido.Config{RPID: keySite.ID, Origins: []string{keySite.Origin}, Brand: "Test"}, c.clock, c)
	must(err)
	c.factors = factors.Set{codes, securityKeys, backupcode.New("Test", c.hasher, c.clock, c)}

	w := c.open(t, filepath.Join(c.folder, "store.db"))
	for _, name := range []string{"ada", "eve", "zoe"} {
		user, link, err := w.desk.Add(t.Context(), admin.NewUser{Name: name, Email: name + "@example.com"})
		must(err)
		who := resident{name: name, id: user.ID, link: link, password: passwords[0], keys: virtualwebauthn.NewAuthenticator()}
		w.residents = append(w.residents, &who)
		if name != "zoe" {
			b := w.enter("192.0.2.1:1")
			w.comeIn(b, w.follow(b, http.MethodGet, "/invitation?token="+link, nil))
		}
	}
	for _, who := range w.residents {
		c.residents = append(c.residents, *who)
	}
	must(w.db.Close())
	return c
}

func (c *town) clock() time.Time { return c.now }

// Read is the town's randomness, the same in each walk.
func (c *town) Read(p []byte) (int, error) { return c.random.Read(p) }

// tester is a test, or one walk of it.
type tester interface {
	rapid.TB
	Context() context.Context
	Cleanup(func())
}

// begin opens a copy of the town's store.
func (c *town) begin(t tester) *walk {
	folder, err := os.MkdirTemp(c.folder, "walk")
	if err != nil {
		t.Fatal(err)
	}
	raw, err := os.ReadFile(filepath.Join(c.folder, "store.db"))
	if err == nil {
		err = os.WriteFile(filepath.Join(folder, "store.db"), raw, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	c.now, c.random = noon.Add(time.Hour), rand.NewChaCha8([32]byte{2})
	w := c.open(t, filepath.Join(folder, "store.db"))
	t.Cleanup(func() { _ = w.db.Close() })
	for _, r := range c.residents {
		r.secrets, r.codes = slices.Clone(r.secrets), slices.Clone(r.codes)
		r.keys.Credentials = slices.Clone(r.keys.Credentials)
		w.residents = append(w.residents, &r)
	}
	for i := range 2 {
		w.browsers = append(w.browsers, w.enter(fmt.Sprintf("198.51.100.%d:1", i)))
	}
	return w
}

// open joins the parts as a server does.
func (c *town) open(t tester, path string) *walk {
	db, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	core, logged := observer.New(zap.WarnLevel)
	logger := zap.New(core)
	w := &walk{town: c, t: t, db: db, wire: &tripwire{}, logged: logged}
	wired := wiredStore{wiredTx{db, w.wire}, db}
	log := audit.NewLog(zap.NewNop(), wired, c.clock)
	w.vault = &credentials.Vault{Store: wired, Factors: c.factors, Sealer: c.keys, Clock: c.clock, Random: c}
	guesses := guess.New(guess.Settings{Store: wired, Queue: c.hasher, Audit: log, Clock: c.clock, Guessable: c.factors.Guessable()})
	people := person.New(person.Settings{
		Store: wired, Vault: w.vault, Guesses: guesses, Passwords: c.hasher, Rules: identity.PasswordPolicy{},
		Audit: log, Clock: c.clock, Random: c, Lifetime: 12 * time.Hour, Idle: time.Hour,
	})
	w.engine = authflow.New(authflow.Settings{
		Store: wired, People: people, Vault: w.vault, Guesses: guesses, Audit: log, Clock: c.clock, Random: c,
		Rules: authflow.Rules{Remember: 24 * time.Hour, Hold: 24 * time.Hour, Passwordless: true, UpgradeOffer: true},
	})
	selfService := selfservice.New(selfservice.Settings{Store: wired, People: people, Vault: w.vault, Clock: c.clock, Remembers: true})
	w.desk = admin.NewDesk(db, w.engine, nil, audit.NewLog(zap.NewNop(), db, c.clock), c.clock, c)
	w.requests = ticket.NewRequests(c.keys.Codec("request"), c.clock)
	w.flows = &counted{Flows: w.engine}
	w.portal = portal.New(portal.Settings{
		Flows: w.flows, Accounts: selfService, SignOns: session.NewKeeper(wired, c.clock, logger.Warn),
		Tickets: ticket.NewTickets(wired, c.clock, c), Requests: w.requests,
		PortalCookies: session.NewPortalCookies(c.keys.Codec("portal")), FlowCodec: c.keys.Codec("flow"),
		Pages: &countedPages{Set: c.pages, rendered: &w.rendered}, Known: func(string) bool { return true },
		Apps:             func(*http.Request, session.User) []templates.App { return nil },
		AppPasswords:     func(session.User) []portal.PasswordApp { return nil },
		RevokeToken:      func(context.Context, string) error { return nil },
		Factors:          c.factors,
		AssertionKeys:    func() ([]byte, error) { return []byte("{}"), nil },
		ShortestPassword: 8, Brand: "Test",
		Origin: &url.URL{Scheme: "https", Host: keySite.ID}, Audit: log, Logger: logger, Clock: c.clock, Random: c,
		Address: func(r *http.Request) string { return r.RemoteAddr[:len(r.RemoteAddr)-2] },
		Bell:    new(ceremony.Bell), Streams: &stream.Room{Each: 8, All: 100}, Ending: func() bool { return false },
	})
	return w
}

// enter is a browser that nobody has seen before.
func (w *walk) enter(address string) *wanderer {
	return &wanderer{address: address, cookies: make(map[string]*http.Cookie)}
}

// code is what an authenticator shows, once it shows another than before.
func (w *walk) code(secret string) string {
	w.now = w.now.Add(30 * time.Second)
	code, err := otp.GenerateCode(secret, w.now)
	if err != nil {
		w.t.Fatalf("making a code: %v", err)
	}
	return code
}
