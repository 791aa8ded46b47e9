package test

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// outOfPublic are targets that begin in an open prefix and that some app reads
// as one outside of it.
var outOfPublic = []string{
	"/public/../secret", "/public/%2e%2e/secret", "/public/%2E%2E/secret", "/public/.%2e/secret", "/public/%2e./secret",
	"/public/..%2fsecret", "/public/..%2Fsecret", "/public%2f..%2fsecret", "/public%2f../secret", "/public/x/../../secret",
	`/public/..\secret`, `/public\..\secret`, "/public/..%5csecret", "/public/..%5Csecret", "/public%5c..%5csecret",
	"/public/..;/secret", "/public/..;x=y/secret", "/public/;/../secret", "/public/x;/../../secret", "/public/..%3b/secret",
	"/public/%252e%252e/secret", "/public/..%252fsecret", "/public/%252e%252e%252fsecret", "/public/%25252e%25252e/secret",
	"/public/..%00/secret", "/public/%00/../secret", "/public/..%0a/secret", "/public/..%0d%0a/secret", "/public/..%09/secret",
	"/public/..%c0%afsecret", "/public/%c0%ae%c0%ae/secret", "/public/%e0%80%ae%e0%80%ae/secret", "/public/%u002e%u002e/secret",
	"/public/..%20/secret", "/public/.. /secret", "/public/.../secret", "/public/.%20./secret", "/public/..::$DATA/secret",
	"/public/..%3f/secret", "/public/..%23/secret", "/public/..#/secret",
	"//public/../secret", "/public//../secret", "/public/./../secret", "/./public/../secret", "/%70ublic/../secret", "/PUBLIC/../secret",
	"/public;/../secret", "/(S(x))/public/../secret", "/public/(S(x))/../secret", "/public/..", "/public/%2e%2e",
}

// intoAdmin are targets that some app reads as one below /admin.
var intoAdmin = []string{
	"/admin", "/admin/", "/admin/x", "/ADMIN/x", "/Admin/x", "/%61dmin/x", "/%61%64%6d%69%6e/x", "/%41DMIN/x",
	"//admin/x", "///admin/x", "/./admin/x", "/%2e/admin/x", "/x/../admin/x", "/x/%2e%2e/admin/x", "/x/..%2fadmin/x",
	"/%2fadmin/x", "/%2Fadmin/x", "/admin%2fx", "/admin%2Fx", "/x/%2e%2e%2fadmin/x", "/%2e%2fadmin/x",
	`/\admin/x`, `/admin\x`, "/%5cadmin/x", "/%5Cadmin/x", "/admin%5cx", `/x\..\admin\x`, "/x%5c..%5cadmin",
	"/admin;/x", "/admin;x=y/x", "/admin;x", "/;/admin/x", "/;x/admin/x", "/x/..;/admin/x", "/admin%3bx/y",
	"/%252fadmin/x", "/%2561dmin/x", "/admin%252fx", "/%25%36%31dmin/x", "/%252561dmin/x",
	"/%00/admin/x", "/admin%00/x", "/admin/x%00.png", "/admin%0a/x", "/admin%09/x", "/admin%0d%0a/x",
	"/admin./x", "/admin.../x", "/admin%20/x", "/admin%2e/x", "/admin::$INDEX_ALLOCATION/x", "/admin:$I30:$INDEX_ALLOCATION/x",
	"/(S(abc))/admin/x", "/admin/(S(abc))/x", "/(A(x)S(y))/admin/x",
	"/admin%3fx", "/admin%23x", "/admin%3f/x", "/%c1%a1dmin/x", "/%e0%81%a1dmin/x",
	"//evil.example/admin/x", `/\evil.example/admin/x`, "//evil.example%2fadmin/x", "/%u0061dmin/x",
}

