package gate

import (
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// TestAnotherPerson clears what the app left in the browser for the one before,
// whose session may be over long since.
func TestAnotherPerson(t *testing.T) {
	of := func(user string, spoil func(*session.Session)) session.Session {
		s := sessionOf("old", time.Hour)
		s.User = user
		if spoil != nil {
			spoil(&s)
		}
		return s
	}
	over := func(s *session.Session) { s.Expires = testNow.Add(-time.Hour) }
	elsewhere := func(s *session.Session) { s.Host = "other.example.com" }
	for _, test := range []struct {
		name   string
		before session.Session
		clears bool
	}{
		{"another", of("2", nil), true},
		{"another, over", of("2", over), true},
		{"the same", of("1", nil), false},
		{"the same, over", of("1", over), false},
		{"another at another host", of("2", elsewhere), false},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newTestGate(t)
			g.sessions["before"] = test.before
			w := recorder()
			r := &request{Request: navigate("/"), host: "app.example.com", origin: testOrigin, cookies: Cookies{Sessions: []string{"garbage", "before"}}}
			g.beginSession(w, r, session.SignOn{ID: "new", UserID: "1", Expires: testNow.Add(time.Hour)},
				ticket.Request{Return: testOrigin + "/", NonceHash: "0123456789"})
			want := ""
			if test.clears {
				want = `"cache", "storage"`
			}
			if got := w.Header().Get("Clear-Site-Data"); got != want || w.Code != http.StatusSeeOther {
				t.Errorf("answered %d with Clear-Site-Data: %s", w.Code, got)
			}
		})
	}
}

// TestSignedOutPage clears nothing of an app's because a page had it fetched.
func TestSignedOutPage(t *testing.T) {
	o := newTestGate(t).serve(navigate("/.mfa/sign-out"))
	o.expectStopped(t, http.StatusOK)
	if got := o.Header().Get("Clear-Site-Data"); got != "" {
		t.Errorf("Clear-Site-Data: %s", got)
	}
}

// signOutBy posts the form of the sign-out page and returns the answer.
func (g *testGate) signOutBy(cookies ...string) outcome {
	r := navigate("/.mfa/sign-out")
	r.Method = http.MethodPost
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	return g.serve(r, cookies...)
}

// TestClearingAtSignOut clears what the app left in the browser where that is
// set, and always at a shared computer or at what could be one.
func TestClearingAtSignOut(t *testing.T) {
	last := LastCookie + "=" + markOf("1", "app.example.com")
	for _, test := range []struct {
		name    string
		always  bool
		cookies []string
		clears  bool
	}{
		{"as usual", false, []string{cookieGood, last}, false},
		{"as usual, over", false, []string{last}, false},
		{"where that is set", true, []string{cookieGood, last}, true},
		{"where that is set, over", true, []string{last}, true},
		{"a shared computer", false, []string{cookieGood, last + atShared}, true},
		{"a shared computer, over", false, []string{last + atShared}, true},
		{"a session without a mark", false, []string{cookieGood}, true},
		{"nobody", false, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newTestGate(t)
			g.ClearAtSignOut = test.always
			o := g.signOutBy(test.cookies...)
			o.expectStopped(t, http.StatusOK)
			if got := o.Header().Get("Clear-Site-Data"); (got == `"cache", "storage"`) != test.clears || !test.clears && got != "" {
				t.Errorf("Clear-Site-Data: %s", got)
			}
			if _, set := o.setCookies()[LastCookie]; set != (test.name == "a session without a mark") {
				t.Errorf("sets %v", o.setCookies())
			}
		})
	}
}

// TestWhoWasHereLast signs people in one after another, with a sign-out between
// or without: what the app left is cleared for another person alone. The cookie
// that knows who was there says nothing of them.
func TestWhoWasHereLast(t *testing.T) {
	for _, test := range []struct {
		name   string
		shared bool
		next   string
		clears bool
	}{
		{"the same", false, "1", false},
		{"another", false, "2", true},
		{"the same at a shared computer", true, "1", false},
		{"another at a shared computer", true, "2", true},
	} {
		t.Run(test.name, func(t *testing.T) {
			g := newTestGate(t)
			signIn := func(user string, cookies Cookies) (cleared bool, last string) {
				w := outcome{ResponseRecorder: recorder()}
				r := &request{Request: navigate("/"), host: "app.example.com", origin: testOrigin, cookies: cookies}
				g.beginSession(w, r, session.SignOn{ID: "new", UserID: user, Expires: testNow.Add(time.Hour), Shared: test.shared},
					ticket.Request{Return: testOrigin + "/", NonceHash: "0123456789"})
				return w.Header().Get("Clear-Site-Data") != "", w.setCookies()[LastCookie]
			}
			cleared, last := signIn("1", Cookies{})
			if cleared || last == "" || last == "1" {
				t.Fatalf("cleared for the first: %t, mark %q", cleared, last)
			}
			g.sessions["good"] = session.Session{User: "1", SignOn: "new", Host: "app.example.com", Minted: testNow, Expires: testNow.Add(time.Hour)}
			out := g.signOutBy(cookieGood, LastCookie+"="+last)
			if cleared := out.Header().Get("Clear-Site-Data") != ""; cleared != test.shared {
				t.Errorf("cleared at sign-out: %t", cleared)
			}
			set := out.setCookies()
			if left, changed := set[LastCookie]; set[SessionCookie] != "" || changed {
				t.Fatalf("signing out sets the mark %q and the session %q", left, set[SessionCookie])
			}
			if cleared, _ := signIn(test.next, Cookies{Last: last}); cleared != test.clears {
				t.Errorf("cleared for the next: %t", cleared)
			}
			if other := markOf("1", "other.example.com"); strings.HasPrefix(last, other) {
				t.Errorf("another host has the same mark %q", other)
			}
		})
	}
}
