package caddymodule

import (
	"net/url"
	"strings"
	"testing"
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

// D02: what Caddy logs by itself is warned of, with the filter to write.
func TestWarningsOfLogs(t *testing.T) {
	const wiki = "wiki.example.com {\n\tmfa {\n\t\tassertion\n\t}\n\treverse_proxy localhost:3000\n}\n"
	sites := strings.Replace(withPortal(wiki), "{\n", "{\n\tservers {\n\t\tlog_credentials\n\t}\n", 1)
	found, err := arranged(t, sites)
	if err != nil {
		t.Fatal(err)
	}
	got := strings.Join(found.warnings, "\n")
	for _, want := range []string{"request>headers>X-Mfa-Assertion delete", "request>headers>Cookie delete", "log_credentials writes session cookies"} {
		if !strings.Contains(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
	}
	if found, err = arranged(t, withPortal(strings.Replace(wiki, "\t\tassertion\n", "", 1))); err != nil || len(found.warnings) > 0 {
		t.Errorf("without either: %q, %v", found.warnings, err)
	}
}
