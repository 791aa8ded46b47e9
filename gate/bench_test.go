package gate_test

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"fmt"
	"math/big"
	"net/http"
	"net/http/httptest"
	"net/url"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/gate"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/ticket"
	"github.com/portcullis-mfa/portcullis/token"
)

// benchGate is a gate over a real store, with a number of sign-ons and a
// session cookie for each.
type benchGate struct {
	*gate.Gate
	keeper  *session.Keeper
	db      *countingStore
	device  *x509.Certificate
	signOns []string // ids
	cookies []string
}

// certifiedDevice makes the certificate of a device, and the trust in its CA.
func certifiedDevice(b *testing.B) (*x509.Certificate, devices.Trust) {
	b.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		b.Fatal(err)
	}
	sign := func(template, parent *x509.Certificate) *x509.Certificate {
		template.NotBefore, template.NotAfter = time.Now().Add(-time.Hour), time.Now().Add(time.Hour)
		template.SerialNumber, template.BasicConstraintsValid = big.NewInt(1), true
		der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), key)
		if err != nil {
			b.Fatal(err)
		}
		made, err := x509.ParseCertificate(der)
		if err != nil {
			b.Fatal(err)
		}
		return made
	}
	root := &x509.Certificate{Subject: pkix.Name{CommonName: "Devices"}, IsCA: true, KeyUsage: x509.KeyUsageCertSign}
	root = sign(root, root)
	leaf := sign(&x509.Certificate{
		Subject: pkix.Name{CommonName: "laptop"}, KeyUsage: x509.KeyUsageDigitalSignature,
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, root)
	return leaf, devices.Trust{{Anchors: func() *x509.CertPool {
		pool := x509.NewCertPool()
		pool.AddCert(root)
		return pool
	}}}
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
	headers, err := gate.NewIdentityHeaders(gate.DefaultHeaderNames, gate.HeaderValues{})
	if err != nil {
		b.Fatal(err)
	}
	portal, err := url.Parse("https://login.example.com")
	if err != nil {
		b.Fatal(err)
	}
	sessions := session.NewCookies(set.Codec("session"), func() uint64 { return 1 }, db.Incarnation, time.Now)
	counted := &countingStore{DB: db}
	keeper := session.NewKeeper(counted, time.Now, zap.NewNop().Warn)
	b.Cleanup(db.Follow(keeper))
	device, trust := certifiedDevice(b)
	made := benchGate{keeper: keeper, db: counted, device: device, Gate: gate.New(gate.Settings{
		Rules: []gate.Rule{{
			Allows: func(session.User) bool { return true }, ServiceTokens: true,
			Certificate: gate.CertificateAccept,
			Require:     assurance.Requirement{Level: assurance.Multi, Certificate: assurance.CertificateAlone},
		}},
		Site: gate.Site{Origin: func(name, _ string) (string, bool) { return "https://" + name, true }},
		Credentials: gate.Credentials{
			Sessions: sessions, SignOns: keeper, Devices: devices.NewReader(trust, keeper, nil, time.Now),
			Weights: assurance.Weights{
				assurance.Password: assurance.First, assurance.TOTP: assurance.Second, assurance.Certificate: assurance.Machine,
			},
		},
		SignIn: gate.SignIn{
			Portal: portal, Requests: ticket.NewRequests(set.Codec("request").WithMaxLength(8<<10), time.Now),
			States: set.Codec("state"), Tickets: ticket.NewTickets(db, time.Now, rand.Reader),
		},
		App:  gate.App{Headers: headers},
		Look: gate.Look{Pages: pages, Brand: "Example"},
		Surroundings: gate.Surroundings{
			Audit: audit.NewLog(zap.NewNop(), db, time.Now), Logger: zap.NewNop(),
			Clock: time.Now, Random: rand.Reader, Address: func(*http.Request) string { return "192.0.2.1" },
		},
	})}
	user := store.User{
		ID: "user", Name: "alice", DisplayName: "Alice Example", Email: "alice@example.com",
		Groups: []string{"engineers", "on-call"}, Status: store.UserActive, Created: time.Now(),
	}
	if err := db.CreateUser(ctx, user); err != nil {
		b.Fatal(err)
	}
	row := devices.Describe(device)
	row.ID, row.UserID = "device", user.ID
	if err := db.CreateDevice(ctx, row); err != nil {
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
	g.send(b, r)
}

// countingStore counts how often access tokens are read.
type countingStore struct {
	*sqlite.DB
	reads atomic.Int64
}

// AccessTokenBySelector implements store.AccessTokens.
func (s *countingStore) AccessTokenBySelector(ctx context.Context, selector string) (store.AccessToken, error) {
	s.reads.Add(1)
	return s.DB.AccessTokenBySelector(ctx, selector)
}

// addToken makes a service token for a scope.
func (g benchGate) addToken(b *testing.B, scope accesstoken.Scope) string {
	b.Helper()
	scope.Hosts = []string{"app.example.com"}
	written, err := json.Marshal(scope)
	if err != nil {
		b.Fatal(err)
	}
	secret, selector, err := accesstoken.New(rand.Reader, accesstoken.Service)
	if err != nil {
		b.Fatal(err)
	}
	err = g.db.CreateAccessToken(context.Background(), store.AccessToken{
		ID: "token", Name: "ci", Selector: selector, Hash: token.Hash(secret), Groups: []string{"machines"}, Scope: written,
		Created: time.Now(), Expires: time.Now().Add(time.Hour),
	})
	if err != nil {
		b.Fatal(err)
	}
	return secret
}

// passByToken is pass for a program.
func (g benchGate) passByToken(b *testing.B, secret string) {
	r := httptest.NewRequest(http.MethodGet, "/wiki/page", nil)
	r.Host = "app.example.com"
	r.Header["Authorization"] = []string{"Bearer " + secret}
	g.send(b, r)
}

// passByCertificate is pass for a device without a session.
func (g benchGate) passByCertificate(b *testing.B, presented []*x509.Certificate) {
	r := httptest.NewRequest(http.MethodGet, "/wiki/page", nil)
	r.Host = "app.example.com"
	r.TLS = &tls.ConnectionState{HandshakeComplete: true, ServerName: "app.example.com", PeerCertificates: presented}
	g.send(b, r)
}

func (g benchGate) send(b *testing.B, r *http.Request) {
	b.Helper()
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
	for name, scope := range map[string]accesstoken.Scope{
		"token": {}, "token for paths and methods": {Paths: []string{"/wiki"}, Methods: []string{http.MethodGet}},
	} {
		b.Run(name, func(b *testing.B) {
			g := newBenchGate(b, 0)
			secret := g.addToken(b, scope)
			g.passByToken(b, secret)
			reads := g.db.reads.Load()
			b.ReportAllocs()
			for b.Loop() {
				g.passByToken(b, secret)
			}
			b.ReportMetric(float64(g.db.reads.Load()-reads), "token-reads")
		})
	}
	b.Run("certificate", func(b *testing.B) {
		g := newBenchGate(b, 1)
		presented := []*x509.Certificate{g.device}
		g.passByCertificate(b, presented)
		b.ReportAllocs()
		for b.Loop() {
			g.passByCertificate(b, presented)
		}
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