// testGatePaths sends targets whose reading is in doubt to sites that open a
// prefix and to sites that guard one, with one rule and with several.
func testGatePaths(t *testing.T, g *gateSuite) {
	atGuard, atBoth, atPlain := g.cookie(t, g.bob, "guard"), g.cookie(t, g.bob, "both"), g.cookie(t, g.bob, "plain")
	g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
		refuse := func(host string, targets []string, header ...string) {
			t.Run(host, func(t *testing.T) {
				for _, target := range targets {
					response := send(rawRequest{host: host, path: target, header: header})
					if response.Status >= 200 && response.Status < 300 || response.Status >= 500 {
						t.Errorf("%s answered %d", target, response.Status)
					}
					g.unseen(t)
				}
			})
		}
		refuse("open", outOfPublic)
		refuse("both", outOfPublic)
		refuse("plain", slices.Concat(outOfPublic, intoAdmin))
		refuse("guard", intoAdmin, atGuard)
		refuse("both", intoAdmin, atBoth)
		refuse("both", []string{"/notes/x", "/n%6ftes/x", "//notes/x", "/notes%2fx", `/notes\x`, "/x/..;/notes/y"}, atBoth)
	})
	t.Run("absolute form", func(t *testing.T) { testGateAbsoluteForm(t, g, atGuard) })

	// What passes is what was decided on.
	for _, test := range []struct {
		host, session string
		sent, seen    string
	}{
		{"open", "", "/public/x", "/public/x"},
		{"open", "", "/%70ublic/%7ex?a=%7e", "/public/~x?a=%7e"},
		{"open", "", "/public/a%2fb", "/public/a%2Fb"},
		{"open", "", "/public/..x/x..y", "/public/..x/x..y"},
		{"plain", atPlain, "/%61%62c/x%2fy?q=%2e%2e/&q=//", "/abc/x%2Fy?q=%2e%2e/&q=//"},
		{"plain", atPlain, "/a//b", "/a//b"},
		{"plain", atPlain, "/gr%c3%bcn", "/gr%C3%BCn"},
		{"plain", atPlain, "/a;b=c/d", "/a;b=c/d"},
		{"plain", atPlain, "/?", "/?"},
		{"guard", atGuard, "/administration", "/administration"},
		{"guard", atGuard, "/x/admin/y", "/x/admin/y"},
		{"guard", atGuard, "/x%2fy", "/x%2Fy"},
		{"both", atBoth, "/people/x", "/people/x"},
		{"both", atBoth, "/elsewhere", "/elsewhere"},
	} {
		t.Run("passes "+test.host+" "+test.sent, func(t *testing.T) {
			g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
				request := rawRequest{host: test.host, path: test.sent}
				if test.session != "" {
					request.header = []string{test.session}
				}
				response := send(request)
				if response.Status != http.StatusOK {
					t.Fatalf("answered %d (%v)", response.Status, response.Err)
				}
				if seen := g.seenOne(t); seen.RequestURI != test.seen {
					t.Errorf("the app saw %q, not %q", seen.RequestURI, test.seen)
				}
			})
		})
	}
}

// testGateAbsoluteForm sends whole URLs as targets (RFC 9112 §3.2.2).
func testGateAbsoluteForm(t *testing.T, g *gateSuite, session string) {
	port := g.Port("web")
	own := fmt.Sprintf("guard.localhost:%d", port)
	for _, target := range []string{
		"https://" + own + "/admin/x", "http://" + own + "/admin/x", "https://" + own + "/x/../admin/x",
		"https://" + own + "//admin/x", "https://bob@" + own + "/x", "https://bob:x@" + own + "/x",
		"ftp://" + own + "/x", "https:/admin/x", "https:admin/x", "*", "admin/x", "file:///admin/x", "https://evil.example/admin/x",
		fmt.Sprintf("https://app.localhost:%d/x", port),
	} {
		response := g.send1(rawRequest{host: "guard", path: target, header: []string{session}})
		if response.Status >= 200 && response.Status < 300 || response.Status >= 500 {
			t.Errorf("%s answered %d", target, response.Status)
		}
		g.unseen(t)
	}
	g.send1(rawRequest{host: "guard", path: "https://" + own + "/%78?y", header: []string{session}})
	seen := g.seenOne(t)
	if seen.RequestURI != "/x?y" || seen.Host != own {
		t.Errorf("the app saw %q at %q", seen.RequestURI, seen.Host)
	}
	g.send2(rawRequest{host: "guard", path: "https://" + own + "/admin/x", header: []string{session}})
	g.unseen(t)
}

