package templates

import (
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"testing/fstest"
)

func serve(set *Set, method, name string, header http.Header) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, "/", nil)
	r.Header = header
	w := httptest.NewRecorder()
	set.ServeAsset(w, r, name)
	return w
}

func TestServeAsset(t *testing.T) {
	set := newSet(t)
	tests := []struct {
		method, name string
		status       int
		contentType  string
	}{
		{"GET", "style.css", 200, "text/css; charset=utf-8"},
		{"HEAD", "style.css", 200, "text/css; charset=utf-8"},
		{"GET", "forms.js", 200, "text/javascript; charset=utf-8"},
		{"GET", "icon.svg", 200, "image/svg+xml"},
		{"POST", "style.css", 405, ""},
		{"GET", "nothing.css", 404, ""},
		{"GET", "", 404, ""},
		{"GET", "../layout.html", 404, ""},
		{"GET", "../../set.go", 404, ""},
	}
	for _, test := range tests {
		t.Run(test.method+" "+test.name, func(t *testing.T) {
			w := serve(set, test.method, test.name, nil)
			if w.Code != test.status {
				t.Fatalf("the status is %d, want %d", w.Code, test.status)
			}
			immutable := strings.Contains(w.Header().Get("Cache-Control"), "immutable")
			if immutable != (test.status == 200) {
				t.Errorf("an answer with %d has Cache-Control %q", w.Code, w.Header().Get("Cache-Control"))
			}
			if test.status == 200 && w.Header().Get("Content-Type") != test.contentType {
				t.Errorf("the type is %q, want %q", w.Header().Get("Content-Type"), test.contentType)
			}
			if w.Header().Get("X-Content-Type-Options") != "nosniff" {
				t.Error("the type may be guessed")
			}
			if hasBody := w.Body.Len() > 0; test.status == 200 && hasBody != (test.method == "GET") {
				t.Errorf("%d bytes came back", w.Body.Len())
			}
		})
	}
}

func TestAssetIsNotSentTwice(t *testing.T) {
	set := newSet(t)
	tag := serve(set, "GET", "style.css", nil).Header().Get("ETag")
	if w := serve(set, "GET", "style.css", http.Header{"If-None-Match": {tag}}); w.Code != http.StatusNotModified {
		t.Errorf("the status is %d, want 304", w.Code)
	}
}

func TestAssetPathChangesWithEachAsset(t *testing.T) {
	before := newSet(t).AssetPath()
	if !regexp.MustCompile(`^assets/[0-9a-f]{24}$`).MatchString(before) {
		t.Errorf("the path is %q", before)
	}
	if again, err := New(Options{}); err != nil || again.AssetPath() != before {
		t.Errorf("the same assets lie under %q and elsewhere (%v)", before, err)
	}
	for _, name := range []string{"assets/style.css", "assets/forms.js", "assets/new.js"} {
		set, err := load(changed(t, map[string]*fstest.MapFile{name: file("/* changed */")}), Options{})
		if err != nil {
			t.Fatal(err)
		}
		if set.AssetPath() == before {
			t.Errorf("the path stays when %s changes", name)
		}
	}
}

func TestAssetsLoadNothingFromElsewhere(t *testing.T) {
	outside := regexp.MustCompile(`(?i)https?://|//[a-z]+\.|url\(|@import|\beval\(|innerHTML|document\.write`)
	for name, content := range newSet(t).assets.files {
		checked := strings.ReplaceAll(string(content), "http://www.w3.org/2000/svg", "")
		if found := outside.FindString(checked); found != "" {
			t.Errorf("%s contains %q", name, found)
		}
	}
}

// TestContrast holds the tokens to WCAG 2.2: 4.5 for text (1.4.3), 3 for the
// edges of controls and the bars of the meter (1.4.11).
func TestContrast(t *testing.T) {
	style := string(newSet(t).assets.files["style.css"])
	light, rest, found := strings.Cut(style, "@media (prefers-color-scheme: dark)")
	if !found {
		t.Fatal("the style sheet has no dark scheme")
	}
	dark, _, _ := strings.Cut(rest, "\n}\n")
	pairs := []struct {
		front, back string
		least       float64
	}{
		{"ink", "ground", 4.5}, {"ink", "surface", 4.5}, {"ink", "danger-ground", 4.5},
		{"muted", "ground", 4.5}, {"muted", "surface", 4.5},
		{"accent", "ground", 4.5}, {"accent", "surface", 4.5}, {"accent-strong", "ground", 4.5}, {"accent-strong", "surface", 4.5},
		{"on-accent", "accent", 4.5}, {"on-accent", "accent-strong", 4.5},
		{"danger", "surface", 4.5}, {"danger", "danger-ground", 4.5}, {"good", "surface", 4.5},
		{"edge", "surface", 3}, {"warn", "line", 3}, {"good", "line", 3}, {"danger", "line", 3},
	}
	for scheme, block := range map[string]string{"light": light, "dark": dark} {
		colours := tokens(block)
		for _, pair := range pairs {
			if got := contrast(colourOf(t, colours[pair.front]), colourOf(t, colours[pair.back])); got < pair.least {
				t.Errorf("%s: %s on %s has a contrast of %.2f, want %.1f", scheme, pair.front, pair.back, got, pair.least)
			}
		}
	}
}

func tokens(block string) map[string]string {
	colours := make(map[string]string)
	for _, match := range regexp.MustCompile(`--([a-z-]+): #([0-9a-f]{6});`).FindAllStringSubmatch(block, -1) {
		colours[match[1]] = match[2]
	}
	return colours
}

func colourOf(t *testing.T, digits string) colour {
	t.Helper()
	c, err := parseColour("#" + digits)
	if err != nil {
		t.Fatal(err)
	}
	return c
}
