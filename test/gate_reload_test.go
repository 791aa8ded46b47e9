package test

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
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
const gateReloads = 20

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
	reverse_proxy {{.Vars.app}}
}
`

const gateGoneHost = `
https://gone.localhost:{{.Port "web"}} {
	tls internal
	mfa
	reverse_proxy {{.Vars.admin}}
}
`

// TestGateReloadUnderTraffic loads the configuration again and again while
// people work: no request of somebody who is signed in fails, and none of
// anybody else passes.
func TestGateReloadUnderTraffic(t *testing.T) {
	revision := func(n int) string {
		return strings.ReplaceAll(gateReloadCaddyfile, "REVISION", fmt.Sprint(n))
	}
	s := scene.Start(t, scene.Options{Caddyfile: revision(0), Scheme: "https"})
	ada := s.Administrator("ada")
	address := s.At("app", "/work")
	ada.Browser.Visit(address)
	session := ada.Browser.Cookie(address, "__Host-mfa")
	s.Canary(session)
	s.App.Reset()

	traffic := startTraffic(t, s, address, session)
	for n := range gateReloads {
		before := traffic.passed.Load()
		s.Reload(revision(n + 1))
		harness.Eventually(t, time.Minute, "requests between two reloads", func() bool { return traffic.passed.Load() > before+10 })
	}
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
		client := &http.Client{
			Transport:     localTransport(s, i%2 == 0),
			CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
		}
		anonymous := i >= 3
		f.ended.Go(func() {
			for ctx.Err() == nil {
				status, body, err := ask(client, address, session, anonymous)
				switch {
				case errors.Is(err, syscall.ECONNRESET):
					// At a reload Linux resets connections that wait at the
					// old socket and that Caddy had no time to accept, with
					// or without a gate. No handler saw the request.
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
	s := scene.Start(t, scene.Options{Caddyfile: gateReloadCaddyfile + gateGoneHost, Scheme: "https"})
	ada := s.Administrator("ada")
	signed := s.Client().Get(s.At("gone", "/x")).Location()
	if !strings.HasPrefix(signed, s.At("login", "/sign-in?request=")) {
		t.Fatalf("the gate leads to %q", signed)
	}
	s.MustRefuseReload(strings.Replace(gateReloadCaddyfile, "tls internal\n\tmfa\n", "tls internal\n\tmfa {\n\t\thosts other.localhost\n\t\tassurance phishing_resistant\n\t}\n", 1))
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
