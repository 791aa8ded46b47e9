package origin

import (
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/gate/canonical"
)

func TestParseHostPattern(t *testing.T) {
	for _, tt := range []struct{ written, name, port string }{
		{"app.example.com", "app.example.com", ""},
		{"App.Example.com:8443", "app.example.com", "8443"},
		{"*.example.com", "*.example.com", ""},
		{"bücher.example.com", "xn--bcher-kva.example.com", ""},
		{"localhost:8080", "localhost", "8080"},
		{"192.0.2.1", "192.0.2.1", ""},
		{"[2001:db8::1]:8443", "2001:db8::1", "8443"},
	} {
		got, err := ParsePattern(tt.written)
		if err != nil || got.Name != tt.name || got.Port != tt.port {
			t.Errorf("ParsePattern(%q) = %+v, %v", tt.written, got, err)
		}
	}
	for _, written := range []string{
		"", "*", "*.*.example.com", "app.*.com", "*example.com", "a..b", ".example.com", "example.com.",
		"a:b:c", "example.com:", "example.com:0", "example.com:080", "example.com:65536", ":443",
		"exa mple.com", "https://example.com", "example.com/", "user@example.com", "[::1", "::1",
		strings.Repeat("a", 64) + ".com",
	} {
		if got, err := ParsePattern(written); err == nil {
			t.Errorf("ParsePattern(%q) = %+v", written, got)
		}
	}
}

func TestOrigin(t *testing.T) {
	tls := Site{
		Scheme: "https",
		Ports:  []string{"443", "9443"},
		Hosts: []Pattern{
			{Name: "wiki.example.com"},
			{Name: "git.example.com", Port: "7443"},
			{Name: "*.apps.example.com", Except: []string{"public.apps.example.com"}},
			{Name: "2001:db8::1"},
		},
	}
	plain := Site{Scheme: "http", Ports: []string{"8080"}, Hosts: []Pattern{{Name: "app.localhost"}}}
	proxied := Site{Scheme: "http", Ports: []string{"80", "8080"}, Hosts: []Pattern{
		{Name: "wiki.example.com"}, {Name: "git.example.com", Port: "7443"}, {Name: "app.localhost"},
	}}
	for _, tt := range []struct {
		site         Site
		host, origin string // an empty origin: not the site's
	}{
		{tls, "wiki.example.com", "https://wiki.example.com"},
		{tls, "wiki.example.com:443", "https://wiki.example.com"},
		{tls, "wiki.example.com:9443", "https://wiki.example.com:9443"},
		{tls, "wiki.example.com:7443", ""},
		{tls, "wiki.example.com:80", ""},
		{tls, "git.example.com:7443", "https://git.example.com:7443"},
		{tls, "git.example.com", "https://git.example.com"},
		{tls, "a.apps.example.com", "https://a.apps.example.com"},
		{tls, "apps.example.com", ""},
		{tls, ".apps.example.com", ""},
		{tls, "a.b.apps.example.com", ""},
		{tls, "public.apps.example.com", ""},
		{tls, "public.apps.example.com:9443", ""},
		{tls, "*.apps.example.com.evil.example", ""},
		{tls, "[2001:db8::1]", "https://[2001:db8::1]"},
		{tls, "[2001:db8::1]:9443", "https://[2001:db8::1]:9443"},
		{tls, "2001:db8::1", ""},
		{tls, "evil.example", ""},
		{tls, "xwiki.example.com", ""},
		{tls, "wiki.example.com.evil.example", ""},
		{tls, "wiki.example.com.", "https://wiki.example.com"},
		{tls, "wiki.example.com:", ""},
		{tls, "wiki.example.com:0443", ""},
		{tls, "wiki.example.com:443:443", ""},
		{tls, "wiki.example.com:+443", ""},
		{tls, "", ""},
		{tls, ":443", ""},
		{plain, "app.localhost:8080", "http://app.localhost:8080"},
		{plain, "app.localhost", "http://app.localhost"},
		{plain, "app.localhost:80", "http://app.localhost"},
		{plain, "app.localhost:443", ""},
		{proxied, "wiki.example.com", "https://wiki.example.com"},
		{proxied, "wiki.example.com:443", "https://wiki.example.com"},
		{proxied, "wiki.example.com:80", ""},
		{proxied, "wiki.example.com:8080", ""},
		{proxied, "git.example.com:7443", "https://git.example.com:7443"},
		{proxied, "app.localhost:8080", "http://app.localhost:8080"},
		{proxied, "app.localhost", "http://app.localhost"},
		{proxied, "app.localhost:443", ""},
	} {
		origin, ok := originOf(tt.site, tt.host)
		if origin != tt.origin || ok != (tt.origin != "") {
			t.Errorf("Origin(%q) = %q, %v; want %q", tt.host, origin, ok, tt.origin)
		}
	}
}

// originOf is how a gate asks.
func originOf(s Site, host string) (string, bool) {
	name, port, err := canonical.Host(host)
	if err != nil {
		return "", false
	}
	return s.Origin(name, port)
}

func FuzzOrigin(f *testing.F) {
	f.Add("a.apps.example.com:9443")
	f.Add("[::1]:443")
	s := Site{Scheme: "https", Ports: []string{"9443"}, Hosts: []Pattern{{Name: "*.apps.example.com"}}}
	f.Fuzz(func(t *testing.T, host string) {
		origin, ok := originOf(s, host)
		if !ok {
			if origin != "" {
				t.Fatalf("%q: origin %q beside a refusal", host, origin)
			}
			return
		}
		label, isOurs := strings.CutSuffix(strings.TrimSuffix(strings.TrimPrefix(origin, "https://"), ":9443"), ".apps.example.com")
		if !isOurs || label == "" || strings.Contains(label, ".") {
			t.Fatalf("%q gave the origin %q", host, origin)
		}
	})
}
