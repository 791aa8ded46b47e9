package caddymodule

import (
	"crypto/rand"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
)

// D02: addresses that hold a token stay out of access logs, in any spelling.
func TestAddressesThatHoldSecrets(t *testing.T) {
	for address, want := range map[string]bool{
		"/invitation?token=x":                true,
		"/setup?token=x":                     true,
		"//invitation?token=x":               true,
		"/invitation/?token=x":               true,
		"/./invitation?token=x":              true,
		"/a/../invitation?token=x":           true,
		"/INVITATION?Token=x":                true,
		"/%69nvitation?token=x":              true,
		"/%2569nvitation?%74oken=x":          true,
		"/invitation?a=b&token=x":            true,
		"/invitation;token=x":                true,
		"/invitation%3Ftoken=x":              true,
		"/.mfa/callback?ticket=x":            true,
		"/.mfa/%63allback?ticket=x":          true,
		"/elsewhere?ticket=x":                false,
		"/invitation":                        false,
		"/sign-in?app=https://a.example.com": false,
		"/?token=x":                          false,
		"/wiki/invitation?token=x":           false,
	} {
		u, err := url.ParseRequestURI(address)
		if err != nil {
			t.Fatal(err)
		}
		if got := holdsSecret(u); got != want {
			t.Errorf("%s: %t", address, got)
		}
	}
}

// D02: nobody hides from the access log what the portal does for them, such as to try
// a password: what is left out for an access token in its query is refused.
func TestD02PortalTakesNoAccessTokens(t *testing.T) {
	made, _, err := accesstoken.New(rand.Reader, accesstoken.Service)
	if err != nil {
		t.Fatal(err)
	}
	for query, status := range map[string]int{
		"x=" + made: http.StatusBadRequest,
		"x=" + strings.ReplaceAll(made, "_", "%5f"): http.StatusBadRequest,
		"x=pct_s_x": http.StatusServiceUnavailable, // as nothing is configured
		"":          http.StatusServiceUnavailable,
	} {
		w := httptest.NewRecorder()
		err := new(Portal).ServeHTTP(w, httptest.NewRequest(http.MethodPost, "/sign-in?"+query, nil), nil)
		if w.Code != status || err != nil || strings.Contains(w.Body.String(), made) {
			t.Errorf("%q: %d, %v", query, w.Code, err)
		}
	}
	w, r := httptest.NewRecorder(), httptest.NewRequest(http.MethodPost, "/sign-in", nil)
	r.Header.Set("Referer", "https://app.example.com/?x="+made)
	if err := new(Portal).ServeHTTP(w, r, nil); err != nil || w.Code != http.StatusBadRequest {
		t.Errorf("in the Referer: %d, %v", w.Code, err)
	}
}

// D02: the filter takes out all that Caddy keeps from logs unless log_credentials is
// set.
func TestD02FilterOfCredentials(t *testing.T) {
	for _, line := range []string{
		"request>headers>Cookie delete", "request>headers>Authorization delete", "request>headers>Proxy-Authorization delete",
		"resp_headers>Set-Cookie delete",
	} {
		if !strings.Contains(layout.LogFilter, "\t"+line+"\n") {
			t.Errorf("it lacks %s", line)
		}
	}
}

// D02: what Caddy logs before or beside mfa is warned of, with the filter to write.
func TestWarningsOfLogs(t *testing.T) {
	const wiki = "wiki.example.com {\n\tLOG\n\tmfa\n\treverse_proxy localhost:3000\n}\n"
	for name, tt := range map[string]struct{ options, log, want string }{
		"credentials":                    {"log_credentials", "", "log_credentials writes session cookies"},
		"421 where hosts are compared":   {"strict_sni_host on", "log", "answer 421 before mfa"},
		"the same without an access log": {"strict_sni_host on", "", ""},
		"neither":                        {"", "log", ""},
	} {
		t.Run(name, func(t *testing.T) {
			sites := withPortal(strings.Replace(wiki, "LOG", tt.log, 1))
			if tt.options != "" {
				sites = strings.Replace(sites, "{\n", "{\n\tservers {\n\t\t"+tt.options+"\n\t}\n", 1)
			}
			found, err := arranged(t, sites)
			if err != nil {
				t.Fatal(err)
			}
			got := strings.Join(found.Warnings, "\n")
			if !strings.Contains(got, tt.want) || tt.want != "" && !strings.HasSuffix(got, "write into each log:\n"+layout.LogFilter) || tt.want == "" && got != "" {
				t.Errorf("warned: %q", got)
			}
		})
	}
}

