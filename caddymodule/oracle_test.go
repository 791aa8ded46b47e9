package caddymodule

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/caddymodule/approach"
	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
	"github.com/portcullis-mfa/portcullis/gate"
	"github.com/portcullis-mfa/portcullis/gate/canonical"
	"github.com/portcullis-mfa/portcullis/session"
)

func init() {
	caddy.RegisterModule(new(markingApp))
}

// markingApp stands for an app: it notes that a request has reached it.
type markingApp struct {
	// Of is the host whose site the app is part of, or empty.
	Of string `json:"of,omitempty"`
	// Passes says that the app hands requests on, as a middleware would.
	Passes bool `json:"passes,omitempty"`
}

func (*markingApp) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "http.handlers.marking_app", New: func() caddy.Module { return new(markingApp) }}
}

// visit is one request's way to an app.
type visit struct {
	app    *markingApp
	passed bool   // it came through a gate
	told   string // what the app could make of the request, and of what was kept of it
}

// decided is what a gate decided on.
type decided struct {
	gate *Gate
	host string
	uri  string
	// changed is what a handler has changed that the gate looks at, or empty.
	changed string
}

// trace is all that one request has come to. It is kept in its context.
type trace struct {
	sent    *http.Request // a copy
	tells   string        // with the placeholders that apps are to tell of
	visits  []visit
	decided []decided
}

type traceKey struct{}

// appFails is the header by which a test has apps fail.
const appFails = "X-App-Fails"

// tellable is what apps, upstreams and matchers behind a gate can make use of.
const tellable = "{http.request.method} {http.request.hostport} {http.request.uri} {http.request.orig_uri} {http.request.header.X-T} {http.request.header.X-N} " +
	"{http.vars.v} {http.vars.h} {m} {http.regexp.r.0} {http.regexp.r.1} {http.regexp.r.2} {http.regexp.2} {http.error.message}"

func (a *markingApp) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if t, ok := r.Context().Value(traceKey{}).(*trace); ok {
		_, through := caddyhttp.GetVar(r.Context(), passedVar).(*passed)
		replacer, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
		t.visits = append(t.visits, visit{app: a, passed: through, told: replacer.ReplaceAll(t.tells, "")})
	}
	if r.Header.Get(appFails) != "" {
		return errors.New("the app is down")
	}
	if a.Passes {
		return next.ServeHTTP(w, r)
	}
	w.WriteHeader(http.StatusOK)
	return nil
}

// tally counts what the oracle has seen, so that it can't be content for want
// of anything to look at.
type tally struct{ servers, accepted, gated, answered, twins int }

// TestWalkerAgreesWithCaddy (P09) has Caddy itself run what the walker accepts.
func TestWalkerAgreesWithCaddy(t *testing.T) {
	// With one each, a walker fails that forgets which handlers have changed the Host,
	// one that forgets which groups are used up once an error brings requests back, and
	// one that accepts apps of a gated site to which requests for another host come.
	seeds := []uint64{1, 6, 12}
	for range 5 {
		seeds = append(seeds, uint64(time.Now().UnixNano()))
	}
	var seen tally
	for _, seed := range seeds {
		t.Logf("seed %d", seed)
		compareWithCaddy(t, seed, 100, &seen)
	}
	t.Logf("%+v", seen)
	if seen.accepted*10 < seen.servers || seen.answered*10 < seen.gated || seen.gated < seen.servers {
		t.Errorf("too little was compared: %+v", seen)
	}
}

// FuzzWalkerAgreesWithCaddy does the same for as long as one likes.
func FuzzWalkerAgreesWithCaddy(f *testing.F) {
	f.Add(uint64(1))
	f.Fuzz(func(t *testing.T, seed uint64) {
		compareWithCaddy(t, seed, 20, new(tally))
	})
}

