package caddymodule

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"
)

// behindProxy is a Caddyfile whose servers trust the given proxies.
func behindProxy(servers, sites string) string {
	return `{
	` + servers + `
	mfa {
		portal https://login.example.com
		behind_tls_proxy
	}
}
` + sites
}

const trusting = "servers {\n\t\ttrusted_proxies static 10.0.0.0/8\n\t\ttrusted_proxies_strict\n\t}"

func TestLayoutBehindTLSProxy(t *testing.T) {
	const portal = `
http://login.example.com {
	mfa_portal
}`
	for _, tt := range []struct {
		name, caddyfile string
		want            []string
	}{
		{"portal and app on one server", behindProxy(trusting, portal+`
http://wiki.example.com {
	mfa
	reverse_proxy localhost:3000
}`), []string{
			"http [80] wiki.example.com",
			"https://wiki.example.com",
		}},
		{"other ports than the proxy's own", behindProxy(trusting, `
http://login.example.com:8080 {
	mfa_portal
}
http://wiki.example.com:8080 {
	mfa {
		hosts wiki.example.com:8443
	}
}`), []string{
			"http [8080] wiki.example.com:8443, wiki.example.com",
			"https://wiki.example.com:8443",
		}},
		{"a portal at a port that the gate doesn't name", strings.Replace(behindProxy(trusting, portal+`
http://wiki.example.com {
	mfa
}`), "https://login.example.com", "https://login.example.com:8443", 1), []string{
			"http [80] wiki.example.com",
			"https://wiki.example.com",
		}},
		{"catch-all", behindProxy(trusting, portal+`
http://:8080 {
	mfa {
		hosts wiki.example.com *.apps.example.com
	}
}`), []string{
			"http [8080] wiki.example.com, *.apps.example.com",
			"https://wiki.example.com",
		}},
		{"beside TLS of our own and localhost", behindProxy(trusting, portal+`
wiki.example.com:8443 {
	mfa
}
http://app.localhost:8080, http://git.example.com:8080 {
	mfa
}`), []string{
			"http [8080] app.localhost, git.example.com",
			"https [8443] wiki.example.com",
			"http://app.localhost:8080",
			"https://git.example.com",
			"https://wiki.example.com:8443",
		}},
		{"a socket that is trusted", behindProxy("servers {\n\t\ttrusted_proxies_unix\n\t\ttrusted_proxies_strict\n\t}", `
http://login.example.com, http://wiki.example.com {
	bind unix//run/portcullis.sock
	@login host login.example.com
	handle @login {
		mfa_portal
	}
	@wiki host wiki.example.com
	handle @wiki {
		mfa
	}
}`), []string{
			"http [] wiki.example.com",
			"https://wiki.example.com",
		}},
		{"only localhost, without a proxy", behindProxy("", `
login.example.com {
	mfa_portal
}
http://app.localhost:8080 {
	mfa
}`), []string{
			"http [8080] app.localhost",
			"http://app.localhost:8080",
		}},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, err := arranged(t, tt.caddyfile)
			if want := strings.Join(tt.want, "\n"); err != nil || described(found) != want {
				t.Errorf("got\n%s\n%v\nwant\n%s", described(found), err, want)
			}
			if len(found.Portals) != 1 {
				t.Errorf("%d portals", len(found.Portals))
			}
		})
	}
}

