package accesstoken

import (
	"bytes"
	"crypto/rand"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"testing/iotest"
)

// sample was made once, from bytes that count up: its form never changes, or those
// in use would be refused.
const sample = "pct_s_0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZa2AMqFI"

func TestNew(t *testing.T) {
	counting := make([]byte, 64)
	for i := range counting {
		counting[i] = byte(i)
	}
	made, selector, err := New(bytes.NewReader(counting), Service)
	if made != sample || selector != "0123456789" || err != nil {
		t.Errorf("%q, %q, %v", made, selector, err)
	}
	pattern := regexp.MustCompile("^" + Pattern + "$")
	seen := map[string]bool{}
	for range 1000 {
		made, selector, err := New(rand.Reader, Personal)
		read, ok := Selector(made)
		if err != nil || !ok || read != selector || seen[selector] || len(made) != Length || !pattern.MatchString(made) || !IsOurs(made) || Find("?token="+made+"&") != made {
			t.Fatalf("%q, %q, %v", made, selector, err)
		}
		seen[selector] = true
	}
	renewed, err := Renew(rand.Reader, Service, "0123456789")
	if read, ok := Selector(renewed); err != nil || !ok || read != "0123456789" || renewed == sample || !strings.HasPrefix(renewed, "pct_s_") {
		t.Errorf("%q, %v", renewed, err)
	}
	if _, _, err := New(iotest.ErrReader(errors.New("dry")), Service); err == nil {
		t.Error("made without randomness")
	}
}

// TestFairLetters wants no letter from a byte that would make it likelier.
func TestFairLetters(t *testing.T) {
	drawn, err := randomLetters(bytes.NewReader([]byte{255, 248, 247, 0, 250, 61, 62, 1, 1}), 3)
	if drawn != "z0z" || err != nil {
		t.Errorf("%q, %v", drawn, err)
	}
}

func TestSelector(t *testing.T) {
	if selector, ok := Selector(sample); selector != "0123456789" || !ok {
		t.Errorf("%q, %t", selector, ok)
	}
	for i := range sample {
		changed := []byte(sample)
		if changed[i]++; changed[i] == ':' {
			changed[i] = '-'
		}
		if _, ok := Selector(string(changed)); ok {
			t.Errorf("%q is taken for a token", changed)
		}
		if _, ok := Selector(sample[:i]); ok || Find(sample[:i]) != "" {
			t.Errorf("%q is taken for a token", sample[:i])
		}
	}
	for _, text := range []string{"", "pct_", sample + "0", " " + sample, strings.Replace(sample, "pct_s_", "pct_x_", 1), strings.Repeat("é", Length/2), strings.ToUpper(sample)} {
		if _, ok := Selector(text); ok {
			t.Errorf("%q is taken for a token", text)
		}
	}
}

