package gate

import (
	"net/http"
	"net/url"
	"path"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/gate/canonical"
)

// onPath is a rule for paths that match a pattern of path.Match, or begin with
// it where it ends with a slash.
func onPath(rule Rule, pattern string) Rule {
	rule.Match = func(r *http.Request) (bool, error) {
		seen := strings.ToLower(r.URL.Path)
		if suffix, ok := strings.CutPrefix(pattern, "*"); ok {
			return strings.HasSuffix(seen, suffix), nil
		}
		if prefix, ok := strings.CutSuffix(pattern, "*"); ok {
			return strings.HasPrefix(seen, prefix), nil
		}
		return path.Match(pattern, seen)
	}
	rule.Patterns = []string{pattern}
	return rule
}

// TestScripts sends paths in which an app finds the name of a script (P07).
func TestScripts(t *testing.T) {
	guarded := []Rule{onPath(restOf(), "/admin.php"), restOf()}
	opened := []Rule{onPath(Rule{Open: true}, "*.css"), restOf()}
	public := []Rule{onPath(Rule{Open: true}, "/index.php/public/*"), restOf()}
	for _, test := range []struct {
		name   string
		rules  []Rule
		target string
		splits []string
		status int // 200: passes
	}{
		{"the script", guarded, "/admin.php", nil, http.StatusOK},
		{"argument", guarded, "/admin.php/x", nil, http.StatusBadRequest},
		{"slash", guarded, "/admin.php/", nil, http.StatusBadRequest},
		{"upper case", guarded, "/ADMIN.PHP/x", nil, http.StatusBadRequest},
		{"argument with another script", guarded, "/admin.php/x.php/y", nil, http.StatusBadRequest},
		{"encoded slash", guarded, "/admin.php%2Fx", nil, http.StatusBadRequest},
		{"encoded twice", guarded, "/admin.php%252Fx", nil, http.StatusBadRequest},
		{"backslash", guarded, "/admin.php%5Cx", nil, http.StatusBadRequest},
		{"parameter", guarded, "/admin.php;x/y", nil, http.StatusBadRequest},
		{"dot", guarded, "/admin.php./x", nil, http.StatusBadRequest},
		{"space", guarded, "/admin.php%20/x", nil, http.StatusBadRequest},
		{"two slashes", guarded, "/admin.php//x", nil, http.StatusBadRequest},
		{"other script", guarded, "/index.php/x", nil, http.StatusOK},
		{"name with more", guarded, "/admin.php.txt", nil, http.StatusOK},
		{"the site splits within a segment", guarded, "/admin.phpx.php", []string{".php"}, http.StatusBadRequest},
		{"the site splits in upper case", guarded, "/admin.PHPx.php", []string{".php"}, http.StatusBadRequest},

		{"style of a script", opened, "/admin.php/x.css", nil, http.StatusBadRequest},
		{"style of a page in ASP", opened, "/admin.aspx/x.css", nil, http.StatusBadRequest},
		{"style of a page in JSP", opened, "/a/admin.jsp/b/x.css", nil, http.StatusBadRequest},
		{"style of CGI", opened, "/admin.cgi/x.css", nil, http.StatusBadRequest},
		{"style of Perl", opened, "/admin.pl/x.css", nil, http.StatusBadRequest},
		{"style of Python", opened, "/admin.py/x.css", nil, http.StatusBadRequest},
		{"style of a servlet", opened, "/admin.do/x.css", nil, http.StatusBadRequest},
		{"style in cgi-bin", opened, "/cgi-bin/admin/x.css", nil, http.StatusBadRequest},
		{"style of what the site splits", opened, "/admin.inc/x.css", []string{".inc"}, http.StatusBadRequest},
		{"style of a script behind a folder", opened, "/v1.2/admin.php7/x.css", nil, http.StatusBadRequest},
		{"style", opened, "/assets/app-1.2.3/x.css", nil, http.StatusOK},
		{"style of a domain", opened, "/themes/example.com/x.css", nil, http.StatusOK},
		{"style of another suffix", opened, "/admin.inc/x.css", nil, http.StatusOK},

		{"argument that a rule names", public, "/index.php/public/x", nil, http.StatusOK},
		{"argument that no rule names", public, "/index.php/x", nil, http.StatusOK},
		{"script before it", public, "/index.php/public/admin.php/x", nil, http.StatusOK},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newTestGate(t, test.rules...)
			g.Scripts = canonical.Scripts{Splits: test.splits}
			o := g.serve(navigate(test.target), cookieGood)
			if test.status == http.StatusOK {
				o.expectPassed(t)
			} else {
				o.expectStopped(t, test.status)
			}
		})
	}
}