// testGateMalformed sends what is no request, or holds what is no cookie.
func testGateMalformed(t *testing.T, g *gateSuite) {
	authority := fmt.Sprintf("app.localhost:%d", g.Port("web"))
	target := rawRequest{host: "app"}.target(g)
	host := "Host: " + authority + "\r\n"
	for name, raw := range map[string]string{
		"percent alone":         "GET /% HTTP/1.1\r\n" + host + "\r\n",
		"percent with one":      "GET /%2 HTTP/1.1\r\n" + host + "\r\n",
		"percent with letters":  "GET /%zz HTTP/1.1\r\n" + host + "\r\n",
		"percent in the query":  "GET /x?%zz HTTP/1.1\r\n" + host + "\r\n",
		"NUL in the target":     "GET /\x00 HTTP/1.1\r\n" + host + "\r\n",
		"high bytes":            "GET /\xff\xfe HTTP/1.1\r\n" + host + "\r\n",
		"no target":             "GET HTTP/1.1\r\n" + host + "\r\n",
		"two spaces":            "GET  / HTTP/1.1\r\n" + host + "\r\n",
		"a tab":                 "GET\t/ HTTP/1.1\r\n" + host + "\r\n",
		"another version":       "GET / HTTP/3.7\r\n" + host + "\r\n",
		"HTTP/1.0":              "GET / HTTP/1.0\r\n" + host + "\r\n",
		"HTTP/0.9":              "GET /\r\n\r\n",
		"no host":               "GET / HTTP/1.1\r\n\r\n",
		"two hosts":             "GET / HTTP/1.1\r\n" + host + host + "\r\n",
		"two hosts in one":      "GET / HTTP/1.1\r\nHost: " + authority + ", evil.example\r\n\r\n",
		"space before colon":    "GET / HTTP/1.1\r\n" + host + "Remote-User : ada\r\n\r\n",
		"folded header":         "GET / HTTP/1.1\r\n" + host + "X-A: b\r\n Remote-User: ada\r\n\r\n",
		"NUL in a header":       "GET / HTTP/1.1\r\n" + host + "X-A: \x00\r\n\r\n",
		"carriage return alone": "GET / HTTP/1.1\r\n" + host + "X-A: b\rRemote-User: ada\r\n\r\n",
		"no colon":              "GET / HTTP/1.1\r\n" + host + "Remote-User\r\n\r\n",
		"no name":               "GET / HTTP/1.1\r\n" + host + ": ada\r\n\r\n",
		"two lengths":           "POST / HTTP/1.1\r\n" + host + "Content-Length: 1\r\nContent-Length: 2\r\n\r\nab",
		"length and chunks":     "POST / HTTP/1.1\r\n" + host + "Content-Length: 4\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /open/smuggled HTTP/1.1\r\n\r\n",
		"length below nothing":  "POST / HTTP/1.1\r\n" + host + "Content-Length: -1\r\n\r\n",
		"unknown coding":        "POST / HTTP/1.1\r\n" + host + "Transfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
		"a header of 2 MiB":     "GET / HTTP/1.1\r\n" + host + "X-A: " + strings.Repeat("a", 2<<20) + "\r\n\r\n",
		"5000 headers":          "GET / HTTP/1.1\r\n" + host + strings.Repeat("X-A: b\r\n", 5000) + "\r\n",
		"no end":                "GET / HTTP/1.1\r\n" + host + "X-A: b",
		"a TLS record in it":    "\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
	} {
		t.Run(name, func(t *testing.T) {
			if name == "no end" {
				connection, err := target.HTTP1()
				if err != nil {
					t.Fatal(err)
				}
				_, _ = connection.Write([]byte(raw))
				connection.Close()
			} else if response := target.Send([]byte(raw)); response.Status >= 200 && response.Status < 400 {
				t.Errorf("answered %d", response.Status)
			}
			g.unseen(t)
		})
	}
	t.Run("cookies", func(t *testing.T) { testGateMalformedCookies(t, g) })
	t.Run("callback", func(t *testing.T) { testGateMalformedCallback(t, g) })
	t.Run("HTTP2", func(t *testing.T) {
		for _, path := range []string{"", "x", "*", "/%", "/\x00", "/a b", "/a\r\nRemote-User: ada", "/\xff", "/x?a b", "/x#y", "/x?\x00"} {
			if response := g.send2(rawRequest{host: "app", path: "?" + path}); response.Status >= 200 && response.Status < 400 {
				t.Errorf("the path %q answered %d", "?"+path, response.Status)
			}
			if response := g.send2(rawRequest{host: "app", path: path + " "}); response.Status >= 200 && response.Status < 400 {
				t.Errorf("the path %q answered %d", path+" ", response.Status)
			}
			g.unseen(t)
		}
	})
}

