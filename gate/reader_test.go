package gate

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
)

// badgeScheme begins the values of Authorization that name a badge.
const badgeScheme = "Badge "

// badges is a reader that only these tests know: of a badge that a program is
// given to hand over. It proves nothing about a person, is good for a part of an
// app, speaks for a user of its own, and counts as long as its owner does.
type badges struct {
	mu     sync.Mutex
	known  map[string]*badge // by what is handed over
	fault  error             // what every look-up ends in
	looked []string
	off    bool // no rule takes badges
}

// badge is what badges know of one.
type badge struct {
	name    string
	paths   []string
	methods []string
	groups  []string
	expires time.Time
	revoked bool
	owner   func(context.Context) (store.User, error)
}

// newBadges returns a reader of one badge, for what is below /pub/.
func newBadges() *badges {
	return &badges{known: map[string]*badge{"ci": {
		name: "ci", paths: []string{"/pub/"}, methods: []string{http.MethodGet, http.MethodPost}, groups: []string{"machines"},
		expires: testNow.Add(time.Hour), owner: func(context.Context) (store.User, error) { return store.User{Status: store.UserActive}, nil },
	}}}
}

// take implements reader.
func (b *badges) take(r *request) error {
	lines := r.Header["Authorization"]
	ours := slices.ContainsFunc(lines, func(line string) bool { return strings.HasPrefix(line, badgeScheme) })
	if !ours {
		return nil
	}
	delete(r.Header, "Authorization")
	if len(lines) > 1 {
		return errors.New("several credentials")
	}
	r.handed = strings.TrimPrefix(lines[0], badgeScheme)
	return nil
}

// read implements reader.
func (b *badges) read(r *request, _ *Rule) (claim, error) {
	if r.handed == "" || b.off {
		return claim{}, errAbsent
	}
	b.mu.Lock()
	b.looked = append(b.looked, r.handed)
	b.mu.Unlock()
	anchor := &badgeAnchor{badges: b, id: r.handed}
	speaker, err := anchor.Check(r.Context(), false)
	if errors.Is(err, session.ErrEnded) {
		return claim{}, refusedCredential{err}
	}
	if err != nil {
		return claim{}, err
	}
	anchor.speaker = speaker
	known := b.known[r.handed]
	return claim{speaker: speaker, scope: known, sent: byHand, expires: known.expires, anchor: anchor}, nil
}

// isWhole implements scope.
func (*badge) isWhole() bool { return false }

// covers implements scope.
func (b *badge) covers(r *http.Request) bool {
	return slices.Contains(b.methods, r.Method) &&
		slices.ContainsFunc(b.paths, func(prefix string) bool { return strings.HasPrefix(r.URL.Path, prefix) })
}

// badgeAnchor has what came with a badge end with it, and with its owner.
type badgeAnchor struct {
	*badges
	id      string
	speaker *session.Profile
}

const badgeChanged store.ChangeKind = "badge_changed"

func (a *badgeAnchor) Key() string               { return "badge " + a.id }
func (a *badgeAnchor) Speaker() *session.Profile { return a.speaker }
func (a *badgeAnchor) Use(time.Time, bool) bool  { return true }

func (a *badgeAnchor) Until() time.Time {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.known[a.id].expires
}

func (a *badgeAnchor) IsAbout(change store.Change) bool {
	return change.Kind == badgeChanged && change.ID == a.id || change.Kind == store.UserChanged && change.ID == "owner"
}

func (a *badgeAnchor) Check(ctx context.Context, _ bool) (*session.Profile, error) {
	a.mu.Lock()
	known, fault := a.known[a.id], a.fault
	a.mu.Unlock()
	switch {
	case fault != nil:
		return nil, fault
	case known == nil || known.revoked:
		return nil, session.ErrEnded
	}
	owner, err := known.owner(ctx)
	if err != nil {
		return nil, err
	}
	if owner.Status != store.UserActive {
		return nil, session.ErrEnded
	}
	return &session.Profile{
		User:      session.User{ID: a.id, Name: known.name + "@badge", Groups: known.groups},
		GroupList: strings.Join(known.groups, ","),
	}, nil
}

// newBadgeGate returns a gate with the reader and the rules.
func newBadgeGate(t *testing.T, rules ...Rule) (*testGate, *badges) {
	t.Helper()
	g, b := newTestGate(t, rules...), newBadges()
	g.handed = b
	return g, b
}

// withBadge has a request bring a badge.
func withBadge(r *http.Request, value string) *http.Request {
	r.Header.Set("Authorization", badgeScheme+value)
	return r
}

