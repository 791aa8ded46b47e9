package caddymodule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestWalk (P09) follows what only JSON can express: each of these lets a
// request reach an app around its gate.
func TestWalk(t *testing.T) {
	const (
		app      = `{"handler": "reverse_proxy", "upstreams": [{"dial": "localhost:3000"}]}`
		gate     = `{"handler": "mfa"}`
		failing  = `{"match": [{"path": ["/x"]}], "handle": [{"handler": "error"}]}`
		harmless = `{"handler": "vars", "a": "b"}`
		onWiki   = `"match": [{"host": ["wiki.example.com"]}]`
		onLegacy = `"match": [{"host": ["legacy.example.com"]}]`
		onAdmin  = `"match": [{"host": ["admin.example.com"]}]`
		onAll    = `"match": [{"host": ["*.example.com"]}]`
		rehost   = `{"handler": "headers", "request": {"set": {"Host": ["wiki.example.com"]}}}`
		rehosted = "once request_header has changed Host, reverse_proxy can answer without mfa"
		before   = "reverse_proxy can answer requests that mfa hasn't decided on"
	)
	for _, tt := range []struct{ name, routes, rest, want string }{
		{"a group that is used up unless something fails",
			`{` + onWiki + `, "handle": [{"handler": "subroute", "routes": [
				{"handle": [{"handler": "subroute", "routes": [` + failing + `, {"group": "g", "handle": [` + harmless + `]}], "errors": {"routes": []}}]},
				{"group": "g", "handle": [` + app + `]}, {"handle": [` + gate + `]}]}]}`, "", before},
		{"a group that is used up under a matcher",
			`{` + onWiki + `, "handle": [{"handler": "subroute", "routes": [
				{"match": [{"path": ["/x"]}], "handle": [{"handler": "subroute", "routes": [{"group": "g", "handle": [` + harmless + `]}]}]},
				{"group": "g", "handle": [` + app + `]}, {"handle": [` + gate + `]}]}]}`, "", before},
		{"an end that is not reached if something fails",
			`{` + onWiki + `, "handle": [{"handler": "subroute", "routes": [
				{"terminal": true, "handle": [{"handler": "subroute", "routes": [` + failing + `]}, ` + gate + `, ` + app + `]}], "errors": {"routes": []}}, ` + app + `]}`, "", before},
		{"another host's requests after the gate",
			`{` + onWiki + `, "handle": [` + gate + `]}, {` + onLegacy + `, "handle": [` + rehost + `]}, {` + onWiki + `, "handle": [` + app + `]}`, "", rehosted},
		{"another host's responses after the gate",
			`{` + onWiki + `, "handle": [` + gate + `]}, {` + onLegacy + `, "handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "localhost:3001"}],
				"handle_response": [{"routes": [{"handle": [` + rehost + `]}]}]}]}, {` + onWiki + `, "handle": [` + app + `]}`, "", rehosted},
		{"another host's requests that failed",
			`{` + onWiki + `, "handle": [` + gate + `]}, {"handle": [{"handler": "subroute",
				"routes": [{` + onLegacy + `, "handle": [` + rehost + `, {"handler": "error"}]}], "errors": {"routes": [{` + onWiki + `, "handle": [` + app + `]}]}}]}`, "", rehosted},
		{"another host's requests that error routes have changed",
			`{` + onWiki + `, "handle": [` + gate + `]}, {"handle": [{"handler": "subroute",
				"routes": [{` + onLegacy + `, "handle": [{"handler": "error"}]}], "errors": {"routes": [{` + onLegacy + `, "handle": [` + rehost + `]}]}}]},
				{` + onWiki + `, "handle": [` + app + `]}`, "", rehosted},
		{"a host that only error routes name",
			`{` + onAll + `, "handle": [` + gate + `, ` + app + `]}`, `, "errors": {"routes": [{` + onAdmin + `, "handle": [` + app + `]}]}`, "site admin.example.com on server apps (:443): handle_errors runs reverse_proxy"},
		{"a host that only a subroute's error routes name",
			`{` + onAll + `, "handle": [{"handler": "subroute", "routes": [` + failing + `], "errors": {"routes": [{` + onAdmin + `, "handle": [` + app + `]}]}}, ` + gate + `]}`, "",
			"site admin.example.com on server apps (:443): handle_errors runs reverse_proxy"},
		{"a host that only a named route names",
			`{` + onAll + `, "handle": [{"handler": "invoke", "name": "n"}, ` + gate + `]}`, `, "named_routes": {"n": {` + onAdmin + `, "handle": [` + app + `]}}`,
			"site admin.example.com on server apps (:443): " + before},
		{"what error routes keep",
			`{` + onWiki + `, "handle": [{"handler": "subroute", "routes": [` + failing + `], "errors": {"routes": [{"handle": [` + harmless + `]}]}}, ` + gate + `]}`, "",
			"vars is in error routes that lead to mfa"},
		{"a body that error routes set",
			`{` + onWiki + `, "handle": [{"handler": "subroute", "routes": [` + failing + `], "errors": {"routes": [{"handle": [{"handler": "request_body", "set": "b"}]}]}}, ` + gate + `]}`, "",
			"request_body is in error routes that lead to mfa"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			_, err := arrangedJSON(t, []byte(`{"apps": {"mfa": {"portal": "https://login.example.com"}, "http": {"servers": {
				"apps": {"listen": [":443"], "routes": [`+tt.routes+`]`+tt.rest+`},
				"portal": {"listen": [":8443"], "routes": [{"match": [{"host": ["login.example.com"]}], "handle": [{"handler": "mfa_portal"}], "terminal": true}]}}}}}`))
			if err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("got  %v\nwant %s", err, tt.want)
			}
		})
	}
}

// A folder has one name, whatever links lead to it.
func TestFoldersBehindLinks(t *testing.T) {
	folder := t.TempDir()
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(folder, link); err != nil {
		t.Skip(err)
	}
	refusedSites(t, "wiki.example.com {\n\troot "+folder+"\n\tmfa\n\tfile_server\n}\nhttp://:8080 {\n\troot "+link+"\n\tfile_server\n}", "without mfa, which guards it as site wiki.example.com")
}
