package caddymodule

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
)

// withPortal is a Caddyfile with a portal and the given sites.
func withPortal(sites string) string {
	return `{
	mfa {
		portal https://login.example.com
	}
}
login.example.com {
	mfa_portal
}
` + sites
}

// described puts a layout into lines: gates with their hosts, apps.
func described(l layout.Layout) string {
	var lines []string
	for _, at := range l.Gates {
		if at.ErrorRoute {
			lines = append(lines, "in errors")
			continue
		}
		var hosts []string
		for _, p := range at.Site.Hosts {
			host := p.Name
			if p.Port != "" {
				host += ":" + p.Port
			}
			if len(p.Except) > 0 {
				host += " but " + strings.Join(p.Except, " ")
			}
			hosts = append(hosts, host)
		}
		lines = append(lines, fmt.Sprintf("%s %v %s", at.Site.Scheme, at.Site.Ports, strings.Join(hosts, ", ")))
	}
	slices.Sort(lines)
	for _, app := range l.Apps {
		lines = append(lines, app.URL)
	}
	return strings.Join(lines, "\n")
}

func TestLayout(t *testing.T) {
	t.Setenv("WIKI", "Wiki.example.com")
	for _, tt := range []struct {
		name, sites string
		want        []string
	}{
		{"plain site", `
wiki.example.com {
	mfa
	reverse_proxy localhost:3000
}`, []string{
			"https [443] wiki.example.com",
			"https://wiki.example.com",
		}},
		{"one site of several hosts and ports", `
wiki.example.com, docs.example.com, wiki.example.com:8443 {
	mfa
	reverse_proxy localhost:3000
}`, []string{
			"https [443] docs.example.com, wiki.example.com",
			"https [8443] wiki.example.com",
			"https://docs.example.com",
			"https://wiki.example.com",
		}},
		{"wildcard site with handle blocks for hosts", `
*.example.com {
	@wiki host wiki.example.com
	handle @wiki {
		mfa
		reverse_proxy localhost:3000
	}
	@docs host docs.example.com
	handle @docs {
		file_server
	}
	@git host git.example.com
	handle @git {
		encode
		mfa {
			assurance single
		}
		reverse_proxy localhost:3001
	}
	handle {
		abort
	}
}`, []string{
			"https [443] git.example.com",
			"https [443] wiki.example.com",
			"https://git.example.com",
			"https://wiki.example.com",
		}},
		{"wildcard site with one gate for all but one host", `
*.example.com {
	@public host public.example.com
	handle @public {
		file_server
	}
	handle {
		mfa
		reverse_proxy localhost:3000
	}
}
other.example.com {
	reverse_proxy localhost:3001
}`, []string{
			"https [443] *.example.com but login.example.com other.example.com public.example.com",
		}},
		{"wildcard site with a matcher that excludes hosts", `
*.example.com {
	@apps not host public.example.com
	handle @apps {
		mfa
		reverse_proxy localhost:3000
	}
	handle {
		file_server
	}
}`, []string{
			"https [443] *.example.com but login.example.com public.example.com",
		}},
		{"wildcard site with the gate at its top", `
*.example.com {
	mfa
	@wiki host wiki.example.com
	handle @wiki {
		reverse_proxy localhost:3000
	}
	handle {
		respond 404
	}
}`, []string{
			"https [443] *.example.com but login.example.com, wiki.example.com",
			"https://wiki.example.com",
		}},
		{"beside handle_path, encode, templates, header, rewrites", `
wiki.example.com {
	root /srv
	tracing
	header X-Frame-Options DENY
	encode
	templates
	rewrite /old /new
	redir /home /
	mfa
	handle_path /static/* {
		file_server
	}
	respond /robots.txt "User-agent: *"
	reverse_proxy localhost:3000
}`, []string{
			"https [443] wiki.example.com",
			"https://wiki.example.com",
		}},
		{"imported snippet", `
(guarded) {
	mfa {
		allow group {args[0]}
	}
}
wiki.example.com {
	import guarded engineers
	reverse_proxy localhost:3000
}
git.example.com {
	import guarded admins
	reverse_proxy localhost:3001
}`, []string{
			"https [443] git.example.com",
			"https [443] wiki.example.com",
			"https://git.example.com",
			"https://wiki.example.com",
		}},
		{"route block", `
wiki.example.com {
	route {
		request_header X-From caddy
		mfa
		reverse_proxy localhost:3000
	}
}`, []string{
			"https [443] wiki.example.com",
			"https://wiki.example.com",
		}},
		{"named route that several sites invoke", `
&(guarded) {
	mfa
	reverse_proxy localhost:3000
}
wiki.example.com {
	invoke guarded
}
git.example.com {
	invoke guarded
}`, []string{
			"https [443] git.example.com, wiki.example.com",
			"https://git.example.com",
			"https://wiki.example.com",
		}},
		{"site that accepts every host", `
:8443 {
	tls internal
	mfa {
		hosts wiki.example.com git.example.com:9443 *.apps.example.com
	}
	reverse_proxy localhost:3000
}
a.apps.example.com:8443 {
	file_server
}`, []string{
			"https [8443] wiki.example.com, git.example.com:9443, *.apps.example.com but a.apps.example.com",
			"https://git.example.com:9443",
			"https://wiki.example.com:8443",
		}},
		{"hosts add a port", `
wiki.example.com {
	mfa {
		hosts wiki.example.com:8443
	}
	reverse_proxy localhost:3000
}`, []string{
			"https [443] wiki.example.com:8443, wiki.example.com",
			"https://wiki.example.com:8443",
		}},
		{"host from the environment", `
*.example.com {
	@wiki host {env.WIKI}
	handle @wiki {
		mfa
		reverse_proxy localhost:3000
	}
}`, []string{
			"https [443] wiki.example.com",
			"https://wiki.example.com",
		}},
		{"plain HTTP on localhost beside HTTPS", `
http://app.localhost:8080, https://app.localhost:8443 {
	mfa
	reverse_proxy localhost:3000
}`, []string{
			"http [8080] app.localhost",
			"https [8443] app.localhost",
			"https://app.localhost:8443",
		}},
		{"harmless handle_errors", `
wiki.example.com {
	mfa
	reverse_proxy localhost:3000
	handle_errors 404 {
		header X-Error {err.status_code}
		respond "nothing here"
	}
	handle_errors {
		abort
	}
}`, []string{
			"https [443] wiki.example.com",
			"https://wiki.example.com",
		}},
		{"handle_errors behind mfa", `
wiki.example.com {
	mfa
	reverse_proxy localhost:3000
	handle_errors 404 {
		mfa
		rewrite * /404.html
		file_server
	}
	handle_errors {
		mfa
		reverse_proxy localhost:3000
	}
}`, []string{
			"https [443] wiki.example.com",
			"in errors",
			"in errors",
			"https://wiki.example.com",
		}},
		{"another site's handle_errors", `
wiki.example.com {
	mfa
	reverse_proxy localhost:3000
}
public.example.com {
	reverse_proxy localhost:3001
	handle_errors {
		reverse_proxy localhost:3001
	}
}`, []string{
			"https [443] wiki.example.com",
			"https://wiki.example.com",
		}},
		{"gated host redirected on other ports", `
wiki.example.com {
	mfa
	reverse_proxy localhost:3000
}
http://wiki.example.com, wiki.example.com:8443 {
	redir https://wiki.example.com{uri} 308
}
:9000 {
	reverse_proxy localhost:3001
}`, []string{
			"https [443] wiki.example.com",
			"https://wiki.example.com",
		}},
		{"beside Caddy's own redirects to HTTPS", `
:80 {
	mfa {
		hosts app.localhost
	}
	reverse_proxy localhost:3000
}`, []string{
			"http [80] app.localhost",
			"http://app.localhost",
		}},
		{"no gate", ``, nil},
	} {
		t.Run(tt.name, func(t *testing.T) {
			found, err := arranged(t, withPortal(tt.sites))
			if err != nil {
				t.Fatal(err)
			}
			if got, want := described(found), strings.Join(tt.want, "\n"); got != want {
				t.Errorf("got\n%s\nwant\n%s", got, want)
			}
			if len(found.Portals) != 1 {
				t.Errorf("%d portals", len(found.Portals))
			}
		})
	}
}