// expectPlain wants a refusal for programs: no page, no redirect, no cookie.
func (o outcome) expectPlain(t *testing.T, status int) {
	t.Helper()
	o.expectStopped(t, status)
	if kind := o.Header().Get("Content-Type"); kind != "application/problem+json" || o.Header()["Set-Cookie"] != nil {
		t.Errorf("%d as %s, with %v", o.Code, kind, o.Header()["Set-Cookie"])
	}
}

// TestHandedOver decides by what a program hands over, whatever the request looks
// like: as a browser's navigation, which would be sent to sign in.
func TestHandedOver(t *testing.T) {
	members := func(u session.User) bool { return slices.Contains(u.Groups, "machines") }
	for _, test := range []struct {
		name    string
		change  func(g *testGate, b *badges)
		badge   string
		cookies []string
		target  string
		status  int
	}{
		{name: "one that counts", badge: "ci", status: http.StatusOK},
		{name: "beside a session", badge: "ci", cookies: []string{cookieGood}, status: http.StatusOK},
		{name: "unknown", badge: "unknown", status: http.StatusUnauthorized},
		{name: "unknown beside a session", badge: "unknown", cookies: []string{cookieGood}, status: http.StatusUnauthorized},
		{name: "revoked", badge: "ci", status: http.StatusUnauthorized, change: func(_ *testGate, b *badges) { b.known["ci"].revoked = true }},
		{name: "its owner may not sign in", badge: "ci", status: http.StatusUnauthorized, change: func(_ *testGate, b *badges) {
			b.known["ci"].owner = func(context.Context) (store.User, error) { return store.User{Status: store.UserDisabled}, nil }
		}},
		{name: "out of its scope", badge: "ci", target: "/private", status: http.StatusForbidden},
		{name: "out of its scope beside a session", badge: "ci", target: "/private", cookies: []string{cookieGood}, status: http.StatusForbidden},
		{name: "not allowed", badge: "ci", status: http.StatusForbidden, change: func(_ *testGate, b *badges) { b.known["ci"].groups = nil }},
		{name: "ended while it was let in", badge: "ci", status: http.StatusUnauthorized, change: func(g *testGate, _ *badges) {
			g.open = func(string) error { return session.ErrEnded }
		}},
		{name: "that can't be told", badge: "ci", status: http.StatusServiceUnavailable, change: func(_ *testGate, b *badges) { b.fault = errFault }},
		{name: "that can't be told beside a session", badge: "ci", cookies: []string{cookieGood}, status: http.StatusServiceUnavailable,
			change: func(_ *testGate, b *badges) { b.fault = errFault }},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, b := newBadgeGate(t, Rule{Allows: members, Require: assurance.Requirement{Level: assurance.PhishingResistant}})
			if test.change != nil {
				test.change(g, b)
			}
			target := test.target
			if target == "" {
				target = "/pub/x"
			}
			r := withBadge(navigate(target), test.badge)
			r.Header.Set("Sec-Fetch-Mode", "navigate")
			r.Header.Set("Sec-Fetch-Dest", "document")
			o := g.serve(r, test.cookies...)
			if len(g.lookedUp) > 0 || len(g.asked) > 0 {
				t.Errorf("the session was looked up (%q), or the portal asked (%v)", g.lookedUp, g.asked)
			}
			switch test.status {
			case http.StatusOK:
				o.expectPassed(t)
			case http.StatusServiceUnavailable:
				o.expectStopped(t, test.status)
			default:
				o.expectPlain(t, test.status)
			}
			if g.opened != 0 {
				t.Error("a connection is left open")
			}
		})
	}
}

// TestHandedOverWhereNoneIsTaken has session and certificate decide there, and
// nobody look at what was handed over.
func TestHandedOverWhereNoneIsTaken(t *testing.T) {
	g, b := newBadgeGate(t)
	b.off = true
	g.serve(withBadge(navigate("/pub/x"), "ci"), cookieGood).expectPassed(t)
	g.serve(withBadge(navigate("/pub/x"), "ci")).expectStopped(t, http.StatusFound)
	if len(b.looked) > 0 {
		t.Errorf("looked up %q", b.looked)
	}
}

