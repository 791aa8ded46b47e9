package test

import (
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// behindTLSProxy serves everything over plain HTTP, at a port where the peer
// is trusted to say how a request came, and at one where it isn't.
const behindTLSProxy = `
{
	servers :{{.Port "web"}} {
		trusted_proxies static 127.0.0.0/8
		trusted_proxies_strict
	}
	servers :{{.Port "stranger"}} {
		trusted_proxies static 10.0.0.0/8
		trusted_proxies_strict
	}
	mfa {
		portal https://login.example.test
		behind_tls_proxy
	}
}

http://login.example.test:{{.Port "web"}} {
	mfa_portal
}

http://wiki.example.test:{{.Port "web"}}, http://wiki.example.test:{{.Port "stranger"}} {
	mfa {
		open /open
	}
	reverse_proxy {{.Vars.app}}
	handle_errors {
		mfa
		reverse_proxy {{.Vars.app}}
	}
}
`

// TestH03BehindTLSProxy sends what a proxy that ends TLS forwards, and what
// strangers claim to have come by TLS.
func TestH03BehindTLSProxy(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Caddyfile: behindTLSProxy})
	const secure = "X-Forwarded-Proto: https"
	ask := func(method, port, host, path string, header ...string) harness.Response {
		return s.Raw(port).Send(harness.Request1(method, path, host, "", header...))
	}
	for _, c := range []struct {
		what, port, host, path string
		header                 []string
		status                 int
	}{
		{"the gate", "web", "wiki.example.test", "/x", []string{secure, "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"}, http.StatusFound},
		{"the port of TLS", "web", "wiki.example.test:443", "/.mfa/whoami", []string{secure}, http.StatusUnauthorized},
		{"the port that Caddy listens on", "web", "wiki.example.test:" + strconv.Itoa(s.Port("web")), "/.mfa/whoami", []string{secure}, http.StatusBadRequest},
		{"the portal", "web", "login.example.test", "/signed-out", []string{secure}, http.StatusOK},
		{"plain HTTP to the proxy", "web", "wiki.example.test", "/x", []string{"X-Forwarded-Proto: http"}, http.StatusForbidden},
		{"an open path by plain HTTP", "web", "wiki.example.test", "/open", nil, http.StatusForbidden},
		{"the portal by plain HTTP", "web", "login.example.test", "/sign-in", nil, http.StatusForbidden},
		{"two claims", "web", "wiki.example.test", "/open", []string{secure, "X-Forwarded-Proto: http"}, http.StatusForbidden},
		{"a stranger's claim", "stranger", "wiki.example.test", "/open", []string{secure}, http.StatusForbidden},
	} {
		t.Run(c.what, func(t *testing.T) {
			response := ask("GET", c.port, c.host, c.path, c.header...)
			if response.Err != nil || response.Status != c.status {
				t.Errorf("answered %d %v (%v)", response.Status, response.Header, response.Err)
			}
			if c.status == http.StatusFound && !strings.HasPrefix(response.Header.Get("Location"), "https://login.example.test/sign-in?request=") {
				t.Errorf("sent to %s", response.Header.Get("Location"))
			}
			if hsts := response.Header.Get("Strict-Transport-Security"); c.status == http.StatusOK && hsts == "" {
				t.Error("no HSTS on what came by HTTPS")
			}
			s.App.ExpectNone(t)
		})
	}
	t.Run("what Caddy itself takes for an error", func(t *testing.T) {
		if response := ask(strings.Repeat("M", 40), "stranger", "wiki.example.test", "/open", secure); response.Status != http.StatusForbidden {
			t.Errorf("answered %d (%v)", response.Status, response.Err)
		}
		s.App.ExpectNone(t)
	})
	if response := ask("GET", "web", "wiki.example.test", "/open", secure); response.Status != http.StatusOK {
		t.Errorf("an open path by HTTPS: %d", response.Status)
	}
	s.App.ExpectOne(t)
}
