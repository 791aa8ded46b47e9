package matching

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func matchersOf(t *testing.T, text string) []caddy.ModuleMap {
	t.Helper()
	var sets []caddy.ModuleMap
	if err := json.Unmarshal([]byte(text), &sets); err != nil {
		t.Fatal(err)
	}
	return sets
}

// TestPatternsThatNeverMatch writes path matchers that no canonical path
// matches, some of which would open a site (P09).
func TestPatternsThatNeverMatch(t *testing.T) {
	for _, tt := range []struct{ matchers, want string }{
		{`{"path": ["/ad%6din*"]}`, `path /ad%6din*: it can never match, since %6d comes to rules as "m": write /admin*`},
		{`{"path": ["/a", "/b%2Dc"]}`, "write /b-c"},
		{`{"path": ["/a%2"]}`, "write %25"},
		{`{"path": ["/100%"]}`, "write %25"},
		{`{"path": ["/a%zz"]}`, "write %25"},
		{`{"path": ["/a%00"]}`, "control characters"},
		{`{"path": ["admin*"]}`, "write /admin*"},
		{`{"path": ["https://app.example.com/a"]}`, "begins with a slash"},
		{`{"path": [""]}`, "it is empty"},
		{`{"path": ["/a/../b"]}`, `no path has a segment ".."`},
		{`{"path": ["/./a/*"]}`, `no path has a segment "."`},
		{`{"path": ["/a[b"]}`, "never closed"},
		{`{"path": ["/a?b=c"]}`, "a path matcher never sees the query"},
		{`{"not": [{"path": ["/ad%6din*"]}]}`, "write /admin*"},
		{`{"not": [{"method": ["GET"]}, {"not": [{"path": ["/ad%6din*"]}]}]}`, "write /admin*"},
		{`{"expression": "path('/x', '/ad%6din*') && method('GET')"}`, "write /admin*"},
		{`{"expression": {"expr": "!path(\"/ad%6din*\")", "name": "x"}}`, "write /admin*"},

		{`{"path": ["/admin*", "*.css", "*x*", "/a/*/b", "*", "/%2f*", "/a%20b", "/caf%C3%A9", "/%*/x", "/a%25", "/v?/x", "/a[bc]", "/..a/b", "//x"]}`, ""},
		{`{"path": ["{env.X}/ad%6din"]}`, ""},
		{`{"header": {"Referer": ["*ad%6din*"]}, "path_regexp": {"pattern": "^/ad%6din"}}`, ""},
		{`{"expression": "header({'Referer': '/ad%6din'})"}`, ""},
	} {
		err := CheckPatterns(matchersOf(t, "["+tt.matchers+"]"))
		if tt.want == "" && err != nil || tt.want != "" && (err == nil || !strings.Contains(err.Error(), tt.want)) {
			t.Errorf("%s: %v; want %q", tt.matchers, err, tt.want)
		}
	}
}

