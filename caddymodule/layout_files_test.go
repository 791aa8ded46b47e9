package caddymodule

import (
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

func init() {
	caddy.RegisterModule(new(layer4))
}

// layer4 stands for the app of that name, which isn't part of Caddy.
type layer4 struct{}

func (*layer4) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "layer4", New: func() caddy.Module { return new(layer4) }}
}

func (*layer4) Start() error { return nil }
func (*layer4) Stop() error  { return nil }

// TestLayoutOfChoices (P09) refuses what lets clients choose which app or folder is
// behind a gate.
func TestLayoutOfChoices(t *testing.T) {
	const (
		upstream = " for its upstream, so clients could choose the app of another site"
		folder   = " for the folder of its files, so clients could choose any other folder"
	)
	for inside, want := range map[string]string{
		"reverse_proxy {header.X-Backend}":                                                       "reverse_proxy takes {http.request.header.X-Backend}" + upstream,
		"reverse_proxy localhost:{query.port}":                                                   "{http.request.uri.query.port}" + upstream,
		"reverse_proxy {\ndynamic a {cookie.app} 3000\n}":                                        "{http.request.cookie.app}" + upstream,
		"reverse_proxy {\ndynamic srv {header.X-App}.example.com\n}":                             "{http.request.header.x-app}" + upstream,
		"reverse_proxy {\ndynamic multi {\na app 3000\na {query.app} 3000\n}\n}":                 "{http.request.uri.query.app}" + upstream,
		"reverse_proxy localhost:1 {\nhandle_response {\nreverse_proxy {header.X-Backend}\n}\n}": "X-Backend}" + upstream,
		"root * /srv/{query.folder}\nfile_server":                                                "vars takes {http.request.uri.query.folder}" + folder,
		"root * /srv/{cookie.theme}\nphp_fastcgi localhost:9000":                                 "vars takes {http.request.cookie.theme}" + folder,
		"file_server {\nroot /srv/{header.X-Folder}\n}":                                          "file_server takes {http.request.header.X-Folder}" + folder,
		"fs {query.fs}\nfile_server":                                                             "{http.request.uri.query.fs}" + folder,
		"file_server {\nfs {query.fs}\n}":                                                        "file_server takes {http.request.uri.query.fs}" + folder,
		"php_fastcgi localhost:9000 {\nroot /srv/{query.r}\n}":                                   "{http.request.uri.query.r}" + folder,
		"reverse_proxy {labels.0}:3000":                                                          "",
		"root * /srv/{host}\nfile_server":                                                        "",
		"reverse_proxy {env.HOME}":                                                               "",
		"vars theme {query.theme}\nfile_server":                                                  "",
	} {
		_, err := arranged(t, withPortal("wiki.example.com {\nmfa\n"+inside+"\n}\n"))
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: got  %v\nwant %s", inside, err, want)
		}
	}
}

// TestUpstreamsLookedUp (P09) tells upstreams apart by what is looked up, not by how.
func TestUpstreamsLookedUp(t *testing.T) {
	const shared = "serves %s without mfa, which guards it as site wiki.example.com"
	for _, test := range []struct{ gated, open, want string }{
		{"dynamic a app.internal 3000", "to app.internal:3000", "app.internal:3000"},
		{"to app.internal:80", "dynamic a {\nname app.internal\nrefresh 5s\n}", "app.internal:80"},
		{"dynamic a localhost 3000", "to 127.0.0.1:3000", "localhost:3000"},
		{"dynamic srv _http._tcp.App.internal", "dynamic srv {\nservice http\nproto tcp\nname app.internal\nrefresh 5s\n}", "srv _http._tcp.app.internal"},
		{"dynamic multi {\na other 3000\na app.internal 3000\n}", "to app.internal:3000", "app.internal:3000"},
		{"to app.internal:3000", "dynamic multi {\nsrv x.internal\na app.internal 3000\n}", "app.internal:3000"},
		{"dynamic multi {\na app.internal 3000\n}", "dynamic multi {\na other.internal 3000\n}", ""},
		{"dynamic a app.internal 3000", "dynamic a app.internal 3001", ""},
		{"dynamic srv app.internal", "to app.internal:3000", ""},
	} {
		_, err := arranged(t, withPortal("wiki.example.com {\nmfa\nreverse_proxy {\n"+test.gated+"\n}\n}\nhttp://:8080 {\nreverse_proxy {\n"+test.open+"\n}\n}"))
		if want := strings.Replace(shared, "%s", test.want, 1); (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s, %s: got  %v\nwant %s", test.gated, test.open, err, want)
		}
	}
	refusedSites(t, "wiki.example.com {\n\troot /srv\n\tfs files\n\tmfa\n\tfile_server\n}\nhttp://:8080 {\n\troot /srv\n\tfile_server {\n\t\tfs files\n\t}\n}", "file_server serves the folder /srv without mfa")
}