// TestHandedOverReachesNoApp wants it removed on all ways through the gate, and
// looked up only where somebody has to be identified.
func TestHandedOverReachesNoApp(t *testing.T) {
	open := Rule{Match: func(r *http.Request) (bool, error) { return r.URL.Path == "/open", nil }, Open: true}
	all := Rule{Allows: func(session.User) bool { return true }}
	for _, test := range []struct {
		name, method, target string
		status               int
		looked               bool
	}{
		{"a guarded path", http.MethodGet, "/pub/x", http.StatusOK, true},
		{"an open path", http.MethodGet, "/open", http.StatusOK, false},
		{"a preflight", http.MethodOptions, "/pub/x", http.StatusOK, false},
		{"the gate's own routes", http.MethodGet, "/.mfa/whoami", http.StatusUnauthorized, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, b := newBadgeGate(t, open, all)
			g.Preflights = true
			r := withBadge(navigate(test.target), "ci")
			if r.Method = test.method; test.method == http.MethodOptions {
				r.Header.Set("Origin", "https://other.test")
				r.Header.Set("Access-Control-Request-Method", "GET")
			}
			o := g.serve(r)
			if o.Code != test.status || o.passed && o.seen.Header["Authorization"] != nil {
				t.Errorf("%d, with %q", o.Code, r.Header["Authorization"])
			}
			if (len(b.looked) > 0) != test.looked {
				t.Errorf("looked up %q", b.looked)
			}
		})
	}
	t.Run("others' credentials stay", func(t *testing.T) {
		g, _ := newBadgeGate(t, open, all)
		r := navigate("/open")
		r.Header.Set("Authorization", "Bearer of-the-app's-own")
		if o := g.serve(r); !o.passed || o.seen.Header.Get("Authorization") != "Bearer of-the-app's-own" {
			t.Errorf("%d, with %q", o.Code, r.Header["Authorization"])
		}
	})
	t.Run("two at once", func(t *testing.T) {
		for _, target := range []string{"/pub/x", "/open"} {
			g, _ := newBadgeGate(t, open, all)
			r := withBadge(navigate(target), "ci")
			r.Header.Add("Authorization", "Basic eDp5")
			g.serve(r).expectStopped(t, http.StatusBadRequest)
		}
	})
}

// TestHandedOverTellsTheAppWhoSpeaks wants the app to be told of the badge's own
// user, in headers and statement, with no proofs.
func TestHandedOverTellsTheAppWhoSpeaks(t *testing.T) {
	g, _ := newBadgeGate(t)
	var stated Statement
	g.Assertions = assertionsFunc(func(s Statement, _ string) (string, error) { stated = s; return "signed", nil })
	r := withBadge(navigate("/pub/x"), "ci")
	r.Header.Set("Remote-User", "mallory")
	o := g.serve(r, cookieGood)
	o.expectPassed(t)
	for name, want := range map[string]string{"Remote-User": "ci@badge", "Remote-Groups": "machines", "Remote-Email": "", AssertionHeader: "signed", "Cookie": ""} {
		if got := o.seen.Header.Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	if o.visitor.User.Name != "ci@badge" || o.visitor.Level() != assurance.None || o.visitor.Device != "" {
		t.Errorf("it passed as %+v", o.visitor)
	}
	if stated.User.Name != "ci@badge" || stated.SignOn != "" || stated.Proofs != nil || !stated.Expires.Equal(testNow.Add(time.Hour)) {
		t.Errorf("stated as %+v", stated)
	}
}

type assertionsFunc func(Statement, string) (string, error)

func (f assertionsFunc) Token(s Statement, app string) (string, error) { return f(s, app) }

// TestScopesHoldInEveryReading asks for what is out of a badge's scope in ways in
// which an app could read it (P02, P04, P10).
func TestScopesHoldInEveryReading(t *testing.T) {
	for _, test := range []struct {
		name, method, target, header, body string
		status                             int
	}{
		{name: "within", target: "/pub/x", status: http.StatusOK},
		{name: "within, in all readings", target: "/pub/a%2Fb;c", status: http.StatusOK},
		{name: "an encoded slash", target: "/pub%2fx", status: http.StatusForbidden},
		{name: "an authority in the path", target: "//pub/x", status: http.StatusForbidden},
		{name: "backslashes", target: "/pub/..%5c..%5cprivate", status: http.StatusBadRequest},
		{name: "parameters", target: "/pub/;/../private", status: http.StatusBadRequest},
		{name: "decoded twice", target: "/pub/%252e%252e/private", status: http.StatusBadRequest},
		{name: "another method", method: http.MethodDelete, target: "/pub/x", status: http.StatusForbidden},
		{name: "HEAD, which isn't named", method: http.MethodHead, target: "/pub/x", status: http.StatusForbidden},
		{name: "an override", method: http.MethodPost, target: "/pub/x", header: "X-Http-Method-Override: DELETE", status: http.StatusForbidden},
		{name: "a second target", target: "/pub/x", header: "X-Original-Url: /private", status: http.StatusForbidden},
		{name: "a second target within", target: "/pub/x", header: "X-Original-Url: /pub/y", status: http.StatusOK},
		{name: "a form", method: http.MethodPost, target: "/pub/x", body: "a=b", status: http.StatusOK},
		{name: "a form that names a method", method: http.MethodPost, target: "/pub/x", body: "_method=DELETE", status: http.StatusBadRequest},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, _ := newBadgeGate(t)
			r := navigate("/")
			if test.body != "" {
				r = httptest.NewRequest(http.MethodPost, "/", strings.NewReader(test.body))
				r.Host = "app.example.com"
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
			}
			if r.Method = test.method; test.method == "" {
				r.Method = http.MethodGet
			}
			r.URL, r.RequestURI = mustParse(t, test.target), test.target
			if name, value, ok := strings.Cut(test.header, ": "); ok {
				r.Header.Set(name, value)
			}
			if o := g.serve(withBadge(r, "ci")); o.Code != test.status || o.passed != (test.status == http.StatusOK) {
				t.Errorf("%d: %s", o.Code, o.Body)
			}
		})
	}
}