// TestLooksAtQuery finds out which matchers look at the query (P06).
func TestLooksAtQuery(t *testing.T) {
	for _, tt := range []struct {
		matchers string
		looks    bool
		names    []string // some of those that are found
	}{
		{`{"query": {"action": ["admin"]}}`, true, []string{"action"}},
		{`{"query": {}}`, true, nil},
		{`{"not": [{"query": {"private": ["*"]}}]}`, true, []string{"private"}},
		{`{"path": ["/{http.request.uri.query.page}"]}`, true, nil},
		{`{"path": ["/{query.page}"]}`, true, nil},
		{`{"path": ["/{http.vars.page}"]}`, true, nil},
		{`{"host": ["{http.request.uri.query.h}"]}`, true, nil},
		{`{"header": {"X-Token": ["{http.request.uri.query.token}"]}}`, true, nil},
		{`{"expression": "{http.request.uri.query.action} == 'admin'"}`, true, []string{"action"}},
		{`{"expression": "{http.request.uri}.contains('action=admin')"}`, true, []string{"action"}},
		{`{"expression": "query({'action': 'admin'})"}`, true, []string{"action"}},
		{`{"expression": "query ({'action': 'admin'})"}`, true, nil},
		{`{"expression": "query // x\n ({'action': 'admin'})"}`, true, nil},
		{`{"expression": "ph(req, 'http.request.uri.query') == 'x'"}`, true, nil},
		{`{"expression": "ph(req, 'http.request.uri' + '.query') == 'x'"}`, true, nil},
		{`{"expression": "header({'X': '\\{http.request.uri.query.a}'})"}`, true, nil},
		{`{"expression": "vars({'{http.request.uri.query.a}': 'b'})"}`, true, nil},
		{`{"expression": "somebodys('x')"}`, true, nil},
		{`{"vars": {"{http.request.uri.query.action}": ["admin"]}}`, true, []string{"action"}},
		{`{"vars": {"action": ["admin"]}}`, true, nil},
		{`{"vars_regexp": {"{http.request.uri}": {"pattern": "action=admin"}}}`, true, []string{"action"}},
		{`{"url_pattern": {"pattern": "/books/:id"}}`, true, nil},
		{`{"file": {}}`, true, nil},
		{`{"abacus": {}}`, true, nil},
		{`{"not": {}}`, true, nil},

		{`{"path": ["/a", "{env.X}/b", "/{http.request.host}"], "method": ["GET"], "host": ["a"]}`, false, nil},
		{`{"path_regexp": {"pattern": "^/a{2}/\\d{1,3}"}, "header_regexp": {"X": {"pattern": "{query.x}"}}}`, false, nil},
		{`{"header": {"X": ["a"]}, "protocol": "https", "tls": {}, "remote_ip": {"ranges": ["10.0.0.0/8"]}, "client_ip": {"ranges": ["10.0.0.0/8"]}}`, false, nil},
		{`{"vars": {"{http.request.uri.path}": ["/a"]}}`, false, nil},
		{`{"expression": "path('/notes/*') && !method('GET') && {http.request.uri.path}.startsWith('/n') && header({'X': 'query'})"}`, false, nil},
	} {
		looks, names := LooksAtQuery(matchersOf(t, "["+tt.matchers+"]"))
		if looks != tt.looks {
			t.Errorf("%s: looks: %t", tt.matchers, looks)
		}
		for _, name := range tt.names {
			if !slices.Contains(names, name) {
				t.Errorf("%s: names %q", tt.matchers, names)
			}
		}
	}
}

func TestPlainPatterns(t *testing.T) {
	got := PlainPatterns(matchersOf(t, `[
		{"path": ["/Index.php/public/*", "/a", "*.css", "/a/*/b", "/{env.X}/*", "/%2f"]},
		{"expression": "path('/b.php/x') || method('GET')"}
	]`))
	if want := []string{"/index.php/public/*", "/a", "/b.php/x"}; !slices.Equal(got, want) {
		t.Errorf("got %q", got)
	}
}

func TestPatternsTell(t *testing.T) {
	for raw, want := range map[string]bool{
		`{"path": ["/x", "/y/*"]}`:                                      true,
		`{"path": ["/x"], "method": ["GET"], "header": {"X-A": ["1"]}}`: true,
		`{"not": [{"path": ["/x/*"]}]}`:                                 true,
		`{"query": {"a": ["b"]}}`:                                       true,
		`{"path": ["*.php"]}`:                                           false,
		`{"path": ["/x"], "path_regexp": {"pattern": "x"}}`:             false,
		`{"expression": "path('/x')"}`:                                  false,
		`{"vars": {"{http.request.uri}": ["/x"]}}`:                      false,
		`{"header": {"X-A": ["{http.request.uri.path}"]}}`:              false,
		`{"host": ["{http.request.uri.query.h}"]}`:                      false,
		`{"header": {"X-A": ["{area}"]}}`:                               false,
		`{"file": {}}`:                                                  false,
		`{"not": [{"path_regexp": {"pattern": "x"}}]}`:                  false,
	} {
		var set caddy.ModuleMap
		if err := json.Unmarshal([]byte(raw), &set); err != nil {
			t.Fatal(err)
		}
		if got := PatternsTell([]caddy.ModuleMap{set}); got != want {
			t.Errorf("%s: %t", raw, got)
		}
	}
}
