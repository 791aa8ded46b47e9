package gate

import (
	"context"
	"encoding/json"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/session"
)

// newNoticeGate returns a gate with the session notice on.
func newNoticeGate(t *testing.T, rules ...Rule) *testGate {
	g := newTestGate(t, rules...)
	g.SessionNotice = true
	return g
}

// toPage makes a request as browsers do for a page that fills a window.
func toPage(method, target string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host = "app.example.com"
	for name, value := range map[string]string{
		"Accept": "text/html", "Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Sec-Fetch-Site": "none",
		"Accept-Encoding": "gzip, br", "Range": "bytes=0-", "If-Range": `"x"`,
	} {
		r.Header.Set(name, value)
	}
	return r
}

// page is the app's.
const (
	page      = `<!doctype html><html><head><title>App</title></head><body>App</body></html>`
	noticeTag = `<script async src="/.mfa/session-notice.js" data-ask="assurance=multi"></script>`
)

// servePage has the app answer a request with its page.
func (g *testGate) servePage(r *http.Request, answer func(http.ResponseWriter)) outcome {
	r.Header.Set("Cookie", cookieGood)
	o := outcome{ResponseRecorder: httptest.NewRecorder()}
	o.err = g.ServeHTTP(o, r, func(w http.ResponseWriter, r *http.Request, v *Visitor) error {
		o.passed, o.visitor, o.seen = true, v, r
		answer(w)
		return nil
	})
	return o
}

func writePage(w http.ResponseWriter) {
	w.Header()["Content-Type"] = []string{"text/html; charset=utf-8"}
	w.Header()["Content-Length"] = []string{"76"}
	_, _ = io.WriteString(w, page)
}