// compareWithCaddy makes servers at random, and fails where the walker has
// accepted one on which
//   - a request for a gated host reaches an app without having passed a gate;
//   - any request reaches so an app of a gated host's site that others reach
//     through its gate;
//   - a gate decides on something else than what the client has sent;
//   - a request comes to something else behind the gate than if it had been sent
//     in the form that the gate decides on.
func compareWithCaddy(t *testing.T, seed uint64, count int, seen *tally) {
	t.Helper()
	made := newRouteMaker(seed)
	portal := object{
		"listen": []string{":8080"}, "automatic_https": object{"disable": true},
		"routes": []object{{"match": []object{{"host": []string{"localhost"}}}, "handle": []object{{"handler": "mfa_portal"}}}},
	}
	for i := range count {
		written := made.server(20000 + i)
		raw, err := json.Marshal(object{"apps": object{
			"mfa": object{"portal": "http://localhost:8080"}, "http": object{"servers": object{"portal": portal, "s": written}},
		}})
		if err != nil {
			t.Fatal(err)
		}
		seen.servers++
		err = provisioned(t, raw, func(app *App) error {
			app.service.Store(new(service))
			close(app.ready)
			return compareServer(t, app, made, written, seen)
		})
		if err != nil && !strings.Contains(err.Error(), "provision mfa: ") {
			t.Fatalf("seed %d: %v", seed, err)
		}
	}
}

// comparison is of one server that the walker has accepted.
type comparison struct {
	server         *caddyhttp.Server
	found          layout.Layout
	behind, around map[*markingApp]string // how apps were reached: through a gate, or not
}

func compareServer(t *testing.T, app *App, made *routeMaker, written any, seen *tally) error {
	t.Helper()
	sites, err := app.httpApp()
	if err != nil {
		return err
	}
	found, err := app.arrange()
	if err != nil {
		return err
	}
	seen.accepted++
	for _, g := range app.gates {
		openGate(g, found.Gates[g])
	}
	c := comparison{sites.Servers["s"], found, make(map[*markingApp]string), make(map[*markingApp]string)}
	for range 32 {
		if hole := c.send(made.request(), seen); hole != "" {
			routes, _ := json.MarshalIndent(written, "", " ")
			t.Fatalf("%s, under\n%s", hole, routes)
		}
	}
	for app, asked := range c.around {
		if through, ok := c.behind[app]; ok && app.Of != "" && c.covers(app.Of) {
			routes, _ := json.MarshalIndent(written, "", " ")
			t.Fatalf("%s reached an app (of %q) without passing the gate that %s has passed, under\n%s", asked, app.Of, through, routes)
		}
	}
	return nil
}

// covers reports whether a site's gate guards a host. With the dot of the root,
// Caddy takes it for another one, which a site without a host may serve.
func (c comparison) covers(host string) bool {
	if strings.HasSuffix(host, ".") {
		return false
	}
	for _, at := range c.found.Gates {
		if _, ok := originOf(at.Site, host); ok && !at.ErrorRoute {
			return true
		}
	}
	return false
}

// originOf is how a gate asks.
func originOf(s origin.Site, host string) (string, bool) {
	name, port, err := canonical.Host(host)
	if err != nil {
		return "", false
	}
	return s.Origin(name, port)
}

// send has the server answer a request, and returns what is wrong with that.
func (c comparison) send(r *http.Request, seen *tally) string {
	asked := fmt.Sprintf("%s %s %s %v", r.Method, r.Host, r.URL, r.Header)
	covered, reached := c.covers(r.Host), c.trace(r, tellable)
	if covered {
		seen.gated++
		seen.answered += min(1, len(reached.visits))
	}
	for _, v := range reached.visits {
		switch {
		case v.passed:
			c.behind[v.app] = asked
		case covered:
			return fmt.Sprintf("%s reached an app (of %q) without passing a gate", asked, v.app.Of)
		default:
			c.around[v.app] = asked
		}
	}
	for _, d := range reached.decided {
		if d.changed != "" {
			return fmt.Sprintf("%s came to a gate with another %s", asked, d.changed)
		}
	}
	if len(reached.decided) != 1 || !slices.ContainsFunc(reached.visits, func(v visit) bool { return v.passed }) {
		return ""
	}
	seen.twins++
	twin := reached.sent.Clone(context.Background())
	twin.Host, twin.RequestURI = reached.decided[0].host, reached.decided[0].uri
	twin.URL, _ = url.ParseRequestURI(twin.RequestURI)
	if as := c.trace(twin, tellable); !slices.Equal(reached.visits, as.visits) {
		return fmt.Sprintf("%s came to %q, but to %q if sent in one form", asked, tellings(reached), tellings(as))
	}
	return ""
}

