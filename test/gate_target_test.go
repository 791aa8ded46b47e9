package test

import (
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// testGateQueries sends queries that don't parse, or that apps read in
// different ways, to a site whose rules look at them.
func testGateQueries(t *testing.T, g *gateSuite) {
	session := g.cookie(t, g.bob, "queries")
	g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
		for _, path := range []string{
			"/public/x?private=1;", "/public/x?private=1&%zz", "/public/x?a=b;private=1", "/public/x?Private=1", "/public/x?private[]=1",
			"/public/x?%2570rivate=1", "/public/x?private%00=1", "/public/x?private%20=1", "/public/x??private=1", "/public/x?a&amp;private",
		} {
			if response := send(rawRequest{host: "queries", path: path}); response.Status != http.StatusBadRequest {
				t.Errorf("%s answered %d (%v)", path, response.Status, response.Err)
			}
			g.unseen(t)
		}
		for _, query := range []string{
			"x=1;action=admin", "action=admin&%zz", "action=view&action=admin", "action=admin&action=view", "ACTION=admin", "action[]=admin",
			"action=%2561dmin", "mode=raw&mode=x", "mode=x&mode=raw", "Mode=raw", "mode[0]=raw", "mode=raw;",
		} {
			if response := send(rawRequest{host: "queries", path: "/x?" + query, header: []string{session}}); response.Status != http.StatusBadRequest {
				t.Errorf("%s answered %d (%v)", query, response.Status, response.Err)
			}
			g.unseen(t)
		}
		for _, path := range []string{"/public/x?private=1", "/public/x?private"} {
			send(rawRequest{host: "queries", path: path})
			g.unseen(t)
		}
		for _, query := range []string{"action=admin", "mode=raw"} {
			send(rawRequest{host: "queries", path: "/x?" + query, header: []string{session}})
			g.unseen(t)
		}
		for _, path := range []string{
			"/public/x", "/public/x?a=1&a=2&b[]=%20+", "/x?action=view&tag=a&tag=b&next=%2Fx%3Faction%3Dadmin",
		} {
			send(rawRequest{host: "queries", path: path, header: []string{session}})
			if seen := g.seenOne(t); seen.RequestURI != path {
				t.Errorf("the app saw %q, not %q", seen.RequestURI, path)
			}
		}
		// No rule of this site looks at the query.
		plain := g.cookie(t, g.bob, "guard")
		send(rawRequest{host: "guard", path: "/x?a=1;b&a=%zz&a[]=2", header: []string{plain}})
		g.seenOne(t)
	})
}

// testGateScripts sends paths that go on behind the name of a script.
func testGateScripts(t *testing.T, g *gateSuite) {
	session := g.cookie(t, g.bob, "scripts")
	g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
		for _, path := range []string{
			"/admin.php/x", "/admin.php/", "/ADMIN.php/x", "/admin.PHP/x", "/admin.php%2fx", "/admin.php;x/y", "/admin.php//x", "/admin.php/x.php",
			"/admin.phpx.php", "/tools.inc/x", "/tools.incx", "/admin.php./x", "/admin.php%20/x", "/admin.php%3fx",
			"/admin.php/x.css", "/tools.inc/x.css", "/index.php/x.css", "/admin.cgi/x.css", "/admin.aspx/x.css", "/cgi-bin/admin/x.css",
		} {
			for _, header := range [][]string{nil, {session}} {
				if response := send(rawRequest{host: "scripts", path: path, header: header}); response.Status != http.StatusBadRequest {
					t.Errorf("%s answered %d (%v)", path, response.Status, response.Err)
				}
				g.unseen(t)
			}
		}
		send(rawRequest{host: "scripts", path: "/admin.php", header: []string{session}})
		g.unseen(t)
		for path, seen := range map[string]string{
			"/index.php/public/x": "/index.php/public/x for  or ", "/a/x.css": "/a/x.css for  or ", "/v1.2/x.css": "/v1.2/x.css for  or ",
			"/index.php/x": "/index.php/x for bob or bob", "/other.php": "/other.php for bob or bob",
		} {
			send(rawRequest{host: "scripts", path: path, header: []string{session}})
			if got := g.cgi.seen(); !slices.Equal(got, []string{seen}) {
				t.Errorf("%s: the app saw %q", path, got)
			}
			g.reset()
		}
	})
}

// testGateAliases asks for what a rule is about by the other paths under which the
// site serves it.
func testGateAliases(t *testing.T, g *gateSuite) {
	const secret = "for administrators"
	if err := os.Mkdir(filepath.Join(g.Dir(), "private"), 0o700); err != nil {
		t.Fatal(err)
	}
	for _, file := range []string{"private/index.html", "private/index.html.gz", "ledger.html", "ledger.html.br"} {
		if err := os.WriteFile(filepath.Join(g.Dir(), file), []byte(secret), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	ada, bob := g.cookie(t, g.ada, "pages"), g.cookie(t, g.bob, "pages")
	people := g.cookie(t, g.ada, "both")
	g.overBoth(t, func(t *testing.T, send func(rawRequest) harness.Response) {
		for _, path := range []string{
			"/private/", "/private/index.html", "/private/index.html.gz", "/private", "/ledger", "/ledger.html", "/ledger/", "/ledger.html.br", "/ledger.HTML",
		} {
			if response := send(rawRequest{host: "pages", path: path, header: []string{bob}}); strings.Contains(response.Body, secret) {
				t.Errorf("%s: bob was given %q", path, response.Body)
			}
		}
		for _, path := range []string{"/private/", "/private/index.html", "/ledger", "/ledger.html"} {
			if response := send(rawRequest{host: "pages", path: path, header: []string{ada}}); response.Status != http.StatusOK || response.Body != secret {
				t.Errorf("%s: ada got %d %q", path, response.Status, response.Body)
			}
		}
		if response := send(rawRequest{host: "both", path: "/people", header: []string{people}}); response.Status != http.StatusForbidden {
			t.Errorf("/people answered %d", response.Status)
		}
		g.unseen(t)
	})
}
