package caddymodule

import (
	"fmt"
	"slices"
	"testing"
)

// TestTakenBefore finds what handlers before the gate take from requests, and
// nothing where that is the same for each.
func TestTakenBefore(t *testing.T) {
	for _, test := range []struct {
		name, before string
		want         []string // matchers, and values
	}{
		{"nothing", "", nil},
		{"a root", "root * /srv", nil},
		{"a root by host", "root * /srv/{host}", []string{"0 [/srv/{http.request.host}]"}},
		{"a variable", "vars area {path}", []string{"0 [{http.request.uri.path}]"}},
		{"a variable under a matcher", "@a path /a*\nvars @a area a", []string{"1 []"}},
		{"a map", "map {path} {area} {\n/a b\n}", nil},
		{"a map under a matcher", "@a path /a*\nmap @a {path} {area} {\n/a b\n}", []string{"1 []"}},
		{"what stays", "vars {\nat {time.now}\nby {remote_host}\nwith {tls_version}\nfrom {env.HOME}\n}", nil},
		{"what stays, and something else", "vars at {time.now}-{header.X-A}", []string{"0 [{time.now}-{http.request.header.X-A}]"}},
		{"in a block", "route {\nvars area {uri}\n}", nil}, // blocks come after the gate
		{"a response's header", "header X-A {path}", nil},
	} {
		t.Run(test.name, func(t *testing.T) {
			caddyfile := withPortal("app.example.com {\n" + test.before + "\nmfa\nreverse_proxy 127.0.0.1:1\n}\nother.example.com {\nvars other {path}\nmfa\nreverse_proxy 127.0.0.1:2\n}")
			raw, err := adapt(caddyfile)
			if err != nil {
				t.Fatal(err)
			}
			err = provisioned(t, raw, func(app *App) error {
				found, err := app.arrange()
				if err != nil {
					return err
				}
				found.place()
				for _, at := range found.apps {
					want := []string{"0 [{http.request.uri.path}]"}
					if at.host == "app.example.com" {
						want = test.want
					}
					var got []string
					for _, t := range takenBefore(at.gate) {
						got = append(got, fmt.Sprint(len(t.under), " ", t.values))
					}
					if !slices.Equal(got, want) {
						t.Errorf("%s: %q, not %q", at.host, got, want)
					}
				}
				return nil
			})
			if err != nil {
				t.Fatal(err)
			}
		})
	}
}

// TestUsualHosts gives the port at which browsers reach a site in place of the
// one that a client named.
func TestUsualHosts(t *testing.T) {
	raw, err := adapt(`{
	mfa {
		portal https://login.example.com:8443
	}
}
login.example.com:8443 {
	mfa_portal
}
app.example.com:8443, *.wild.example.com:8443 {
	mfa
	reverse_proxy 127.0.0.1:1
}
far.example.com:9443 {
	mfa {
		hosts far.example.com:443
	}
	reverse_proxy 127.0.0.1:1
}`)
	if err != nil {
		t.Fatal(err)
	}
	err = provisioned(t, raw, func(app *App) error {
		found, err := app.arrange()
		if err != nil {
			return err
		}
		for _, at := range found.apps {
			usual := found.gates[at.gate].usualHost
			for host, want := range map[string]map[string]string{
				"app.example.com": {
					"app.example.com": "app.example.com:8443", "app.example.com:8443": "app.example.com:8443",
					"a.wild.example.com": "a.wild.example.com:8443", "a.wild.example.com:1": "a.wild.example.com:8443",
				},
				"far.example.com": {"far.example.com": "far.example.com", "far.example.com:9443": "far.example.com"},
			}[at.host] {
				if got := usual(host); got != want {
					t.Errorf("%s: %s, not %s", host, got, want)
				}
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