func testGateMalformedCookies(t *testing.T, g *gateSuite) {
	session := g.cookie(t, g.bob, "app")
	value := strings.TrimPrefix(session, "Cookie: __Host-mfa=")
	for _, cookie := range []string{
		"", "=", ";;;", "__Host-mfa", "__Host-mfa=", `__Host-mfa="`, `__Host-mfa="` + value, "__Host-mfa=" + value + "x", "__Host-mfa=x" + value,
		"__Host-mfa=" + value[:len(value)/2], "__Host-mfa=\xff\xfe", "__Host-mfa=%00", "__Host-mfa=a.b.c", "__Host-mfa=.", "__Host-mfa=" + strings.Repeat(".", 4000),
		"__Host-mfa=" + strings.Repeat("A", 64<<10), strings.Repeat("__Host-mfa=x; ", 1000), "__host-mfa=" + value, "__Host-MFA=" + value,
		"x__Host-mfa=" + value, `x="; __Host-mfa=` + strings.ToUpper(value), "__Host-mfa-state-x=" + value, "__Host-mfa-portal=" + value,
		"__Host-mfa-flow=" + value, "__Host-mfa =" + strings.ToLower(value), "__Host-mfa=" + strings.ReplaceAll(value, "~", "~ "), "__Host-mfa=" + strings.ReplaceAll(value, "~", "."),
		strings.Repeat("__Host-mfa=x; ", 4) + "__Host-mfa=" + value,
	} {
		response := g.send1(rawRequest{host: "app", header: []string{"Cookie: " + cookie}})
		if response.Status < 400 || response.Status >= 500 {
			t.Errorf("the cookie %.60q answered %d (%v)", cookie, response.Status, response.Err)
		}
		g.unseen(t)
	}
	// Garbage beside a session doesn't hide it.
	g.send1(rawRequest{host: "app", header: []string{`Cookie: x="; __Host-mfa=garbage; __Host-mfa=` + value + "; =; __Host-mfa"}})
	expectUser(t, g.seenOne(t), "bob")
}

func testGateMalformedCallback(t *testing.T, g *gateSuite) {
	states := []string{"Cookie: __Host-mfa-state-x=y; __Host-mfa-state-=; __Host-mfa-state-" + strings.Repeat("z", 200) + "=\xff", "Accept: text/html"}
	for _, query := range []string{
		"", "?", "?request=", "?request=garbage", "?request=a.b", "?ticket=x", "?ticket=x&request=%zz", "?request=%00", "?;", "?request=x;y",
		"?request=" + strings.Repeat("a", 12<<10), "?ticket=" + strings.Repeat("a", 12<<10) + "&request=x", "?request[]=x",
	} {
		g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
			response := send(rawRequest{host: "app", path: "/.mfa/callback" + query, header: states})
			if response.Status != http.StatusBadRequest || response.Header.Get("Set-Cookie") != "" {
				t.Errorf("%.40s answered %d %v (%v)", query, response.Status, response.Header, response.Err)
			}
		})
	}
	g.unseen(t)
}
