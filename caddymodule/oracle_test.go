package caddymodule

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/gate"
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
	passed bool // it came through a gate
}

// visits are all those of one request, kept in its context.
type visits struct{ made []visit }

type visitsKey struct{}

// appFails is the header by which a test has apps fail.
const appFails = "X-App-Fails"

func (a *markingApp) ServeHTTP(w http.ResponseWriter, r *http.Request, next caddyhttp.Handler) error {
	if v, ok := r.Context().Value(visitsKey{}).(*visits); ok {
		_, through := caddyhttp.GetVar(r.Context(), passedVar).(*passed)
		v.made = append(v.made, visit{app: a, passed: through})
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
type tally struct{ servers, accepted, gated, answered int }

// TestWalkerAgreesWithCaddy (P09) has Caddy itself run what the walker accepts.
func TestWalkerAgreesWithCaddy(t *testing.T) {
	seeds := []uint64{1, 2, 3}
	for range 2 {
		seeds = append(seeds, uint64(time.Now().UnixNano()))
	}
	var seen tally
	for _, seed := range seeds {
		t.Logf("seed %d", seed)
		compareWithCaddy(t, seed, 60, &seen)
	}
	t.Logf("%+v", seen)
	// Of the servers, about a third are accepted; of their requests for gated
	// hosts, about half reach an app.
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

// compareWithCaddy makes servers at random, and fails where a request for a
// gated host reaches an app without having passed a gate, though the walker has
// accepted the server; or any request an app of a gated host's site that others
// reach through its gate.
func compareWithCaddy(t *testing.T, seed uint64, count int, seen *tally) {
	t.Helper()
	made := newRouteMaker(seed)
	servers := map[string]any{"portal": map[string]any{
		"listen": []string{":8080"}, "automatic_https": object{"disable": true},
		"routes": []object{{"match": []object{{"host": []string{"localhost"}}}, "handle": []object{{"handler": "mfa_portal"}}}},
	}}
	for i := range count {
		servers[fmt.Sprintf("s%d", i)] = made.server(20000 + i)
	}
	raw, err := json.Marshal(object{"apps": object{
		"mfa": object{"portal": "http://localhost:8080"}, "http": object{"servers": servers},
	}})
	if err != nil {
		t.Fatal(err)
	}
	err = provisioned(t, raw, func(app *App) error {
		app.service.Store(new(service))
		close(app.ready)
		sites, err := app.httpApp()
		if err != nil {
			return err
		}
		for name := range servers {
			if name != "portal" {
				compareServer(t, app, sites, name, made, servers[name], seen)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatalf("seed %d: %v", seed, err)
	}
}

func compareServer(t *testing.T, app *App, sites *caddyhttp.App, name string, made *routeMaker, written any, seen *tally) {
	t.Helper()
	seen.servers++
	server := sites.Servers[name]
	found, gates, err := layOut(app, sites, name)
	if err != nil {
		return
	}
	seen.accepted++
	for _, g := range gates {
		openGate(g, found.gates[g])
	}
	covered := func(host string) bool {
		for _, at := range found.gates {
			if _, ok := originOf(at.site, host); ok && !at.errorRoute {
				return true
			}
		}
		return false
	}
	fail := func(asked string, app *markingApp) {
		routes, _ := json.MarshalIndent(written, "", " ")
		t.Fatalf("%s reached an app (of %q) without passing a gate, under\n%s", asked, app.Of, routes)
	}
	behind, around := make(map[*markingApp]bool), make(map[*markingApp]string)
	for range 24 {
		r := made.request()
		gated, asked := covered(r.Host), fmt.Sprintf("%s %s %s %v", r.Method, r.Host, r.URL, r.Header)
		reached := new(visits)
		server.ServeHTTP(httptest.NewRecorder(), r.WithContext(context.WithValue(r.Context(), visitsKey{}, reached)))
		if gated {
			seen.gated++
			seen.answered += min(1, len(reached.made))
		}
		for _, v := range reached.made {
			switch {
			case v.passed:
				behind[v.app] = true
			case gated:
				fail(asked, v.app)
			default:
				around[v.app] = asked
			}
		}
	}
	for app, asked := range around {
		if behind[app] && app.Of != "" && covered(app.Of) {
			fail(asked, app)
		}
	}
}

// layOut has the walker judge one server, as if it were alone.
func layOut(app *App, sites *caddyhttp.App, name string) (layout, []*Gate, error) {
	alone := &caddyhttp.App{Servers: map[string]*caddyhttp.Server{"portal": sites.Servers["portal"], name: sites.Servers[name]}}
	var gates []*Gate
	for _, g := range app.gates {
		if g.server == sites.Servers[name] {
			gates = append(gates, g)
		}
	}
	found, err := checkLayout(alone, app.portal, false)
	if err == nil {
		err = found.checkPlaced(gates, alone)
	}
	return found, gates, err
}

// openGate has a gate pass everything for its site's hosts.
func openGate(g *Gate, at placement) {
	headers, err := gate.NewIdentityHeaders(gate.HeaderNames{}, gate.HeaderValues{})
	if err != nil {
		panic(err)
	}
	g.placed.Store(&at)
	g.serving.Store(gate.New(gate.Settings{
		Rules: []gate.Rule{{Open: true}}, SignOns: unwatched{}, Origin: originsOf(at.site), Portal: g.app.portal, Headers: headers, Pages: g.app.pages,
		Logger: zap.NewNop(), Clock: time.Now, Random: rand.Reader, Address: func(*http.Request) string { return "" },
	}))
}

// unwatched has nothing cut off: no exchange lasts.
type unwatched struct{ gate.SignOns }

func (unwatched) Open(context.Context, *session.Connection, session.Exchange) error { return nil }

func (unwatched) Close(*session.Connection) {}

// Caddy's own errors, and what a request brings that matchers look at.
func (m *routeMaker) request() *http.Request {
	method := http.MethodGet
	if m.chance(0.05) {
		method = strings.Repeat("A", 40) // Caddy answers these itself
	}
	r := httptest.NewRequest(method, "http://a.localhost"+m.oneOf("/", "/x", "/x/y", "/y"), nil)
	r.Host = m.oneOf("a.localhost", "a.localhost", "b.localhost", "c.localhost", "A.LOCALHOST", "a.localhost:80", "elsewhere.example")
	for name, values := range map[string][]string{
		"X-A": {"1"}, "X-H": {"a.localhost", "b.localhost"}, "X-N": {"1", "no number"}, appFails: {"yes"},
	} {
		if m.chance(0.4) {
			r.Header.Set(name, m.oneOf(values...))
		}
	}
	return r
}