// A pattern tells a script from its arguments only where it is what matched.
func TestScriptsOfTwoPatterns(t *testing.T) {
	open := Rule{
		Open:     true,
		Patterns: []string{"/index.php/public/*", "/index.php/status"},
		Match: func(r *http.Request) (bool, error) {
			p := r.URL.Path
			return strings.HasPrefix(p, "/index.php/public/") || p == "/index.php/status" || strings.HasSuffix(p, ".css"), nil
		},
	}
	g := newTestGate(t, open, restOf())
	g.serve(navigate("/index.php/public/x.css")).expectPassed(t)
	g.serve(navigate("/index.php/status")).expectPassed(t)
	g.serve(navigate("/index.php/admin/x.css")).expectStopped(t, http.StatusBadRequest)
	g.serve(navigate("/index.php/status.css")).expectStopped(t, http.StatusBadRequest)
}

// TestWorkIsBounded sends paths and queries that are long and can be read in
// many ways (P02): what they may cost is bounded by the number and the length
// of the readings, and what exceeds it is refused.
func TestWorkIsBounded(t *testing.T) {
	for target, status := range map[string]int{
		strings.Repeat("/a%252f/b%5c(c;d.", 480):             http.StatusBadRequest,
		"//a" + strings.Repeat("%5Ca;b%2Fc", 800):            http.StatusBadRequest,
		strings.Repeat("/a.php", 1300):                       http.StatusBadRequest,
		"/a%252f/b%5c(c;d.?" + strings.Repeat("a=b&", 200):   http.StatusOK,
		"/a%252f/b%5c(c;d./?" + strings.Repeat("a=b+&", 250): http.StatusBadRequest,
		"/?" + strings.Repeat("a&", 300):                     http.StatusBadRequest,
		"/?a=" + strings.Repeat("b", 9<<10):                  http.StatusBadRequest,
	} {
		asked, length := 0, 0
		counting := Rule{Match: func(r *http.Request) (bool, error) {
			asked++
			length += len(r.URL.Path) + len(r.URL.RawQuery)
			return false, nil
		}}
		g := newTestGate(t, counting, restOf())
		g.Query = canonical.NewQueryUse("a")
		if o := g.serve(navigate(target), cookieGood); o.Code != status {
			t.Errorf("%.40s: answered %d", target, o.Code)
		}
		if asked > 2*maxForms || length > 2*maxFormBytes {
			t.Errorf("%.40s: a rule was asked %d times, about %d bytes", target, asked, length)
		}
	}
}

// TestQueries sends queries that apps read in different ways, where a rule
// looks at them (P06).
func TestQueries(t *testing.T) {
	guarded := func() []Rule { return []Rule{onQuery(restOf(), "action", "admin"), restOf()} }
	opened := func() []Rule {
		private := onQuery(Rule{}, "private", "*").Match
		return []Rule{{Open: true, Match: func(r *http.Request) (bool, error) {
			private, err := private(r)
			return !private, err
		}}, restOf()}
	}
	for _, test := range []struct {
		name, query string
		rules       []Rule
		status      int // 200: passes
	}{
		{"another value", "action=view", guarded(), http.StatusOK},
		{"semicolon", "x=1;action=admin", guarded(), http.StatusBadRequest},
		{"entity", "x=1&amp;action=admin", guarded(), http.StatusBadRequest},
		{"malformed escape", "action=admin&%zz", guarded(), http.StatusBadRequest},
		{"escape cut short", "action=admin&x=%2", guarded(), http.StatusBadRequest},
		{"escape of IIS", "%u0061ction=admin", guarded(), http.StatusBadRequest},
		{"first", "action=admin&action=view", guarded(), http.StatusBadRequest},
		{"last", "action=view&action=admin", guarded(), http.StatusBadRequest},
		{"upper case", "ACTION=admin", guarded(), http.StatusBadRequest},
		{"list", "action[]=admin", guarded(), http.StatusBadRequest},
		{"list, encoded", "action%5B0%5D=admin", guarded(), http.StatusBadRequest},
		{"list of lists", "action[x][y]=admin", guarded(), http.StatusBadRequest},
		{"space before", "+action=admin", guarded(), http.StatusBadRequest},
		{"space behind", "action%20=admin", guarded(), http.StatusBadRequest},
		{"two question marks", "?action=admin", guarded(), http.StatusBadRequest},
		{"NUL in the name", "action%00=admin", guarded(), http.StatusBadRequest},
		{"NUL in the value", "action=admin%00x", guarded(), http.StatusBadRequest},
		{"line feed in the name", "action%0a=admin", guarded(), http.StatusBadRequest},
		{"overlong letter", "%c1%a1ction=admin", guarded(), http.StatusBadRequest},
		{"value encoded twice", "action=%2561dmin", guarded(), http.StatusBadRequest},
		{"name encoded twice", "%2561ction=admin", guarded(), http.StatusBadRequest},
		{"other parameters", "tag=a&tag=b&ids[]=1&ids[]=2&q=a+b%20c%2Bd&next=%2Fx%3Fa%3D1%26b%3D2&empty=&bare&&=", guarded(), http.StatusOK},
		{"other letters", "q=Gr%C3%BC%C3%9Fe&d=%E9&x=%0A", guarded(), http.StatusOK},
		{"the same twice", "action=view&action=list", guarded(), http.StatusOK},

		{"open", "public=1", opened(), http.StatusOK},
		{"open, without a query", "", opened(), http.StatusOK},
		{"private, semicolon", "private=1;", opened(), http.StatusBadRequest},
		{"private, malformed escape", "private=1&%zz", opened(), http.StatusBadRequest},
		{"private, semicolon before", "a=b;private", opened(), http.StatusBadRequest},
		{"private, other case", "Private=1", opened(), http.StatusBadRequest},
		{"private, list", "private[]=1", opened(), http.StatusBadRequest},
		{"private twice", "private=1&private=2", opened(), http.StatusFound},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newTestGate(t, test.rules...)
			g.Query = canonical.NewQueryUse("action", "private")
			r := navigate("/x?" + test.query)
			o := g.serve(r)
			if test.rules[0].Allows != nil {
				o = g.serve(navigate("/x?"+test.query), cookieGood)
			}
			if test.status == http.StatusOK {
				o.expectPassed(t)
			} else {
				o.expectStopped(t, test.status)
			}
			if o.passed && o.seen.URL.RawQuery != test.query {
				t.Errorf("the app got %q", o.seen.URL.RawQuery)
			}
		})
	}
}

