package canonical

import (
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestAliasesOfPaths(t *testing.T) {
	a := Aliases{Indexes: []string{"index.html"}, Endings: []string{".html", ".gz"}, Fronts: []string{"/main.php"}}
	for path, want := range map[string]string{
		"/":                   "/index.html /main.php/",
		"/x":                  "/x/ /x.html /x.gz /main.php/x",
		"/x/":                 "/x /x/index.html /main.php/x/",
		"/x/index.html":       "/x/ /x /x/index /x/index/ /x/index.html.html /x/index.html.gz /main.php/x/index.html",
		"/x.GZ":               "/x.GZ/ /x /x/ /x.GZ.html /x.GZ.gz /main.php/x.GZ",
		"/a/b.php/x":          "/a/b.php/x/ /a/x /a/x/ /a/b.php/x.html /a/b.php/x.gz /main.php/a/b.php/x",
		"/.gz":                "/.gz/ /.gz.html /.gz.gz /main.php/.gz",
		"/x.php":              "/x.php/ /x.php.html /x.php.gz /main.php/x.php",
		"/a/index.html.gz":    "/a/index.html.gz/ /a/index.html /a/ /a /a/index /a/index/ /a/index.html.gz.html /a/index.html.gz.gz /main.php/a/index.html.gz",
		"/index.html/more":    "/index.html/more/ /index.html/more.html /index.html/more.gz /main.php/index.html/more",
		"/a/myindex.html/x.y": "/a/myindex.html/x.y/ /a/myindex.html/x.y.html /a/myindex.html/x.y.gz /main.php/a/myindex.html/x.y",
	} {
		if got := strings.Join(a.Paths(path), " "); got != want {
			t.Errorf("%s:\ngot  %s\nwant %s", path, got, want)
		}
	}
}

// TestAliasesThatMatter leaves no alias out that a pattern matches, but not its path.
func TestAliasesThatMatter(t *testing.T) {
	a := Aliases{Indexes: []string{"index.html", "Home"}, Endings: []string{".html", ".gz"}, Fronts: []string{"/main.php"}}
	pieces := []string{"/", "a", "b", "/a", "index.html", "HOME", ".html", ".gz", "/main.php", "main.php/", "x.php/"}
	text := rapid.Custom(func(t *rapid.T) string {
		return "/" + strings.TrimLeft(strings.Join(rapid.SliceOfN(rapid.SampledFrom(pieces), 0, 4).Draw(t, "pieces"), ""), "/")
	})
	matches := func(pattern, path string) bool {
		prefix, starred := strings.CutSuffix(pattern, "*")
		path = strings.ToLower(path)
		return path == prefix || starred && strings.HasPrefix(path, prefix)
	}
	left := 0
	rapid.Check(t, func(t *rapid.T) {
		path, pattern := text.Draw(t, "path"), strings.ToLower(text.Draw(t, "pattern"))+rapid.SampledFrom([]string{"", "*"}).Draw(t, "star")
		if a.MayMatter(path, []string{pattern}) {
			return
		}
		left++
		if told := slices.IndexFunc(a.Paths(path), func(alias string) bool { return matches(pattern, alias) && !matches(pattern, path) }); told >= 0 {
			t.Fatalf("%s matches %s, and not %s", pattern, a.Paths(path)[told], path)
		}
	})
	if left == 0 {
		t.Error("nothing was left out")
	}
	if allocated := testing.AllocsPerRun(100, func() { a.MayMatter("/some/page", []string{"/admin", "/admin/*", "/some"}) }); allocated > 0 {
		t.Errorf("%v allocations", allocated)
	}
}