func TestWeakestAssurance(t *testing.T) {
	gate := func(settings string) string {
		return withPortal("wiki.example.com {\n\tmfa {\n" + settings + "\n\t}\n}\n")
	}
	for settings, want := range map[string]assurance.Level{
		"":                               assurance.Multi,
		"open /a":                        assurance.Multi,
		"assurance single":               assurance.Single,
		"rule /a {\nassurance single\n}": assurance.Single,
	} {
		if found, err := arranged(t, gate(settings)); err != nil || found.Weakest != want {
			t.Errorf("%q: %s, %v", settings, found.Weakest, err)
		}
	}
}

// In a local demo portal and apps share a server, and so the port in the
// portal's address.
func TestAppsBesideThePortal(t *testing.T) {
	for _, tt := range []struct{ option, portal, address, want string }{
		{"", "http://login.localhost:8080", "http://%s.localhost:8080", "http://app.localhost:8080"},
		{"https_port 8443", "https://login.localhost:8443", "%s.localhost", "https://app.localhost:8443"},
		{"https_port 8443", "https://login.localhost", "%s.localhost", "https://app.localhost"},
	} {
		found, err := arranged(t, fmt.Sprintf(`{
	%s
	mfa {
		portal %s
	}
}
%s {
	mfa_portal
}
%s {
	mfa
	reverse_proxy localhost:3000
}
`, tt.option, tt.portal, fmt.Sprintf(tt.address, "login"), fmt.Sprintf(tt.address, "app")))
		if err != nil || len(found.Apps) != 1 || found.Apps[0].URL != tt.want {
			t.Errorf("portal %s: %+v, %v; want %s", tt.portal, found.Apps, err, tt.want)
		}
	}
}
