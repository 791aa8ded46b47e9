package canonical

import (
	"errors"
	"net/url"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/portcullis-mfa/portcullis/gate/canonical/apps"
)

func TestReadings(t *testing.T) {
	tests := []struct {
		name, target string
		want         []string // beside URL.Path, in any order
	}{
		{"plain", "/admin/users.html", nil},
		{"umlaut", "/gr%C3%B6%C3%9Fe", nil},
		{"space", "/a%20b", nil},
		{"encoded slash", "/healthz%2Fadmin", []string{"/healthz%2Fadmin"}},
		{"encoded twice", "/healthz%252Fadmin", []string{"/healthz/admin"}},
		{"encoded letter twice", "/%2561dmin", []string{"/admin"}},
		{"double slash", "/healthz//admin", []string{"/healthz/admin"}},
		{"backslash", "/healthz%5Cadmin", []string{"/healthz/admin"}},
		{"parameters", "/admin;x/users;y=1", []string{"/admin/users"}},
		{"encoded parameter", "/admin%3Bx", []string{"/admin"}},
		{"raw and encoded parameter", "/a;x/b%3By", []string{"/a/b;y", "/a/b"}},
		{"decoded query", "/admin%3Fx", []string{"/admin"}},
		{"decoded fragment", "/admin%23x", []string{"/admin"}},
		{"dot at the end", "/admin./users", []string{"/admin/users"}},
		{"space at the end", "/admin%20/users", []string{"/admin/users"}},
		{"stream", "/admin::$INDEX_ALLOCATION/users", []string{"/admin/users"}},
		{"dot and stream", "/a./:$DATA", []string{"/a/:$DATA", "/a./", "/a/"}},
		{"named stream", "/admin:$I30:$INDEX_ALLOCATION", []string{"/admin"}},
		{"colon", "/wiki/Special:Export!", nil},
		{"authority", "//x/admin", []string{"/x/admin", "/admin"}},
		{"authority, three slashes", "///x/admin", []string{"/x/admin", "/admin"}},
		{"authority alone", "//admin", []string{"/admin", "/"}},
		{"authority behind backslashes", "/%5Cx%5Cadmin", []string{"//x/admin", "/x/admin", "/admin"}},
		{"session in the path", "/(S(x))/admin", []string{"/admin"}},
		{"sessions in the path", "/(S(x)F(y))/admin", []string{"/admin"}},
		{"session within a word", "/pub/(S(x))lic", []string{"/public"}},
		{"function", "/Products(1)/(2)", nil},
		{"function of a path", "/(S(a/b))/c", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			r := mustReceive(t, "GET", test.target)
			if err := Target(r); err != nil {
				t.Fatal(err)
			}
			got, err := Readings(r.URL)
			if err != nil {
				t.Fatal(err)
			}
			slices.Sort(got)
			slices.Sort(test.want)
			if !slices.Equal(got, test.want) {
				t.Errorf("readings beside %q: %q, want %q", r.URL.Path, got, test.want)
			}
		})
	}
}

func TestReadingsOfWhatIsRefused(t *testing.T) {
	for path, want := range map[string]error{
		"/a/../b":             ErrTargetDots,
		"//a;b\\c%2F?d.%3be|": ErrTargetAmbiguous,
	} {
		if got, err := Readings(&url.URL{Path: path}); got != nil || !errors.Is(err, want) {
			t.Errorf("Readings(%q) = %q, %v, want %v", path, got, err, want)
		}
	}
}

// checkReadings checks that no app sees of a canonical URL what was not among
// its readings, and that no reading leads elsewhere.
func checkReadings(t fataler, u *url.URL) {
	t.Helper()
	before := *u
	others, err := Readings(u)
	if err != nil {
		t.Fatalf("%q was accepted, but has no readings: %v", u.Path, err)
	}
	readings := append([]string{u.Path}, others...)
	if *u != before {
		t.Fatalf("Readings changed %v", before)
	}
	if len(readings) > maxReadings+16 {
		t.Fatalf("%q has %d readings", u.Path, len(readings))
	}
	for name, app := range apps.All {
		if seen := app(u.RequestURI()); !slices.Contains(readings, seen) {
			t.Fatalf("%s reads %q as %q, which is none of %q", name, u.RequestURI(), seen, readings)
		}
	}
	for i, reading := range readings {
		if slices.Contains(readings[:i], reading) {
			t.Fatalf("%q is there twice", reading)
		}
		if !strings.HasPrefix(reading, "/") {
			t.Fatalf("reading %q of %q has no slash", reading, u.RequestURI())
		}
		for segment := range strings.FieldsFuncSeq(apps.Unquote(apps.Unquote(reading)), func(c rune) bool { return c == '/' || c == '\\' }) {
			if segment == "." || segment == ".." || strings.ContainsFunc(segment, func(c rune) bool { return c < ' ' }) {
				t.Fatalf("reading %q of %q has a segment %q", reading, u.RequestURI(), segment)
			}
		}
	}
}

// Each folding changes a path only where the path has one of its traits.
func TestTraits(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		text := drawTarget(t)
		for _, text := range []string{text, apps.Unquote(text)} {
			for i, folding := range allFoldings {
				if traitsOf(text)&folding.when == 0 && folding.fold(text) != text {
					t.Fatalf("folding %d makes %q of %q", i, folding.fold(text), text)
				}
			}
		}
	})
}