// D02: assertions are kept out of logs where all ways to the app are known.
func TestOutlets(t *testing.T) {
	gated := func(inside string) string {
		return "wiki.example.com {\n\tmfa {\n\t\tassertion\n\t}\n" + inside + "\n}\n"
	}
	// Caddy tells of an upstream that turns unhealthy while others may still ask to
	// be told, which the race detector minds. So this one is healthy.
	healthy := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) {}))
	t.Cleanup(healthy.Close)
	for name, tt := range map[string]struct {
		sites   string
		proxies int
		unfit   string
		verbose string
	}{
		"a proxy":                 {gated("reverse_proxy localhost:3000"), 1, "", ""},
		"two, by paths":           {gated("reverse_proxy /a/* localhost:3000\nreverse_proxy localhost:3001"), 2, "", ""},
		"an app without a proxy":  {gated("templates\nfile_server"), 0, "", ""},
		"within another's answer": {gated("forward_auth localhost:3001 {\n\turi /\n\t}\n\treverse_proxy localhost:3000"), 2, "", ""},
		"within handle_response":  {gated("reverse_proxy localhost:3000 {\n\t\t@gone status 410\n\t\thandle_response @gone {\n\t\t\treverse_proxy localhost:3001\n\t\t}\n\t}"), 2, "", ""},
		"within intercept":        {gated("intercept {\n\t\t@gone status 410\n\t\thandle_response @gone {\n\t\t\treverse_proxy localhost:3001\n\t\t}\n\t}\n\treverse_proxy localhost:3000"), 2, "", ""},
		"in an error route":       {gated("reverse_proxy localhost:3000\n\thandle_errors {\n\t\tmfa\n\t\treverse_proxy localhost:3001\n\t}"), 2, "", ""},
		"FastCGI":                 {gated("php_fastcgi localhost:3000"), 1, "", "http.reverse_proxy.transport.fastcgi"},
		"health checks":           {gated("reverse_proxy " + healthy.Listener.Addr().String() + " {\n\t\thealth_uri /\n\t}"), 1, "reverse_proxy checks the health of its upstreams", ""},
		"shared with an open site": {
			"&(app) {\n\treverse_proxy localhost:3000\n}\n" + gated("invoke app") + "open.example.com {\n\tinvoke app\n}\n",
			1, "reverse_proxy answers requests that don't come by mfa, too", "",
		},
	} {
		t.Run(name, func(t *testing.T) {
			found, err := arranged(t, withNamedRoutesFirst(tt.sites))
			if err != nil {
				t.Fatal(err)
			}
			if len(found.Outlets) != 1 {
				t.Fatalf("%d outlets", len(found.Outlets))
			}
			out := found.Outlets[0]
			if len(out.Proxies) != tt.proxies || out.Unfit != tt.unfit || string(out.Verbose) != tt.verbose {
				t.Errorf("%d proxies, unfit %q, verbose %q", len(out.Proxies), out.Unfit, out.Verbose)
			}
		})
	}
}

// withNamedRoutesFirst puts named routes, which begin with &, where Caddy wants
// them: between the global options and the sites.
func withNamedRoutesFirst(sites string) string {
	global, portal, _ := strings.Cut(withPortal(""), "\n}\n")
	if !strings.HasPrefix(sites, "&") {
		return withPortal(sites)
	}
	named, rest, _ := strings.Cut(sites, "\n}\n")
	return global + "\n}\n" + named + "\n}\n" + portal + rest
}