func TestLayoutBehindTLSProxyRefuses(t *testing.T) {
	for _, tt := range []struct{ name, caddyfile, want string }{
		{"gate on a server that trusts nobody", behindProxy("", `
login.example.com {
	mfa_portal
}
http://wiki.example.com {
	mfa
}`), "site wiki.example.com on server srv1 (:80): mfa guards wiki.example.com over plain HTTP behind a TLS proxy, but its server trusts no proxy: write in the global options: servers { trusted_proxies static ADDRESS }"},
		{"portal on a server that trusts nobody", behindProxy("", `
http://login.example.com {
	mfa_portal
}`), "site login.example.com on server srv0 (:80): mfa_portal is served over plain HTTP behind a TLS proxy, but its server trusts no proxy"},
		{"only another server trusts", behindProxy("servers :8080 {\n\t\ttrusted_proxies static 10.0.0.0/8\n\t\ttrusted_proxies_strict\n\t}", `
http://login.example.com:8080 {
	mfa_portal
}
http://wiki.example.com {
	mfa
}`), "mfa guards wiki.example.com over plain HTTP behind a TLS proxy, but its server trusts no proxy"},
		{"a proxy that is trusted, but not said to end TLS", strings.Replace(behindProxy(trusting, `
login.example.com {
	mfa_portal
}
http://wiki.example.com {
	mfa
}`), "behind_tls_proxy", "", 1), "mfa guards wiki.example.com over plain HTTP, which only localhost and *.localhost may use"},
		{"without a gate on the same host", behindProxy(trusting, `
http://login.example.com {
	mfa_portal
}
http://wiki.example.com {
	mfa
}
wiki.example.com {
	reverse_proxy localhost:3000
}`), "serves, without mfa, a host that mfa guards"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := arranged(t, tt.caddyfile)
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// asked is a request as Caddy would hand it over, from a peer that it trusts
// or not.
func asked(host string, trusted, overTLS bool, forwardedProto ...string) *http.Request {
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	r.Host = host
	for _, value := range forwardedProto {
		r.Header.Add("X-Forwarded-Proto", value)
	}
	if overTLS {
		r.TLS = new(tls.ConnectionState)
	}
	vars := map[string]any{caddyhttp.TrustedProxyVarKey: trusted}
	return r.WithContext(context.WithValue(r.Context(), caddyhttp.VarsCtxKey, vars))
}

func TestRefuseInsecure(t *testing.T) {
	const host = "wiki.example.com"
	bare := httptest.NewRequest(http.MethodGet, "/", nil)
	bare.Host = host
	bare.Header.Set("X-Forwarded-Proto", "https")
	for _, tt := range []struct {
		what    string
		request *http.Request
		refused bool
	}{
		{"TLS to us", asked(host, false, true), false},
		{"TLS to us, whatever is claimed", asked(host, false, true, "http"), false},
		{"TLS to the proxy", asked(host, true, false, "https"), false},
		{"in capitals", asked(host, true, false, "HTTPS"), false},
		{"a WebSocket by TLS to the proxy", asked(host, true, false, "wss"), false},
		{"plain HTTP to the proxy", asked(host, true, false, "http"), true},
		{"a plain WebSocket", asked(host, true, false, "ws"), true},
		{"a proxy that says nothing", asked(host, true, false), true},
		{"a proxy that says nothing in a word", asked(host, true, false, ""), true},
		{"H03: the claim of a stranger", asked(host, false, false, "https"), true},
		{"two claims, the client's first", asked(host, true, false, "https", "http"), true},
		{"two claims that agree", asked(host, true, false, "https", "https"), true},
		{"a list", asked(host, true, false, "https, http"), true},
		{"a list that agrees", asked(host, true, false, "https,https"), true},
		{"something like it", asked(host, true, false, "https "), true},
		{"nobody says who the peer is", bare, true},
		{"localhost", asked("app.localhost:8080", false, false), false},
		{"localhost in capitals, with a dot", asked("APP.LocalHost.", false, false), false},
		{"a look-alike of localhost", asked("localhost.example.com", false, false), true},
		{"a host that is none", asked("a b", false, false), true},
		{"no host", asked("", false, false), true},
	} {
		t.Run(tt.what, func(t *testing.T) {
			app := &App{BehindTLSProxy: true, bounded: zap.NewNop()}
			answer := httptest.NewRecorder()
			refused := app.refuseInsecure(answer, tt.request)
			if refused != tt.refused || refused != (answer.Code == http.StatusForbidden) {
				t.Errorf("refused: %t, with %d", refused, answer.Code)
			}
			if refused && (answer.Header().Get("Cache-Control") != "no-store" || answer.Header().Get("Location") != "") {
				t.Errorf("answered with %v", answer.Header())
			}
			if new(App).refuseInsecure(answer, tt.request) {
				t.Error("refused without behind_tls_proxy")
			}
		})
	}
}