// TestNobodyForgesWhatIsHandedOver has pages of other sites send requests where
// cookies and certificates are refused: they can't make a browser hand a badge
// over.
func TestNobodyForgesWhatIsHandedOver(t *testing.T) {
	g := newCertifiedGate(t, certified(CertificateAccept, assurance.Requirement{Level: assurance.Multi}))
	g.handed, g.SameSite = newBadges(), http.SameSiteNoneMode
	send := func(badge, certificate string, cookies ...string) outcome {
		r := showing(navigate("/pub/x"), certificate)
		r.Method = http.MethodPost
		r.Header.Set("Sec-Fetch-Site", "cross-site")
		r.Header.Set("Origin", "https://evil.test")
		if badge != "" {
			withBadge(r, badge)
		}
		return g.serve(r, cookies...)
	}
	send("ci", "").expectPassed(t)
	send("ci", "alice", cookieGood).expectPassed(t)
	send("", "alice").expectStopped(t, http.StatusForbidden)
	send("", "", cookieGood).expectStopped(t, http.StatusForbidden)
}

// TestRulesOfALaterConfigurationForWhatIsHandedOver lets a request go on only by
// the badge that let it in.
func TestRulesOfALaterConfigurationForWhatIsHandedOver(t *testing.T) {
	all := Rule{Allows: func(session.User) bool { return true }}
	for _, test := range []struct {
		name      string
		after     Rule
		off       bool
		meanwhile func(b *badges)
		ends      bool
		unclear   bool
	}{
		{name: "the same rules", after: all},
		{name: "open to everybody", after: Rule{Open: true}},
		{name: "no badges any more", after: all, off: true, ends: true},
		{name: "another group", after: Rule{Allows: func(u session.User) bool { return slices.Contains(u.Groups, "staff") }}, ends: true},
		{name: "a smaller scope", after: all, meanwhile: func(b *badges) { b.known["ci"].paths = []string{"/other/"} }, ends: true},
		{name: "revoked", after: all, meanwhile: func(b *badges) { b.known["ci"].revoked = true }, ends: true},
		{name: "a store that is out", after: all, meanwhile: func(b *badges) { b.fault = errFault }, unclear: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, b := newBadgeGate(t, all)
			settings := g.Settings
			settings.Rules = []Rule{test.after}
			successor := New(settings)
			later := &badges{known: b.known, off: test.off}
			successor.handed = later
			// Whose cookie came along may pass by the rules in force; the badge let
			// the request in.
			terms, err := g.under(t, withBadge(navigate("/pub/x"), "ci"), cookieGood, successor, func() {
				if test.meanwhile != nil {
					test.meanwhile(later)
				}
			})
			switch {
			case test.unclear:
				if err == nil || errors.Is(err, session.ErrEnded) {
					t.Errorf("what can't be told is told as %v", err)
				}
			case test.ends != errors.Is(err, session.ErrEnded) || !test.ends && err != nil:
				t.Errorf("it ends with %v", err)
			case !test.ends && !test.after.Open && terms.Anchor.Key() != "badge ci":
				t.Errorf("it goes on with %v", terms.Anchor)
			}
		})
	}
}

// stream is a response that lasts until it is cut off, and what became of it.
type stream struct{ ended chan struct{} }