// onQuery is a rule for queries in which a parameter has the value, or any for
// a star, as Caddy's matcher reads them.
func onQuery(rule Rule, name, value string) Rule {
	rule.Match = func(r *http.Request) (bool, error) {
		values, err := url.ParseQuery(r.URL.RawQuery)
		if err != nil {
			return false, nil
		}
		found, there := values[name]
		return there && (value == "*" || slices.Contains(found, value)), nil
	}
	return rule
}

// A gate whose rules don't look at the query has nothing against any.
func TestQueriesThatNoRuleLooksAt(t *testing.T) {
	g := newTestGate(t, onPath(restOf(), "/admin"), restOf())
	for _, query := range []string{"a=1;b", "a=%zz", "a=1&a=2", "a[]=1", "%00", strings.Repeat("a&", 5000)} {
		g.serve(navigate("/x?"+query), cookieGood).expectPassed(t)
	}
}

// TestPathAndQuery has a rule about both: it is asked about every reading of
// the one with every reading of the other.
func TestPathAndQuery(t *testing.T) {
	both := onQuery(restOf(), "action", "admin")
	query := both.Match
	both.Match = func(r *http.Request) (bool, error) {
		matches, err := query(r)
		return matches && r.URL.Path == "/a/b", err
	}
	g := newTestGate(t, both, restOf())
	g.Query = canonical.NewQueryUse("action")
	g.serve(navigate("/a%252fb?action[]=admin"), cookieGood).expectStopped(t, http.StatusBadRequest)
	g.serve(navigate("/a%252fb?action[]=view"), cookieGood).expectPassed(t)
}

// TestQueriesInPaths escapes a query into the path, where an app finds it that
// decodes first (P06).
func TestQueriesInPaths(t *testing.T) {
	g := newTestGate(t, onQuery(restOf(), "action", "admin"), restOf())
	g.Query = canonical.NewQueryUse("action")
	for target, status := range map[string]int{
		"/x%3Faction=admin": 400, "/x%253Faction=admin": 400, "/x%3Faction=admin%23y": 400, "/x%3Faction%3Dadmin": 400,
		"/x%3Fa?ction=admin": 200, "/x%3Faction[]=admin?a=b": 400, "/x%3Fa;action=admin": 400, "/y%253Fz%3Faction=admin?a=b": 400,
		"/x%3Faction=view": 200, "/What%3F": 200, "/What%3F%20100%25%20%23?action=view": 200, "/x%3F%23action=admin": 200,
	} {
		if status == http.StatusOK {
			g.serve(navigate(target), cookieGood).expectPassed(t)
		} else {
			g.serve(navigate(target), cookieGood).expectStopped(t, status)
		}
	}
}

// What matchers remember is of the request as it came.
func TestMatchersEndWithWhatWasSent(t *testing.T) {
	var last string
	g := newTestGate(t, Rule{Open: true, Match: func(r *http.Request) (bool, error) {
		last = r.URL.RequestURI()
		return true, nil
	}}, restOf())
	g.Query = canonical.NewQueryUse()
	g.serve(navigate("/a%2Fb?x=1+2")).expectPassed(t)
	if last != "/a%2Fb?x=1+2" {
		t.Errorf("a matcher saw %s last", last)
	}
	g.serve(withHeader(navigate("/a"), "", "X-Original-URL: /b")).expectPassed(t)
	if last != "/a" {
		t.Errorf("a matcher saw %s last, which is a second target", last)
	}
}