func tellings(t *trace) (all []string) {
	for _, v := range t.visits {
		all = append(all, v.told)
	}
	return all
}

// trace has the server answer a request, and returns what it comes to. Apps
// tell of some placeholders.
func (c comparison) trace(r *http.Request, tells string) *trace {
	reached := &trace{sent: r.Clone(r.Context()), tells: tells}
	c.server.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithValue(r.Context(), traceKey{}, reached)))
	return reached
}

// openGate has a gate pass everything for its site's hosts, and note on what it
// has decided.
func openGate(g *Gate, at layout.Placement) {
	headers, err := gate.NewIdentityHeaders(gate.HeaderNames{}, gate.HeaderValues{})
	if err != nil {
		panic(err)
	}
	g.placed.Store(&at)
	g.approach = approach.To(g, at.Site.Hosts)
	g.serving.Store(gate.New(gate.Settings{
		Rules: []gate.Rule{{Match: g.noteDecision, Open: true}, {}},
		Site:  gate.Site{Origin: originsOf(at.Site), Agree: g.agree}, Credentials: gate.Credentials{SignOns: unwatched{}},
		SignIn: gate.SignIn{Portal: g.app.portal}, App: gate.App{Headers: headers}, Look: gate.Look{Pages: g.app.pages},
		Surroundings: gate.Surroundings{
			Logger: zap.NewNop(), Clock: time.Now, Random: rand.Reader, Address: func(*http.Request) string { return "" },
		},
	}))
}

// noteDecision stands for the matcher of a rule that is about every request.
func (g *Gate) noteDecision(r *http.Request) (bool, error) {
	t, ok := r.Context().Value(traceKey{}).(*trace)
	if !ok || len(t.decided) > 0 && t.decided[len(t.decided)-1].gate == g {
		return true, nil // this is of another reading of the same request
	}
	d := decided{gate: g, host: r.Host, uri: r.URL.RequestURI()}
	looksAt := []string{"Origin", "X-Forwarded-Proto"}
	for _, sets := range g.guarding.Matchers {
		matching.Each(sets, func(matcher any) { looksAt = append(looksAt, matching.Headers(matcher)...) })
	}
	for _, name := range looksAt {
		if !slices.Equal(r.Header.Values(name), t.sent.Header.Values(name)) {
			d.changed = name
		}
	}
	name, _, err := canonical.Host(t.sent.Host)
	if now, _, _ := strings.Cut(r.Host, ":"); err != nil || now != name {
		d.changed = "Host"
	}
	if address, _ := caddyhttp.GetVar(r.Context(), caddyhttp.ClientIPVarKey).(string); !strings.HasPrefix(t.sent.RemoteAddr, address+":") {
		d.changed = "client's address"
	}
	t.decided = append(t.decided, d)
	return true, nil
}

// unwatched has nothing cut off: no exchange lasts.
type unwatched struct{ gate.SignOns }

func (unwatched) Open(context.Context, *session.Connection, session.Exchange) error { return nil }

func (unwatched) Close(*session.Connection) {}

// request makes one for Caddy's own errors, and for whatever matchers look at.
func (m *routeMaker) request() *http.Request {
	method := http.MethodGet
	if m.chance(0.05) {
		method = strings.Repeat("A", 40) // Caddy answers these itself
	}
	host, path := m.oneOf("a.localhost", "b.localhost"), m.oneOf("/", "/x", "/x/y", "/y")
	if m.chance(0.3) {
		host = m.oneOf("c.localhost", "A.LOCALHOST", "a.localhost:80", "a.localhost.", "elsewhere.example")
	}
	if m.chance(0.3) {
		path = m.oneOf("//x", "/y/../x", "/%78", "/x/./y", "/%79?q=%61")
	}
	r := httptest.NewRequest(method, "http://a.localhost"+path, nil)
	r.Host = host
	for name, values := range map[string][]string{
		"X-A": {"1"}, "X-H": {"a.localhost", "b.localhost"}, "X-N": {"1", "no number"}, "X-Name": {"Host", "X-T"}, appFails: {"yes"},
	} {
		if value := m.oneOf(values...); m.chance(0.4) {
			r.Header.Set(name, value)
		}
	}
	return r
}
