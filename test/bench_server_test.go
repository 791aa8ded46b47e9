package test

import (
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/token"
)

// The sites of a busy server, below localhost.
const (
	siteBare  = "bare"  // reverse_proxy alone
	siteFull  = "full"  // all that a gate can do
	sitePlain = "plain" // the same without assertions
	siteGated = "gated" // a gate with nothing written into it
)

var siteTitles = map[string]string{siteFull: "everything on", sitePlain: "without `assertion`"}

// busyCaddyfile serves each site over plain HTTP and over TLS, on ports of its
// own: a site that comes after others costs more, since they are asked first.
var busyCaddyfile = `
{
	auto_https disable_redirects
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
	}
}

http://login.localhost:{{.Port "web"}} {
	mfa_portal
}
` + busySite(siteBare, "") + busySite(siteFull, everythingBut+"assertion\n}") + busySite(sitePlain, everythingBut+"}") +
	busySite(siteGated, "mfa")

// everythingBut is a gate but for its end. None of its matchers matches what
// the clients send, so each of them is asked.
const everythingBut = `
	@admin path /admin /admin/*
	@reports path /reports/* /export/*
	@polling path /poll /api/notifications
	mfa {
		open /healthz
		rule @admin {
			allow group admins
			max_age 15m
		}
		rule @reports {
			allow group finance
		}
		allow group engineers
		allow user root
		max_age 11h
		idle_ignores @polling
		headers {
			user X-WEBAUTH-USER
			email X-WEBAUTH-EMAIL
		}
`

func busySite(name, gate string) string {
	return fmt.Sprintf(`
http://%[1]s.localhost:{{.Port "%[1]s http"}}, https://%[1]s.localhost:{{.Port "%[1]s https"}} {
	%[2]s
	reverse_proxy {{.Vars.app}}
}
`, name, gate)
}

// signOnsPerUser is on how many machines, at how many portals and times, one
// person is signed in.
const signOnsPerUser = 10

// busyServer is a server with many people signed in.
type busyServer struct {
	*harness.Server
	cookies *session.Cookies
	began   time.Time
	// minted are the cookies of each gated site by sign-on, from when they are
	// first needed: the server shall see the same one again.
	minted map[string][]atomic.Pointer[string]
}

// startBusy starts a server, with more variables in its environment, in whose
// store there are so many sign-ons. Nobody goes through pages for it: what they
// would have left is written.
func startBusy(t testing.TB, signOns int, environment ...string) *busyServer {
	t.Helper()
	return startBusyWith(t, signOns, harness.Options{Env: environment, Vars: map[string]string{"app": startApp(t)}})
}

// startBusyWith is startBusy with the options of the server, but for its
// Caddyfile.
func startBusyWith(t testing.TB, signOns int, options harness.Options) *busyServer {
	t.Helper()
	options.NoDebugLog, options.Caddyfile = true, busyCaddyfile
	s := &busyServer{
		began: time.Now().Truncate(time.Second),
		minted: map[string][]atomic.Pointer[string]{
			siteFull: make([]atomic.Pointer[string], signOns), sitePlain: make([]atomic.Pointer[string], signOns),
			siteGated: make([]atomic.Pointer[string], signOns),
		},
		Server: harness.Start(t, options),
	}
	s.Kill() // the harness would search a large store for secrets if it stopped it
	s.fill(t, signOns)
	s.Restart()
	return s
}

// restart begins with empty caches.
func (s *busyServer) restart(t testing.TB) {
	t.Helper()
	s.Kill()
	s.Restart()
}

// startApp starts what stands behind the gates: it answers 1 KiB and remembers
// nothing.
func startApp(t testing.TB) string {
	t.Helper()
	page := strings.Repeat("<p>All is well.\n", 64)
	app := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/html; charset=utf-8")
		_, _ = io.WriteString(w, page) // the proxy may be gone
	}))
	t.Cleanup(app.Close)
	return app.Listener.Addr().String()
}

// fill signs people in, and opens the keys by which their cookies are sealed.
func (s *busyServer) fill(t testing.TB, signOns int) {
	t.Helper()
	state := filepath.Join(s.DataDir(), "portcullis")
	db, err := sqlite.Open(t.Context(), filepath.Join(state, "portcullis.db"))
	if err != nil {
		t.Fatal(err)
	}
	const perTransaction = 20_000
	for from := 0; from < signOns && err == nil; from += perTransaction {
		err = db.Atomically(t.Context(), func(tx store.Tx) error {
			return s.insert(t.Context(), tx, from, min(from+perTransaction, signOns))
		})
	}
	if err != nil {
		t.Fatal(err)
	}
	set, err := keys.Open(t.Context(), keys.FileStorage(filepath.Join(state, "keys.json")), rand.Reader, time.Now, false)
	if err != nil {
		t.Fatal(err)
	}
	s.cookies = session.NewCookies(set.Codec("session"), set.Generation, db.Incarnation, time.Now)
	if err := db.Close(); err != nil {
		t.Fatal(err)
	}
}

func (s *busyServer) insert(ctx context.Context, tx store.Tx, from, to int) error {
	for i := from; i < to; i++ {
		signOn := s.signOn(i)
		if i%signOnsPerUser == 0 {
			if err := tx.CreateUser(ctx, store.User{
				ID: signOn.UserID, Name: fmt.Sprintf("user-%d", i/signOnsPerUser), DisplayName: "Alice Example",
				Email: fmt.Sprintf("user-%d@example.com", i/signOnsPerUser), Groups: []string{"engineers", "on-call", "wiki"},
				Status: store.UserActive, Created: s.began,
			}); err != nil {
				return err
			}
		}
		if err := tx.CreateSignOn(ctx, signOn); err != nil {
			return err
		}
	}
	return nil
}

// signOn is the i-th one. Its ids are as long as those that the server makes.
func (s *busyServer) signOn(i int) store.SignOn {
	return store.SignOn{
		ID: token.Hash(fmt.Sprint("sign-on", i)), UserID: token.Hash(fmt.Sprint("user", i/signOnsPerUser)),
		Started: s.began, LastSeen: s.began, Expires: s.began.Add(session.DefaultLifetime), Idle: session.DefaultIdle,
		Proofs:  []assurance.Proof{{Factor: assurance.Password, At: s.began}, {Factor: assurance.TOTP, At: s.began}},
		Address: "192.0.2.1", UserAgent: userAgent,
	}
}

// cookieHeader is what the browser of a sign-on sends: most apps have a cookie
// of their own.
func (s *busyServer) cookieHeader(i int, site string) (string, error) {
	minted := &s.minted[site][i]
	if header := minted.Load(); header != nil {
		return *header, nil
	}
	value, err := s.cookies.Mint(s.signOn(i), site+".localhost", assurance.Requirement{Level: assurance.Multi})
	if err != nil {
		return "", err
	}
	header := "app-session=0123456789abcdef; __Host-mfa=" + value
	minted.Store(&header)
	return header, nil
}
