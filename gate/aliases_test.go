package gate

import (
	"io"
	"net/http"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/gate/canonical"
	"github.com/portcullis-mfa/portcullis/session"
)

// TestAliases has a rule hold for the other paths under which a site may serve what
// the rule is about (P02).
func TestAliases(t *testing.T) {
	exactly := func(paths ...string) func(*http.Request) (bool, error) {
		return func(r *http.Request) (bool, error) {
			for _, path := range paths {
				if prefix, starred := strings.CutSuffix(path, "*"); r.URL.Path == path || starred && strings.HasPrefix(r.URL.Path, prefix) {
					return true, nil
				}
			}
			return false, nil
		}
	}
	deleting := func(r *http.Request) (bool, error) { return r.Method == http.MethodDelete && r.URL.Path == "/x/", nil }
	reading := func(r *http.Request) (bool, error) { return r.Method == http.MethodGet && r.URL.Path == "/x/", nil }
	nobody := func(match func(*http.Request) (bool, error)) Rule {
		return Rule{Match: match, Allows: func(session.User) bool { return false }}
	}
	open := func(paths ...string) Rule { return Rule{Match: exactly(paths...), Open: true, Patterns: paths} }
	const get, passes, refused = http.MethodGet, http.StatusOK, http.StatusForbidden
	for _, test := range []struct {
		name, method, target string
		rules                []Rule
		status               int // for somebody who is signed in
	}{
		{"the folder of a rule below it", get, "/x", []Rule{nobody(exactly("/x/*"))}, refused},
		{"the slash behind a rule", get, "/x/", []Rule{nobody(exactly("/x"))}, refused},
		{"no slash, another name", get, "/xy", []Rule{nobody(exactly("/x/*"))}, passes},
		{"the folder of an index", get, "/x/", []Rule{nobody(exactly("/x/index.html"))}, refused},
		{"the folder of an index, without a slash", get, "/x", []Rule{nobody(exactly("/x/index.html"))}, passes},
		{"the index of a folder", get, "/x/index.html", []Rule{nobody(exactly("/x/"))}, refused},
		{"the index in capitals", get, "/x/INDEX.HTML", []Rule{nobody(exactly("/x/"))}, refused},
		{"the index of a folder without a slash", get, "/x/index.html", []Rule{nobody(exactly("/x"))}, refused},
		{"the front page", get, "/", []Rule{nobody(exactly("/index.html"))}, refused},
		{"the index of the front page", get, "/index.html", []Rule{nobody(exactly("/"))}, refused},
		{"another file of a folder", get, "/x/other.html", []Rule{nobody(exactly("/x/"))}, passes},
		{"a file without its ending", get, "/x", []Rule{nobody(exactly("/x.htm"))}, refused},
		{"a file with the ending", get, "/x.htm", []Rule{nobody(exactly("/x"))}, refused},
		{"a compressed copy", get, "/x.pdf.gz", []Rule{nobody(exactly("/x.pdf"))}, refused},
		{"a compressed copy of a page without its ending", get, "/x.htm.gz", []Rule{nobody(exactly("/x"))}, refused},
		{"a compressed copy of an index", get, "/x/index.html.gz", []Rule{nobody(exactly("/x/"))}, refused},
		{"a compressed copy in capitals", get, "/x.pdf.GZ", []Rule{nobody(exactly("/x.pdf"))}, refused},
		{"a reading", get, "//x", []Rule{nobody(exactly("/x/*"))}, refused},
		{"an open folder with a rule for its index", get, "/x/", []Rule{open("/x/"), nobody(exactly("/x/index.html"))}, refused},
		{"an open page with a rule for its folder", get, "/x/", []Rule{open("/x/"), nobody(exactly("/x/*"))}, passes},
		{"an open front page", get, "/", []Rule{open("/")}, passes},
		{"what is open below isn't the folder", get, "/x", []Rule{open("/x/*"), nobody(exactly("/x"))}, refused},
		{"an index that is open", get, "/x/", []Rule{open("/x/index.html"), nobody(exactly("/x/"))}, refused},
		{"another method", http.MethodPost, "/x", []Rule{nobody(deleting)}, passes},
		{"the method", http.MethodDelete, "/x", []Rule{nobody(deleting)}, refused},
		{"the method by a query", http.MethodPost, "/x?_method=delete", []Rule{nobody(deleting)}, refused},
		{"HEAD for GET", http.MethodHead, "/x", []Rule{nobody(reading)}, refused},
		{"what a script serves", get, "/index.php/admin/x", []Rule{nobody(exactly("/admin/*"))}, refused},
		{"the folder that a script serves", get, "/index.php/admin", []Rule{nobody(exactly("/admin/*"))}, refused},
		{"what a script in a folder serves", get, "/a/index.php/admin/x", []Rule{nobody(exactly("/a/admin/*"))}, refused},
		{"what another script serves", get, "/app_dev.php/admin/x", []Rule{nobody(exactly("/admin/*"))}, refused},
		{"a script that is named", get, "/index.php/admin/x", []Rule{open("/index.php/admin/*"), nobody(exactly("/admin/*"))}, refused},
		{"the script of a site", get, "/settings/x", []Rule{nobody(exactly("/front.php/settings/*"))}, refused},
		{"MOVE for DELETE", "MOVE", "/x", []Rule{nobody(deleting)}, refused},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newTestGate(t, append(test.rules, restOf())...)
			g.Aliases = canonical.Aliases{Indexes: []string{"index.html"}, Endings: []string{".htm", ".gz"}, Fronts: []string{"/front.php"}}
			r := withHeader(navigate("https://app.example.com"+test.target), test.method, "")
			r.RequestURI = test.target
			o := g.serve(r, cookieGood)
			if test.status == passes {
				o.expectPassed(t)
				return
			}
			o.expectStopped(t, test.status)
		})
	}
	t.Run("a second target", func(t *testing.T) {
		for _, header := range []string{"X-Original-URL: /admin", "Destination: /admin", "X-Rewrite-Url: /admin/index.html", "X-Amz-Copy-Source: /admin"} {
			g := newTestGate(t, nobody(exactly("/admin/")), restOf())
			g.Aliases.Indexes = []string{"index.html"}
			g.serve(withHeader(navigate("/x"), http.MethodPut, header), cookieGood).expectStopped(t, http.StatusForbidden)
		}
	})
	t.Run("a form's method", func(t *testing.T) {
		r := withHeader(navigate("/x"), "POST", "Content-Type: "+urlencoded)
		r.Body, r.ContentLength = io.NopCloser(strings.NewReader("_method=delete")), 14
		newTestGate(t, nobody(deleting), restOf()).serve(r, cookieGood).expectStopped(t, http.StatusBadRequest)
	})
}
