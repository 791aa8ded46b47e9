package portal_test

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
)

// question asks for a passkey as the form's script does.
func (h *hall) question() (state string) {
	h.t.Helper()
	r := h.send(http.MethodGet, "/sign-in/passkey", nil)
	var answer struct {
		Ceremony struct{ Options string }
		State    string
	}
	_, body, _ := strings.Cut(h.page(r), "\r\n\r\n")
	if err := json.Unmarshal([]byte(body), &answer); err != nil || r.StatusCode != http.StatusOK || answer.Ceremony.Options != "{}" {
		h.t.Fatalf("%d, %+v, %v", r.StatusCode, answer, err)
	}
	return answer.State
}

// TestQuestionsAreForOneBrowser binds a question to the browser that asked.
func TestQuestionsAreForOneBrowser(t *testing.T) {
	h := newHall(t)
	state := h.question()
	if nonce := strings.TrimPrefix(state, "for "); len(nonce) < 22 {
		t.Errorf("what tells browsers apart is %q", nonce)
	}
	if again := h.question(); again != state {
		t.Error("a second tab has another mark, and the first can't go on")
	}
	h.send(http.MethodPost, "/sign-in/passkey", url.Values{"state": {state}, "credential": {"c"}})
	if got := h.flows.passkey; got.Browser != strings.TrimPrefix(state, "for ") || got.State != state || got.Answer["credential"] != "c" {
		t.Errorf("%+v", got)
	}
	clear(h.cookies)
	h.send(http.MethodPost, "/sign-in/passkey", url.Values{"state": {state}, "credential": {"c"}})
	if got := h.flows.passkey.Browser; got != "" {
		t.Errorf("a browser without the cookie is %q", got)
	}
}

// TestQuestionsAreForScripts leads a person to the form, as when a browser opens
// anew the page that refused a passkey.
func TestQuestionsAreForScripts(t *testing.T) {
	h := newHall(t)
	r := httptest.NewRequest(http.MethodGet, "https://login.example.com/sign-in/passkey", nil)
	r.Header.Set("Sec-Fetch-Mode", "navigate")
	w := httptest.NewRecorder()
	h.ServeHTTP(w, r)
	if w.Code != http.StatusSeeOther || w.Header().Get("Location") != "/sign-in" {
		t.Errorf("%d to %q", w.Code, w.Header().Get("Location"))
	}
}

func TestPasskeysSignIn(t *testing.T) {
	h := newHall(t)
	r := h.send(http.MethodPost, "/sign-in/passkey", url.Values{"state": {h.question()}, "credential": {"c"}, "shared": {"yes"}, "to": {"/account"}})
	if r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/flow?id=flow+of+a+passkey" {
		t.Errorf("%d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	if got := h.flows.login; !got.Shared || got.Return != "/account" || got.Name != "" {
		t.Errorf("%+v", got)
	}
	h.send(http.MethodPost, "/sign-in/passkey", url.Values{"to": {"//evil.example/account"}})
	if got := h.flows.login.Return; got != "" {
		t.Errorf("R01: it leads to %q", got)
	}
}

func TestRefusedPasskeys(t *testing.T) {
	for name, c := range map[string]struct {
		refusal error
		status  int
		says    string
		unknown bool
	}{
		"wrong":   {&factors.Refused{Reason: factors.Wrong}, 422, "That passkey doesn't work here.", false},
		"unknown": {&factors.Refused{Reason: factors.Unknown, Credential: "AAEC"}, 422, "That passkey doesn't work here.", true},
		"late":    {&factors.Refused{Reason: factors.Expired}, 422, "That took too long.", false},
		"slowed":  {&guess.Slowed{RetryAfter: time.Minute}, 429, "Too many attempts.", false},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHall(t)
			h.flows.refusal = c.refusal
			r := h.send(http.MethodPost, "/sign-in/passkey", url.Values{"state": {h.question()}, "credential": {"c"}, "shared": {"yes"}})
			page := h.page(r)
			if r.StatusCode != c.status || !strings.Contains(strings.ReplaceAll(page, "&#39;", "'"), c.says) {
				t.Errorf("%d: %s", r.StatusCode, page)
			}
			if told := strings.Contains(page, `data-unknown="AAEC"`); told != c.unknown {
				t.Errorf("the browser is told that the credential isn't known: %t", told)
			}
			if !strings.Contains(page, `aria-describedby="shared-hint" checked`) {
				t.Error("the box isn't ticked any more")
			}
		})
	}
}

func TestWithoutPasskeys(t *testing.T) {
	h := newHall(t)
	h.flows.noPasskeys = true
	if page := h.page(h.send(http.MethodGet, "/sign-in", nil)); strings.Contains(page, "/sign-in/passkey") || strings.Contains(page, "passkey.js") {
		t.Error("a passkey is offered")
	}
	for _, r := range []*http.Response{h.send(http.MethodGet, "/sign-in/passkey", nil), h.send(http.MethodPost, "/sign-in/passkey", url.Values{"credential": {"c"}})} {
		if r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", r.Request.Method, r.StatusCode)
		}
	}
}

// TestAPasskeyPostedTwice goes on to where the first post led somebody, and asks
// whoever isn't signed in any more once again.
func TestAPasskeyPostedTwice(t *testing.T) {
	h := atHome(t)
	h.flows.refusal = authflow.ErrFlowGone
	again := url.Values{"state": {h.question()}, "credential": {"c"}, "to": {"/account"}}
	if r := h.send(http.MethodPost, "/sign-in/passkey", again); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/account" {
		t.Errorf("signed in: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	delete(h.cookies, "__Host-mfa-portal")
	r := h.send(http.MethodPost, "/sign-in/passkey", again)
	if page := h.page(r); r.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(page, "That took too long.") {
		t.Errorf("signed out: %d %s", r.StatusCode, page)
	}
}

// TestNobodyHasSetUp wants no form that nobody can pass, however it is reached.
func TestNobodyHasSetUp(t *testing.T) {
	h := newHall(t)
	h.flows.empty, h.flows.refusal = true, &factors.Refused{Reason: factors.Wrong}
	for _, answer := range []*http.Response{
		h.send(http.MethodGet, "/sign-in", nil), h.send(http.MethodGet, "/sign-in?switch", nil), h.signIn("ada"),
	} {
		if answer.StatusCode != http.StatusServiceUnavailable || !strings.Contains(h.page(answer), "Sign-in isn&#39;t set up yet") {
			t.Errorf("answered %d", answer.StatusCode)
		}
	}
}
