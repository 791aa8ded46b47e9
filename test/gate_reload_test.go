package test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// gateReloads is how often the configuration is loaded under traffic.
const gateReloads = 100

// gateReloadCaddyfile keeps no connections to the app: Caddy leaves them open
// for a while past a reload, which would look like a leak.
const gateReloadCaddyfile = `
{
	skip_install_trust
	auto_https disable_redirects
	mfa {
		portal https://login.localhost:{{.Port "web"}}
		admins group admins
		contact "reload REVISION"
	}
}

https://login.localhost:{{.Port "web"}} {
	tls internal
	mfa_portal
}

https://app.localhost:{{.Port "web"}} {
	tls internal
	mfa
	reverse_proxy {{.Vars.app}} {
		stream_close_delay 10m
		transport http {
			keepalive off
		}
	}
}
`

const gateGoneHost = `
https://gone.localhost:{{.Port "web"}} {
	tls internal
	mfa
	reverse_proxy {{.Vars.admin}}
}
`

// TestX07Reloads loads the configuration again and again while people work: no
// request of somebody who is signed in fails, none of anybody else passes, and
// whatever was under way goes on: streams, a sign-in, a count of failures.
func TestX07Reloads(t *testing.T) {
	t.Parallel()
	revision := func(n int) string {
		return strings.ReplaceAll(gateReloadCaddyfile, "REVISION", fmt.Sprint(n))
	}
	taken, err := net.Listen("tcp", ":0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = taken.Close() })
	_, port, _ := net.SplitHostPort(taken.Addr().String())
	s := scene.Start(t, scene.Options{Settled: 3, Caddyfile: revision(0), Scheme: "https", Vars: map[string]string{"taken": port}})
	ada, eve, victim := s.Administrator("ada"), s.Invited("eve"), s.Invited("victim")
	address := s.At("app", "/work")
	ada.Browser.Visit(address)
	session := ada.Browser.Cookie(address, sessionCookie)
	landed(t, victim.Browser.Visit(address), address)
	revoked := victim.Browser.Cookie(address, sessionCookie)
	s.Canary(session, revoked)
	expectDone(t, s, "mfa", "session", "end", "--user", "victim")
	s.Reload(revision(0))
	before := goroutines(t, s)

	half := s.Client()
	step := eve.ShowPassword(half, half.Visit(s.At("app", "/eve")))
	streams := reloadStreams(t, s, ada)
	s.App.Reset()
	traffic := startTraffic(t, s, address, session)
	for n := range gateReloads {
		passed := traffic.passed.Load()
		s.Reload(revision(n + 1))
		harness.Eventually(t, time.Minute, "requests between two reloads", func() bool { return traffic.passed.Load() > passed+10 })
		if n%20 == 0 && n/20 < freeGuesses-1 {
			guessWrong(t, s, "victim")
		}
	}
	expectOn(t, streams)
	refusedReloads(t, s, revision(gateReloads+1), func() {
		passed := traffic.passed.Load()
		harness.Eventually(t, time.Minute, "requests after a refused reload", func() bool { return traffic.passed.Load() > passed+10 })
		expectOn(t, streams)
		if sessionsOf(t, s, "ada") != 1 {
			t.Error("commands don't reach the configuration in force")
		}
	})
	traffic.stop()
	if traffic.passed.Load() == 0 || traffic.refused.Load() == 0 {
		t.Errorf("%d requests passed and %d were refused: there was no traffic", traffic.passed.Load(), traffic.refused.Load())
	}
	for _, seen := range s.App.Requests() {
		if seen.Header.Get("X-Anonymous") != "" || seen.Header.Get("Remote-User") != "ada" {
			t.Fatalf("the app saw a request of nobody: %v", seen.Header)
		}
	}
	t.Logf("%d requests passed, %d were refused", traffic.passed.Load(), traffic.refused.Load())

	landed(t, eve.ShowCode(half, step, eve.Code()), s.At("app", "/eve"))
	guessWrong(t, s, "victim")
	right := guess{name: "victim", password: victim.Password}.asRequest(s)
	if page := send(t, s.Client(), right); page.Status != http.StatusTooManyRequests {
		t.Errorf("after %d failures the next attempt was answered %d", freeGuesses, page.Status)
	}
	s.App.Reset()
	if status := askWith(s.Client(), address, revoked); status != http.StatusUnauthorized {
		t.Errorf("a sign-on that had ended before was answered %d", status)
	}
	s.App.ExpectNone(t)

	expectDone(t, s, "mfa", "session", "end", "--user", "ada")
	for _, open := range streams {
		harness.Eventually(t, 20*time.Second, "the end of "+open.what, open.Ended)
	}
	harness.Eventually(t, 20*time.Second, "the app to see the end", func() bool { return s.App.Streams() == 0 })
	harness.Eventually(t, time.Minute, "goroutines to end", func() bool { return goroutines(t, s) < before+gateReloads/5 })
	t.Logf("%d goroutines before and %d after", before, goroutines(t, s))
}

// reloadStreams opens a WebSocket and events over HTTP/1.1, and events over
// HTTP/2.
func reloadStreams(t *testing.T, s *scene.Scene, p *scene.Person) []stream {
	t.Helper()
	events := func(uri string) harness.Request {
		return harness.Request{URL: s.At("app", uri), Mode: harness.Fetch, Header: http.Header{"Accept": {"text/event-stream"}}}
	}
	return []stream{
		{Live: p.Browser.WebSocket(t, s.At("app", "/socket"), false), what: "a WebSocket", uri: "/socket", app: s.App},
		{Live: p.Browser.HTTP1().Download(t, events("/events/1")), what: "events over HTTP/1.1", uri: "/events/1", app: s.App},
		{Live: p.Browser.Tab().Download(t, events("/events/2")), what: "events over HTTP/2", uri: "/events/2", app: s.App},
	}
}

// guessWrong fails to sign in, once.
func guessWrong(t *testing.T, s *scene.Scene, name string) {
	t.Helper()
	wrong := guess{name: name, password: "not the password"}.asRequest(s)
	if page := send(t, s.Client(), wrong); page.Status != http.StatusUnprocessableEntity {
		t.Errorf("a wrong password was answered %d: %s", page.Status, page.Text())
	}
}

// goroutines returns how many the server has.
func goroutines(t *testing.T, s *scene.Scene) (total int) {
	t.Helper()
	profile, err := s.AdminGet("/debug/pprof/goroutine?debug=1")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := fmt.Sscanf(profile, "goroutine profile: total %d", &total); err != nil {
		t.Fatalf("reading a profile: %v", err)
	}
	return total
}

// refusedReloads hands over what has to be refused, each for another reason and
// at another time, and looks each time whether all goes on.
func refusedReloads(t *testing.T, s *scene.Scene, caddyfile string, goesOn func()) {
	t.Helper()
	inTheWay := filepath.Join(s.Dir(), "file")
	if err := os.WriteFile(inTheWay, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	option := func(line string) string {
		return strings.Replace(caddyfile, "admins group admins", "admins group admins\n\t\t"+line, 1)
	}
	for _, bad := range []struct{ what, caddyfile, says string }{
		{"an unknown option", option("frobnicate yes"), "frobnicate"},
		{"a portal that nobody serves", strings.Replace(caddyfile, "mfa_portal", "respond hello", 1), "mfa_portal"},
		{"a store that can't be made", option("store sqlite {{.Dir}}/file/store.db"), "store"},
		{"keys that are not there", option("keys {{.Dir}}/none/keys.json"), "key"},
		{"a port that is taken", caddyfile + "\nhttp://:{{.Vars.taken}} {\n\trespond hello\n}\n", "address already in use"},
	} {
		if why := s.MustRefuseReload(bad.caddyfile); !strings.Contains(why, bad.says) {
			t.Errorf("%s was refused for another reason: %s", bad.what, why)
		}
		goesOn()
	}
}

// traffic is what several clients send without a pause.
type traffic struct {
	passed, refused atomic.Int64

	cancel context.CancelFunc
	ended  sync.WaitGroup
}

func (f *traffic) stop() {
	f.cancel()
	f.ended.Wait()
}

// startTraffic sends requests over HTTP/1.1 and HTTP/2, with a session and
// without, until it is stopped. It fails the test for each one that is not
// answered as it should be.
func startTraffic(t *testing.T, s *scene.Scene, address, session string) *traffic {
	ctx, cancel := context.WithCancel(context.Background())
	f := &traffic{cancel: cancel}
	t.Cleanup(f.stop)
	for i := range 5 {
		transport := localTransport(s, i%2 == 0)
		// Some ask over a new connection each time, which finds whatever the
		// server is like at that moment.
		transport.DisableKeepAlives = i%2 == 1
		client := &http.Client{
			Transport:     transport,
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		anonymous := i >= 3
		f.ended.Go(func() {
			for ctx.Err() == nil {
				status, body, err := ask(client, address, session, anonymous)
				switch {
				case errors.Is(err, syscall.ECONNRESET), transport.DisableKeepAlives && errors.Is(err, io.EOF):
					// At a reload Linux resets connections that wait at the
					// old socket and that Caddy had no time to accept, and
					// Caddy hangs up on those of which it hadn't read yet,
					// with or without a gate. No handler saw the request.
				case err != nil:
					t.Errorf("a request failed: %v", err)
				case anonymous && status == http.StatusUnauthorized:
					f.refused.Add(1)
				case !anonymous && status == http.StatusOK && strings.Contains(body, "Hello ada"):
					f.passed.Add(1)
				default:
					t.Errorf("anonymous %t: answered %d %q", anonymous, status, body)
				}
			}
		})
	}
	return f
}

// localTransport reaches this machine whatever the name.
func localTransport(s *scene.Scene, http2 bool) *http.Transport {
	transport := &http.Transport{
		DialContext: func(ctx context.Context, network, _ string) (net.Conn, error) {
			return new(net.Dialer).DialContext(ctx, network, s.Addr("web"))
		},
		TLSClientConfig: &tls.Config{RootCAs: s.RootCAs()},
		Protocols:       new(http.Protocols),
	}
	transport.Protocols.SetHTTP1(!http2)
	transport.Protocols.SetHTTP2(http2)
	return transport
}

func ask(client *http.Client, address, session string, anonymous bool) (status int, body string, err error) {
	request, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return 0, "", err
	}
	if anonymous {
		request.Header.Set("X-Anonymous", "yes")
	} else {
		request.Header.Set("Cookie", "__Host-mfa="+session)
	}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer func() { _ = response.Body.Close() }()
	read, err := io.ReadAll(response.Body)
	return response.StatusCode, string(read), err
}

// TestGateForgetsHosts has a request signed for a host that then leaves the
// configuration (R03): no ticket is given for it any more, and a reload that
// is refused changes nothing.
func TestGateForgetsHosts(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 1, Caddyfile: gateReloadCaddyfile + gateGoneHost, Scheme: "https"})
	ada := s.Administrator("ada")
	signed := s.Client().Get(s.At("gone", "/x")).Location()
	if !strings.HasPrefix(signed, s.At("login", "/sign-in?request=")) {
		t.Fatalf("the gate leads to %q", signed)
	}
	s.MustRefuseReload(strings.NewReplacer(
		"tls internal\n\tmfa\n", "tls internal\n\tmfa {\n\t\thosts other.localhost\n\t\tassurance phishing_resistant\n\t}\n",
		"admins group admins\n", "admins group admins\n\t\tfido off\n",
	).Replace(gateReloadCaddyfile))
	if page := ada.Browser.Visit(s.At("gone", "/x")); page.Status != http.StatusOK {
		t.Fatalf("after a refused reload: %d %s", page.Status, page.Text())
	}
	s.Admin.ExpectOne(t)
	s.Admin.Reset()

	s.Reload(gateReloadCaddyfile)
	page := ada.Browser.Get(signed)
	if page.Status != http.StatusBadRequest || page.Location() != "" {
		t.Errorf("the portal answered %d %s", page.Status, page.Location())
	}
	s.Admin.ExpectNone(t)
}