func (s stream) isCut() bool {
	select {
	case <-s.ended:
		return true
	default:
		return false
	}
}

// TestStreamsEndWithWhatIsHandedOver has the Keeper of a real store watch over
// what came with a badge.
func TestStreamsEndWithWhatIsHandedOver(t *testing.T) {
	for _, test := range []struct {
		name string
		end  func(t *testing.T, b *badges, db *sqlite.DB, k *session.Keeper)
		cut  bool
	}{
		{"the badge is revoked", func(_ *testing.T, b *badges, _ *sqlite.DB, k *session.Keeper) {
			b.set(func() { b.known["ci"].revoked = true })
			k.Changed([]store.Change{{Kind: badgeChanged, ID: "ci"}})
		}, true},
		{"its groups change", func(_ *testing.T, b *badges, _ *sqlite.DB, k *session.Keeper) {
			b.set(func() { b.known["ci"].groups = nil })
			k.Changed([]store.Change{{Kind: badgeChanged, ID: "ci"}})
		}, true},
		{"its owner may not sign in any more", func(t *testing.T, _ *badges, db *sqlite.DB, _ *session.Keeper) {
			owner, err := db.UserByID(t.Context(), "owner")
			if err != nil {
				t.Fatal(err)
			}
			owner.Status = store.UserDisabled
			if err := db.UpdateUser(t.Context(), owner); err != nil {
				t.Fatal(err)
			}
		}, true},
		{"its time is up", func(_ *testing.T, b *badges, _ *sqlite.DB, k *session.Keeper) {
			b.set(func() { b.known["ci"].expires = time.Now() })
			k.Watch()
		}, true},
		{"another badge is revoked", func(_ *testing.T, _ *badges, _ *sqlite.DB, k *session.Keeper) {
			k.Changed([]store.Change{{Kind: badgeChanged, ID: "other"}})
		}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			g, b, db, keeper := newLiveBadgeGate(t)
			s := g.stream(t, withBadge(navigate("/pub/x"), "ci"))
			test.end(t, b, db, keeper)
			if !test.cut {
				keeper.Watch()
				if s.isCut() {
					t.Error("it was cut off")
				}
				return
			}
			select {
			case <-s.ended:
			case <-time.After(20 * time.Second):
				t.Error("it goes on")
			}
		})
	}
}

func (b *badges) set(change func()) {
	b.mu.Lock()
	defer b.mu.Unlock()
	change()
}

// newLiveBadgeGate returns a gate over a real store, whose badge is owned by
// somebody there.
func newLiveBadgeGate(t *testing.T) (*testGate, *badges, *sqlite.DB, *session.Keeper) {
	t.Helper()
	g, b := newBadgeGate(t, Rule{Allows: func(u session.User) bool { return slices.Contains(u.Groups, "machines") }})
	db, err := sqlite.Open(t.Context(), filepath.Join(t.TempDir(), "store.db"))
	if err != nil {
		t.Fatal(err)
	}
	if err := db.CreateUser(t.Context(), store.User{ID: "owner", Name: "olga", Status: store.UserActive, Created: time.Now()}); err != nil {
		t.Fatal(err)
	}
	keeper := session.NewKeeper(db, time.Now, zap.NewNop().Warn)
	stop := db.Follow(keeper)
	t.Cleanup(func() {
		stop()
		if err := db.Close(); err != nil {
			t.Error(err)
		}
	})
	g.SignOns, g.MaxStaleness = keeper, time.Minute
	b.known["ci"].owner = func(ctx context.Context) (store.User, error) { return db.UserByID(ctx, "owner") }
	b.known["ci"].expires = time.Now().Add(time.Hour)
	return g, b, db, keeper
}

// stream sends a request that is answered for as long as it isn't cut off.
func (g *testGate) stream(t *testing.T, r *http.Request) stream {
	t.Helper()
	s, begun := stream{make(chan struct{})}, make(chan struct{})
	over, cancel := context.WithCancel(t.Context())
	r.ProtoMajor = 3 // its context is cancelled by the gate itself
	go func() {
		_ = g.ServeHTTP(httptest.NewRecorder(), r, func(_ http.ResponseWriter, r *http.Request, _ *Visitor) error {
			close(begun)
			select {
			case <-r.Context().Done():
				close(s.ended)
			case <-over.Done():
			}
			return nil
		})
		if s := begun; !isClosed(s) {
			close(s)
		}
	}()
	t.Cleanup(cancel)
	<-begun
	return s
}

func isClosed(c chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}