// TestNoticeIsOffered puts the tag into pages that fill a window, and into nothing
// else, however the app writes them.
func TestNoticeIsOffered(t *testing.T) {
	tagged := strings.Replace(page, "<head>", "<head>"+noticeTag, 1)
	with := func(header ...string) *http.Request {
		r := toPage(http.MethodGet, "/")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
			if header[i+1] == "" {
				r.Header.Del(header[i])
			}
		}
		return r
	}
	for _, tt := range []struct {
		what   string
		r      *http.Request
		answer func(http.ResponseWriter)
		want   string
	}{
		{"a page", with(), writePage, tagged},
		{"a service worker passes it on", with("Sec-Fetch-Dest", "empty"), writePage, tagged},
		{"fetched ahead", with("Sec-Purpose", "prefetch"), writePage, tagged},
		{"what a form leads to", toPage(http.MethodPost, "/"), writePage, tagged},
		{"written in pieces", with(), func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			for _, piece := range strings.SplitAfter(page, "<") {
				_, _ = io.WriteString(w, piece)
				_ = http.NewResponseController(w).Flush()
			}
		}, tagged},
		{"from a reader", with(), func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.Copy(w, struct{ io.Reader }{strings.NewReader(page)})
		}, tagged},
		{"the beginning of a page alone", with(), func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<!doctype html><ht")
		}, "<!doctype html><ht"},
		{"a piece of a page", with(), func(w http.ResponseWriter) {
			w.Header().Set("Content-Type", "text/html; charset=utf-8")
			_, _ = io.WriteString(w, "<p>Piece</p>")
		}, "<p>Piece</p>"},
		{"data", with(), func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"html": "<head>"}`) }, `{"html": "<head>"}`},
		{"fetched by a script", with("Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"), writePage, page},
		{"in a frame", with("Sec-Fetch-Dest", "iframe"), writePage, page},
		{"asked for by no browser", with("Sec-Fetch-Mode", "", "Sec-Fetch-Dest", ""), writePage, page},
		{"under a policy", with(), func(w http.ResponseWriter) {
			w.Header().Set("Content-Security-Policy", "script-src 'nonce-x'")
			writePage(w)
		}, page},
	} {
		o := newNoticeGate(t).servePage(tt.r, tt.answer)
		if !o.passed || o.Body.String() != tt.want {
			t.Errorf("%s: %t, %q", tt.what, o.passed, o.Body.String())
		}
		if strings.Contains(tt.want, noticeTag) && o.Header().Get("Content-Length") != "" {
			t.Errorf("%s: Content-Length is %s", tt.what, o.Header().Get("Content-Length"))
		}
		isHTML := strings.HasPrefix(o.Header().Get("Content-Type"), "text/html")
		if vary := o.Header().Get("Vary"); (vary == "Sec-Fetch-Dest, Sec-Fetch-Mode") != isHTML {
			t.Errorf("%s: Vary is %q", tt.what, vary)
		}
	}
}

// TestNoticeAsksForWholePages has the app see neither ranges nor compression where
// the tag is to go in, and both everywhere else.
func TestNoticeAsksForWholePages(t *testing.T) {
	for mode, asked := range map[string]bool{"navigate": false, "cors": true} {
		r := toPage(http.MethodGet, "/")
		r.Header.Set("Sec-Fetch-Mode", mode)
		seen := newNoticeGate(t).servePage(r, writePage).seen
		for _, name := range []string{"Accept-Encoding", "Range", "If-Range"} {
			if (seen.Header.Get(name) != "") != asked {
				t.Errorf("%s: the app is told %s: %q", mode, name, seen.Header.Get(name))
			}
		}
	}
}

// TestNoticeIsOptional changes nothing where it is off or where nobody is signed
// in, and has no routes there.
func TestNoticeIsOptional(t *testing.T) {
	off := newTestGate(t)
	open := newNoticeGate(t, Rule{Open: true})
	for what, g := range map[string]*testGate{"off": off, "open to everybody": open} {
		o := g.servePage(toPage(http.MethodGet, "/"), writePage)
		if o.Body.String() != page || o.Header().Get("Vary") != "" || o.Header().Get("Content-Length") != "76" || o.seen.Header.Get("Range") == "" {
			t.Errorf("%s: %v %q", what, o.Header(), o.Body.String())
		}
	}
	for _, route := range []string{noticeScript, noticeState} {
		if o := off.serve(navigate(Prefix + route)); o.Code != http.StatusNotFound {
			t.Errorf("%s: %d", route, o.Code)
		}
	}
}

// TestNoticeNotModified keeps a validator weak that the browser has as a weak one.
func TestNoticeNotModified(t *testing.T) {
	o := newNoticeGate(t).servePage(toPage(http.MethodGet, "/"), func(w http.ResponseWriter) {
		w.Header().Set("Etag", `"x"`)
		w.WriteHeader(http.StatusNotModified)
	})
	if o.Code != http.StatusNotModified || o.Header().Get("Etag") != `W/"x"` {
		t.Errorf("%d, %v", o.Code, o.Header())
	}
}

// told asks how the session of a page is, as the script does.
func (g *testGate) told(t *testing.T, query, cookie string) (state pageState) {
	t.Helper()
	r := httptest.NewRequest(http.MethodGet, Prefix+noticeState+"?"+query, nil)
	r.Host = "app.example.com"
	r.Header.Set("Accept-Language", "de")
	o := g.serve(r, cookie)
	if o.Code != http.StatusOK || o.passed || o.Header().Get("Cache-Control") != "no-store" {
		t.Fatalf("%s: %d, %v", query, o.Code, o.Header())
	}
	if err := json.Unmarshal(o.Body.Bytes(), &state); err != nil {
		t.Fatal(err)
	}
	return state
}

func TestNoticeTellsTheState(t *testing.T) {
	strict := Rule{Allows: restOf().Allows, Require: assurance.Requirement{Level: assurance.Multi, MaxAge: 15 * time.Minute}, Match: func(r *http.Request) (bool, error) {
		return strings.HasPrefix(r.URL.Path, "/strict"), nil
	}}
	g := newNoticeGate(t, strict, restOf())
	fine := g.told(t, "assurance=multi&person=", cookieGood)
	if fine.State != pageSignedIn || fine.Person == "" || fine.Title != "" {
		t.Errorf("%+v", fine)
	}
	if again := g.told(t, "assurance=multi&person="+fine.Person, cookieGood); again != fine {
		t.Errorf("%+v", again)
	}
	for _, tt := range []struct{ what, query, cookie, state, signIn string }{
		{"nobody", "assurance=multi", "", pageSignedOut, "/.mfa/sign-in?assurance=multi&to=%2F.mfa%2Fsigned-in%3Fclose"},
		{"garbage", "assurance=multi", "__Host-mfa=garbage", pageSignedOut, "/.mfa/sign-in?assurance=multi&to=%2F.mfa%2Fsigned-in%3Fclose"},
		{"an hour since the check", "assurance=multi&max_age=900&person=" + fine.Person, cookieGood, pageStepUp, "/.mfa/sign-in?assurance=multi&max_age=900&to=%2F.mfa%2Fsigned-in%3Fclose"},
		{"what no rule requires", "assurance=single&max_age=1&person=" + fine.Person, cookieGood, pageSignedIn, ""},
		{"loaded for another", "assurance=multi&person=x", cookieGood, pageSomebodyElse, ""},
	} {
		state := g.told(t, tt.query, tt.cookie)
		if state.State != tt.state || state.SignIn != tt.signIn {
			t.Errorf("%s: %+v", tt.what, state)
		}
		if spoken := state.Language == "de" && state.Title != "" && state.Text != "" && state.Reload != "" && (state.Action != "") == (state.SignIn != ""); spoken != (tt.state != pageSignedIn) {
			t.Errorf("%s: says %+v", tt.what, state)
		}
		if strings.Contains(state.Title+state.Text+state.Action, "notice.") {
			t.Errorf("%s: a text is missing: %+v", tt.what, state)
		}
	}
	g.live = func(string) error { return errFault }
	if o := g.serve(navigate(Prefix+noticeState), cookieGood); o.Code != http.StatusServiceUnavailable {
		t.Errorf("when it can't be told: %d", o.Code)
	}
}

// TestAskingIsNoActivity has questions about a session keep no session alive,
// however often they are asked, while a request to the app does.
func TestAskingIsNoActivity(t *testing.T) {
	g := newNoticeGate(t)
	var lookups []session.SignOnLookup
	g.SignOns = notedLookups{fakeSignOns{g}, &lookups}
	for path, passive := range map[string]bool{Prefix + noticeState: true, Prefix + "whoami": true, "/": false} {
		lookups = nil
		g.serve(navigate(path), cookieGood)
		if len(lookups) != 1 || lookups[0].Passive != passive {
			t.Errorf("%s: %+v", path, lookups)
		}
	}
}

// notedLookups notes how sign-ons are asked about.
type notedLookups struct {
	fakeSignOns
	lookups *[]session.SignOnLookup
}

func (n notedLookups) LiveSignOn(ctx context.Context, l session.SignOnLookup) (session.LiveSignOn, error) {
	*n.lookups = append(*n.lookups, l)
	return n.fakeSignOns.LiveSignOn(ctx, l)
}

// TestNoticeScript is served to everybody of the site, and to no other site.
func TestNoticeScript(t *testing.T) {
	o := newNoticeGate(t).serve(navigate(Prefix + noticeScript))
	want := map[string]string{
		"Content-Type": "text/javascript; charset=utf-8", "Cache-Control": "private, max-age=3600",
		"Cross-Origin-Resource-Policy": "same-origin", "X-Content-Type-Options": "nosniff",
	}
	got := map[string]string{}
	for name := range want {
		got[name] = o.Header().Get(name)
	}
	if o.Code != http.StatusOK || !maps.Equal(got, want) || !strings.Contains(o.Body.String(), "session-notice") {
		t.Errorf("%d, %v", o.Code, o.Header())
	}
}

// TestSignedInBesideAPage ends a sign-in beside a page, without leading anywhere
// else whatever the link says.
func TestSignedInBesideAPage(t *testing.T) {
	g := newNoticeGate(t)
	for target, beside := range map[string]bool{signedInAside: true, signedInPath: false, signedInPath + "?close=https://evil.example": false} {
		o := g.serve(navigate(target), cookieGood)
		if o.Code != http.StatusOK || strings.Contains(o.Body.String(), "go back to your page") != beside || strings.Contains(o.Body.String(), "evil") {
			t.Errorf("%s: %d %s", target, o.Code, o.heading())
		}
	}
	g.serve(navigate(Prefix+"sign-in?assurance=multi&to=%2F.mfa%2Fsigned-in%3Fclose")).expectStopped(t, http.StatusFound)
	if len(g.asked) != 1 || g.asked[0].Return != testOrigin+signedInAside {
		t.Errorf("the portal is asked %+v", g.asked)
	}
}
