package gate_test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/gate"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// benchGate is a gate over a real store, with a number of sign-ons and a
// session cookie for each.
type benchGate struct {
	*gate.Gate
	keeper  *session.Keeper
	signOns []string // ids
	cookies []string
}

func newBenchGate(b *testing.B, signOns int) benchGate {
	b.Helper()
	ctx := context.Background()
	db, err := sqlite.Open(ctx, filepath.Join(b.TempDir(), "bench.db"))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { _ = db.Close() })
	set, err := keys.Open(ctx, keys.FileStorage(filepath.Join(b.TempDir(), "keys.json")), rand.Reader, time.Now, true)
	if err != nil {
		b.Fatal(err)
	}
	pages, err := templates.New(templates.Options{})
	if err != nil {
		b.Fatal(err)
	}
	headers, err := gate.NewIdentityHeaders(gate.DefaultHeaderNames)
	if err != nil {
		b.Fatal(err)
	}
	portal, err := url.Parse("https://login.example.com")
	if err != nil {
		b.Fatal(err)
	}
	sessions := session.NewCookies(set.Codec("session"), func() uint64 { return 1 }, db.Incarnation(), time.Now)
	keeper := session.NewKeeper(db, time.Now, zap.NewNop().Warn)
	b.Cleanup(db.Follow(keeper))
	made := benchGate{keeper: keeper, Gate: gate.New(gate.Settings{
		Rules: []gate.Rule{{
			Allows:  func(session.User) bool { return true },
			Require: assurance.Requirement{Level: assurance.Multi},
		}},
		Origin: func(name, _ string) (string, bool) { return "https://" + name, true },
		Portal: portal, Headers: headers, Enabled: func(assurance.Factor) bool { return true },
		Sessions: sessions, SignOns: keeper,
		Requests: ticket.NewRequests(set.Codec("request").WithMaxLength(8<<10), time.Now),
		States:   set.Codec("state"), Tickets: ticket.NewTickets(db, time.Now, rand.Reader),
		Pages: pages, Brand: "Example", Audit: audit.NewLog(zap.NewNop(), db, time.Now), Logger: zap.NewNop(),
		Clock: time.Now, Random: rand.Reader, Address: func(*http.Request) string { return "192.0.2.1" },
	})}
	user := store.User{
		ID: "user", Name: "alice", DisplayName: "Alice Example", Email: "alice@example.com",
		Groups: []string{"engineers", "on-call"}, Status: store.UserActive, Created: time.Now(),
	}
	if err := db.CreateUser(ctx, user); err != nil {
		b.Fatal(err)
	}
	err = db.Atomically(ctx, func(tx store.Tx) error {
		for i := range signOns {
			s := store.SignOn{
				ID: fmt.Sprintf("%043d", i), UserID: user.ID, Started: time.Now(), LastSeen: time.Now(),
				Expires: time.Now().Add(12 * time.Hour), Idle: time.Hour,
				Proofs: []assurance.Proof{
					{Factor: assurance.Password, At: time.Now()}, {Factor: assurance.TOTP, At: time.Now()},
				},
			}
			if err := tx.CreateSignOn(ctx, s); err != nil {
				return err
			}
			value, err := sessions.Mint(s, "app.example.com", assurance.Requirement{Level: assurance.Multi})
			if err != nil {
				return err
			}
			made.signOns, made.cookies = append(made.signOns, s.ID), append(made.cookies, value)
		}
		return nil
	})
	if err != nil {
		b.Fatal(err)
	}
	return made
}

// pass sends one request through the gate and fails unless it passed.
func (g benchGate) pass(b *testing.B, cookie string) {
	r := httptest.NewRequest(http.MethodGet, "/wiki/page", nil)
	r.Host = "app.example.com"
	r.Header["Cookie"] = []string{gate.SessionCookie + "=" + cookie}
	passed := false
	w := httptest.NewRecorder()
	_ = g.ServeHTTP(w, r, func(http.ResponseWriter, *http.Request, *gate.Visitor) error {
		passed = true
		return nil
	})
	if !passed {
		b.Fatalf("refused: %d %s", w.Code, w.Body)
	}
}

// BenchmarkGate measures what the gate adds to a request of somebody who is
// signed in; "nothing" is the same without a gate, to be taken off.
func BenchmarkGate(b *testing.B) {
	b.Run("nothing", func(b *testing.B) {
		b.ReportAllocs()
		for b.Loop() {
			r := httptest.NewRequest(http.MethodGet, "/wiki/page", nil)
			r.Host = "app.example.com"
			r.Header["Cookie"] = []string{gate.SessionCookie + "=x"}
			_ = httptest.NewRecorder()
		}
	})
	b.Run("warm", func(b *testing.B) {
		g := newBenchGate(b, 1)
		g.pass(b, g.cookies[0])
		b.ReportAllocs()
		for b.Loop() {
			g.pass(b, g.cookies[0])
		}
		b.ReportMetric(float64(len(g.cookies[0])), "cookie-bytes")
	})
	b.Run("cold", func(b *testing.B) {
		// More cookies than are remembered, in turn, of sign-ons that have
		// just changed.
		g := newBenchGate(b, 60_000)
		b.ReportAllocs()
		for i := 0; b.Loop(); i++ {
			at := i % len(g.cookies)
			g.keeper.Changed([]store.Change{{Kind: store.SignOnChanged, ID: g.signOns[at]}})
			g.pass(b, g.cookies[at])
		}
	})
}