// TestWarningsOfFiles tells operators which rules can't hold where a site serves files.
func TestWarningsOfFiles(t *testing.T) {
	const include = "requests by httpInclude in templates come from 127.0.0.1"
	for inside, want := range map[string]string{
		"mfa {\nrule /app.html {\nallow user bob\n}\n}\ntry_files {path} /app.html\nfile_server":                                "a rule of mfa is about /app.html, but try_files or php_fastcgi serves that file for other paths",
		"mfa {\nrule /App.html {\nallow user bob\n}\n}\ntry_files {path} /app.html {\npolicy smallest_size\n}\nfile_server":     "about /app.html",
		"mfa {\nrule /index.php {\nallow user bob\n}\n}\nphp_fastcgi localhost:9000":                                            "about /index.php",
		"mfa {\nopen /app.html\n}\ntry_files {path} /app.html\nfile_server":                                                     "",
		"mfa {\nrule /app/* {\nallow user bob\n}\n}\ntry_files {path} /app.html\nfile_server":                                   "",
		"@lan client_ip 127.0.0.0/8\nmfa {\nopen @lan\n}\ntemplates\nfile_server":                                               include,
		"@lan remote_ip 127.0.0.0/8\nmfa {\nopen @lan\n}\nhandle /x {\ntemplates\nfile_server\n}":                               include,
		"@lan `client_ip('127.0.0.0/8')`\nmfa {\nopen @lan\n}\nreverse_proxy localhost:1 {\nhandle_response {\ntemplates\n}\n}": include,
		"@lan vars {client_ip} 127.0.0.1\nmfa {\nopen @lan\n}\ntemplates\nfile_server":                                          include,
		"mfa {\nrule /secret/* {\nallow user bob\n}\n}\nfile_server browse":                                                     "the names of files that a rule of mfa guards, such as /secret/*",
		"mfa {\nrule /secret/* {\nallow user bob\n}\n}\nhandle /x {\nrespond ok\n}\nhandle {\nfile_server browse\n}":            "such as /secret/*",
		"mfa {\nrule /secret/* {\nallow user bob\n}\n}\nfile_server /public/* browse":                                           "",
		"mfa\nfile_server browse":                                      "",
		"mfa {\nopen /public/*\n}\ntemplates\nfile_server":             "",
		"@lan client_ip 127.0.0.0/8\nmfa {\nopen @lan\n}\nfile_server": "",
	} {
		found, err := arranged(t, withPortal("wiki.example.com {\n"+inside+"\n}\n"))
		got := strings.Join(found.Warnings, "\n")
		if err != nil || !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %v, %q", inside, err, got)
		}
	}
	raw, err := adapt(withPortal("wiki.example.com {\nmfa\nreverse_proxy localhost:3000\n}\n"))
	if err != nil {
		t.Fatal(err)
	}
	found, err := arrangedJSON(t, []byte(strings.Replace(string(raw), `{"apps":{`, `{"apps":{"layer4":{},`, 1)))
	if got := strings.Join(found.Warnings, "\n"); err != nil || !strings.Contains(got, "the app layer4 can hand connections straight to what mfa guards") {
		t.Errorf("%v, %q", err, got)
	}
}