func TestScope(t *testing.T) {
	scope, err := Scope{
		Hosts: []string{"Git.Example.com."}, Paths: []string{"/api", "/v2/"}, Methods: []string{"get", "POST"},
		From: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")},
	}.Checked()
	if err != nil || !scope.IsFor("git.example.com") || scope.IsFor("example.com") || scope.IsFor("x.git.example.com") {
		t.Errorf("%+v, %v", scope, err)
	}
	for address, from := range map[string]bool{"192.0.2.7": true, "::ffff:192.0.2.7": true, "192.0.3.7": false, "2001:db8::1": false, "": false, "x": false} {
		if scope.IsFrom(address) != from {
			t.Errorf("from %q: %t", address, !from)
		}
	}
	for _, tt := range []struct {
		method, path, upgrade string
		covered               bool
	}{
		{"GET", "/api", "", true}, {"GET", "/api/", "", true}, {"POST", "/api/x/y", "", true}, {"GET", "/v2/x", "", true}, {"GET", "/v2", "", true},
		{"GET", "/", "", false}, {"GET", "/apix", "", false}, {"GET", "/API", "", false}, {"GET", "/x/api", "", false},
		{"HEAD", "/api", "", false}, {"DELETE", "/api", "", false}, {"GET", "/api", "websocket", false}, {"CONNECT", "/api", "", false},
	} {
		r := httptest.NewRequest("GET", tt.path, nil)
		if r.Method = tt.method; tt.upgrade != "" {
			r.Header.Set("Upgrade", tt.upgrade)
		}
		if scope.Covers(r) != tt.covered {
			t.Errorf("%s %s: %t", tt.method, tt.path, !tt.covered)
		}
	}
	streams := Scope{Hosts: []string{"git.example.com"}, Methods: []string{Upgrade, "POST"}}
	for _, tt := range []struct {
		method, upgrade string
		covered         bool
	}{
		{"GET", "websocket", true}, {"CONNECT", "", true}, {"CONNECT", "websocket", true}, {"POST", "", true}, {"POST", "tcp", true},
		{"GET", "", false}, {"DELETE", "", false}, {"DELETE", "websocket", false}, {"PUT", "tcp", false}, {"HEAD", "websocket", false},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		if r.Method = tt.method; tt.upgrade != "" {
			r.Header.Set("Upgrade", tt.upgrade)
		}
		if streams.Covers(r) != tt.covered {
			t.Errorf("%s with the upgrade %q: %t", tt.method, tt.upgrade, !tt.covered)
		}
	}
	whole := Scope{Hosts: []string{"git.example.com"}}
	if r := httptest.NewRequest(http.MethodDelete, "/x", nil); !whole.Covers(r) || !whole.IsFrom("") {
		t.Error("a token for a host isn't good for all of it")
	}
}

func TestScopesThatCanNotBe(t *testing.T) {
	good := Scope{Hosts: []string{"git.example.com"}}
	for what, scope := range map[string]Scope{
		"no host":            {},
		"an origin":          {Hosts: []string{"https://git.example.com"}},
		"a port":             {Hosts: []string{"git.example.com:8443"}},
		"a wildcard":         {Hosts: []string{"*.example.com"}},
		"an empty host":      {Hosts: []string{""}},
		"a relative path":    {Hosts: good.Hosts, Paths: []string{"api"}},
		"a path with a star": {Hosts: good.Hosts, Paths: []string{"/api/*"}},
		"a path with dots":   {Hosts: good.Hosts, Paths: []string{"/api/.."}},
		"an escaped path":    {Hosts: good.Hosts, Paths: []string{"/%61pi"}},
		"a query":            {Hosts: good.Hosts, Paths: []string{"/api?x"}},
		"no method":          {Hosts: good.Hosts, Methods: []string{"GET,POST"}},
		"an address":         {Hosts: good.Hosts, From: []netip.Prefix{netip.MustParsePrefix("192.0.2.7/24")}},
	} {
		if checked, err := scope.Checked(); err == nil || !reflect.DeepEqual(checked, Scope{}) {
			t.Errorf("%s: %+v", what, checked)
		}
	}
	for name, ok := range map[string]bool{"ci": true, "Backup-NAS.2": true, "": false, "ci@token": false, "-x": false, "a b": false, "ä": false, strings.Repeat("a", 65): false} {
		if _, err := CheckName(name); (err == nil) != ok {
			t.Errorf("%q: %v", name, err)
		}
	}
}

// FuzzSelector holds that what is taken for a token is one, and is found in texts.
func FuzzSelector(f *testing.F) {
	f.Add(sample)
	f.Add("pct_p_" + strings.Repeat("0", bodyLength))
	f.Fuzz(func(t *testing.T, text string) {
		selector, ok := Selector(text)
		if ok && (!regexp.MustCompile("^"+Pattern+"$").MatchString(text) || len(selector) != selectorLength || Find("x"+text+"y") != text) {
			t.Errorf("%q is taken for a token", text)
		}
	})
}
