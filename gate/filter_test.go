package gate

import (
	"net/http"
	"slices"
	"strings"
	"testing"
)

// answerOf returns the headers with which an app's answer leaves the gate.
func answerOf(t *testing.T, app http.Header, signedIn bool) http.Header {
	t.Helper()
	g := newTestGate(t, Rule{Open: true, Match: func(r *http.Request) (bool, error) { return r.URL.Path == "/open", nil }}, restOf())
	r, w := navigate("/open"), recorder()
	if signedIn {
		r = navigate("/x")
		r.Header.Set("Cookie", cookieGood)
	}
	passed := false
	err := g.ServeHTTP(w, r, func(w http.ResponseWriter, _ *http.Request, _ *Visitor) error {
		passed = true
		for name, lines := range app {
			w.Header()[name] = lines
		}
		w.WriteHeader(http.StatusOK)
		return nil
	})
	if err != nil || !passed {
		t.Fatalf("passed: %t, %v", passed, err)
	}
	return w.Result().Header
}

// TestSharedCaches has an app say of its answers what it likes: those for
// somebody who is signed in are for no shared cache (P01).
func TestSharedCaches(t *testing.T) {
	for _, test := range []struct {
		app  string
		want string
	}{
		{"", "private"},
		{"private", "private"},
		{"no-store", "no-store"},
		{"no-store, max-age=0", "no-store, max-age=0, private"},
		{"max-age=60", "max-age=60, private"},
		{"public, max-age=60, immutable", "max-age=60, immutable, private"},
		{"Public,MAX-AGE=60", "MAX-AGE=60, private"},
		{"public", "private"},
		{"public max-age=60", "private"},
		{"s-maxage=60, max-age=5", "max-age=5, private"},
		{"private=\"Set-Cookie\", max-age=60", "max-age=60, private"},
		{"must-understand, no-store", "must-understand, no-store, private"},
		{"no-cache", "no-cache, private"},
		{"private, public", "private"},
		{" , ,", "private"},
		{"public|max-age=60", "max-age=60, private"}, // two lines
	} {
		app := make(http.Header)
		if test.app != "" {
			app["Cache-Control"] = strings.Split(test.app, "|")
		}
		if got := answerOf(t, app, true)["Cache-Control"]; !slices.Equal(got, []string{test.want}) {
			t.Errorf("%q leaves as %q, not %q", test.app, got, test.want)
		}
		if got := answerOf(t, app, false)["Cache-Control"]; !slices.Equal(got, app["Cache-Control"]) {
			t.Errorf("on an open path %q leaves as %q", test.app, got)
		}
	}
	if got := answerOf(t, http.Header{"cache-control": {"public, max-age=9"}}, true); !slices.Equal(got["Cache-Control"], []string{"max-age=9, private"}) || len(got) != 1 {
		t.Errorf("in lower case it leaves as %v", got)
	}
	for _, name := range []string{
		"CDN-Cache-Control", "Cloudflare-CDN-Cache-Control", "cdn-cache-control", "X-Accel-Expires", "Surrogate-Control", "Edge-Control",
	} {
		app := http.Header{name: {"max-age=3600"}}
		if got := answerOf(t, app, true); got[name] != nil {
			t.Errorf("%s leaves as %q", name, got[name])
		}
		if got := answerOf(t, app, false); got[name] == nil {
			t.Errorf("on an open path %s is gone", name)
		}
	}
}

// What the app leaves to the server, or sends again in an error route, is
// private too.
func TestSharedCachesWithoutAWord(t *testing.T) {
	for name, answer := range map[string]func(http.ResponseWriter){
		"nothing": func(http.ResponseWriter) {},
		"a body":  func(w http.ResponseWriter) { _, _ = w.Write([]byte("x")) },
		"flushed": func(w http.ResponseWriter) { _ = http.NewResponseController(w).Flush() },
		"hints": func(w http.ResponseWriter) {
			w.WriteHeader(http.StatusEarlyHints)
			w.Header().Set("Cache-Control", "public")
			w.WriteHeader(http.StatusOK)
		},
	} {
		w := recorder()
		err := newTestGate(t).Resume(w, navigate("/x"), true, func(w http.ResponseWriter) error {
			answer(w)
			return nil
		})
		if got := w.Header()["Cache-Control"]; err != nil || !slices.Equal(got, []string{"private"}) {
			t.Errorf("%s leaves with %q, %v", name, got, err)
		}
	}
}

// TestClearSiteData lets an app have the browser forget what is its own (H04).
func TestClearSiteData(t *testing.T) {
	for _, test := range []struct {
		app, want []string
	}{
		{[]string{`"cache", "storage"`}, []string{`"cache", "storage"`}},
		{[]string{`"cookies"`}, nil},
		{[]string{`"cache", "cookies", "storage"`}, []string{`"cache", "storage"`}},
		{[]string{`"*"`}, []string{`"cache", "storage", "executionContexts"`}},
		{[]string{`"cache"`, `"cookies"`, `"storage"`}, []string{`"cache", "storage"`}},
		{[]string{`"cache",	"cookies"`}, []string{`"cache"`}},
		{[]string{`"somethingNew"`, `cookies`, ``}, nil},
		{[]string{`*`}, nil},
		{[]string{`"clientHints", "prefetchCache", "prerenderCache"`}, []string{`"clientHints", "prefetchCache", "prerenderCache"`}},
	} {
		for _, name := range []string{"Clear-Site-Data", "clear-site-data"} {
			for _, signedIn := range []bool{true, false} {
				if got := answerOf(t, http.Header{name: test.app}, signedIn)[name]; !slices.Equal(got, test.want) {
					t.Errorf("%s: %q leaves as %q, not %q", name, test.app, got, test.want)
				}
			}
		}
	}
	shared := []string{`"cookies"`, `"cache"`}
	answerOf(t, http.Header{"Clear-Site-Data": shared}, true)
	if !slices.Equal(shared, []string{`"cookies"`, `"cache"`}) {
		t.Errorf("the app's own lines became %q", shared)
	}
}