// TestWarningsOfPrefixes (P02) tells operators where one page has a second path that
// their rules don't hold for.
func TestWarningsOfPrefixes(t *testing.T) {
	const (
		rule  = "mfa {\nrule /admin* {\nallow user bob\n}\n}\n"
		both  = "@both path /admin* /pub/admin*\nmfa {\nrule @both {\nallow user bob\n}\n}\n"
		open  = "mfa {\nopen /pub/*\n}\n"
		holds = "/pub/… leads to the same pages of localhost:1 as the path without /pub, but the rule for /admin* doesn't apply there: write it for /pub/admin*, too"
		opens = "/pub/… leads to the same pages of localhost:1 as the path without /pub, so open lets everybody see all of them"
	)
	for inside, want := range map[string]string{
		rule + "handle_path /pub/* {\nreverse_proxy localhost:1\n}\nreverse_proxy localhost:1":                                                     holds,
		rule + "handle_path /pub/* {\nreverse_proxy localhost:1\n}\nhandle {\nreverse_proxy localhost:1\n}":                                        holds,
		rule + "handle_path /pub/* {\nphp_fastcgi 127.0.0.1:1\n}\nhandle {\nreverse_proxy localhost:1\n}":                                          holds,
		rule + "uri /pub/* strip_prefix /pub\nreverse_proxy localhost:1":                                                                           holds,
		rule + "route /pub/* {\nuri strip_prefix pub\nreverse_proxy localhost:1\n}\nreverse_proxy localhost:1":                                     holds,
		open + "handle_path /pub/* {\nreverse_proxy localhost:1\n}\nreverse_proxy localhost:1":                                                     opens,
		open + "handle_path /pub/* {\nroot * /srv\nfile_server\n}\nhandle {\nroot * /srv\nfile_server\n}":                                          "same pages of the folder /srv",
		both + "handle_path /pub/* {\nreverse_proxy localhost:1\n}\nreverse_proxy localhost:1":                                                     "",
		rule + "handle_path /pub/* {\nreverse_proxy localhost:1\n}\nreverse_proxy localhost:2":                                                     "",
		rule + "handle_path /pub/* {\nreverse_proxy localhost:1\n}\nhandle {\nreverse_proxy localhost:2\n}":                                        "",
		open + "handle_path /pub/* {\nreverse_proxy localhost:1\n}\nhandle {\nreverse_proxy localhost:2\n}":                                        "",
		open + "handle_path /pub/* {\nroot * /srv/pub\nfile_server\n}\nhandle {\nroot * /srv/other\nfile_server\n}":                                "",
		rule + "uri strip_prefix /app\nreverse_proxy localhost:1":                                                                                  "",
		"mfa\nhandle_path /pub/* {\nreverse_proxy localhost:1\n}\nreverse_proxy localhost:1":                                                       "",
		"mfa {\nopen /pub/health\n}\nhandle_path /pub/* {\nreverse_proxy localhost:1\n}\nreverse_proxy localhost:1":                                "",
		"@php path *.php\nmfa {\nrule @php {\nallow user bob\n}\n}\nhandle_path /pub/* {\nreverse_proxy localhost:1\n}\nreverse_proxy localhost:1": "",
	} {
		found, err := arranged(t, withPortal("wiki.example.com {\n"+inside+"\n}\n"))
		got := strings.Join(found.Warnings, "\n")
		if err != nil || !strings.Contains(got, want) || want == "" && got != "" {
			t.Errorf("%s: %v, %q", inside, err, got)
		}
	}
}

// TestLayoutBehindTheGate accepts what requests meet once they have passed the gate.
func TestLayoutBehindTheGate(t *testing.T) {
	for _, inside := range []string{
		"intercept {\n@e status 4xx\nhandle_response @e {\nreverse_proxy localhost:3001\n}\n}\nreverse_proxy localhost:3000",
		"reverse_proxy localhost:3000 {\n@a header X-Accel-Redirect *\nhandle_response @a {\nroot * /files\nrewrite * {rp.header.X-Accel-Redirect}\nfile_server\n}\n}",
		"reverse_proxy localhost:3000 {\nhandle_response {\ncopy_response_headers\ncopy_response 200\n}\n}",
		"forward_auth localhost:9091 {\nuri /verify\ncopy_headers X-Team\n}\nreverse_proxy localhost:3000",
		"push /app.css\nreverse_proxy localhost:3000",
		"templates\nfile_server /public/* browse",
		"abort /old/*\nfile_server {\nhide .git\nprecompressed br gzip\n}",
	} {
		if found, err := arranged(t, withPortal("wiki.example.com {\nmfa {\nrule /admin/* {\nallow group admins\n}\n}\n"+inside+"\n}\n")); err != nil || len(found.Warnings) > 0 {
			t.Errorf("%s: %v, %q", inside, err, found.Warnings)
		}
	}
}
