package portal_test

import (
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
)

// atChallenge is a browser that is asked for a code from the app.
func atChallenge(t *testing.T) *hall {
	t.Helper()
	h := newHall(t)
	h.flows.step = authflow.Step{Kind: authflow.StepChallenge, Factor: assurance.TOTP, Others: []assurance.Factor{assurance.BackupCode}}
	h.signIn("ada")
	return h
}

func TestLosing(t *testing.T) {
	h := atChallenge(t)
	if page := h.page(h.send(http.MethodGet, "/flow?id=flow+of+ada", nil)); !strings.Contains(page, `href="/flow/lost?id=flow`) {
		t.Fatal("nothing leads on for somebody who can't use their app")
	}
	page := h.page(h.send(http.MethodGet, "/flow/lost?id=flow+of+ada&use=totp", nil))
	if !strings.Contains(page, `value="c1" autocomplete="off" checked`) || strings.Contains(page, `value="b1" autocomplete="off" checked`) {
		t.Error("what was asked for isn't ticked, or something else is")
	}
	if !strings.Contains(page, "use=backup_code") {
		t.Error("the other way in isn't offered")
	}
	h.flows.losable = []credentials.Own{{ID: "c2", Kind: assurance.TOTP, Name: "Tablet"}}
	if page := h.page(h.send(http.MethodGet, "/flow/lost?id=flow+of+ada&use=totp", nil)); strings.Contains(page, " checked") {
		t.Error("of two apps one is ticked that may not be the lost one")
	}
	form := url.Values{"flow": {"flow of ada"}, "factor": {"totp"}}
	nothing := h.send(http.MethodPost, "/flow/lost", form)
	if page := h.page(nothing); nothing.StatusCode != http.StatusUnprocessableEntity || h.flows.lost != nil || strings.Contains(page, " checked") {
		t.Errorf("with nothing ticked: %d, lost %v", nothing.StatusCode, h.flows.lost)
	}
	form["lose"] = []string{"c1", "b1"}
	r := h.send(http.MethodPost, "/flow/lost", form)
	if r.Header.Get("Location") != "/flow?id=flow+of+ada" || !slices.Equal(h.flows.lost, form["lose"]) {
		t.Errorf("to %q, lost %v", r.Header.Get("Location"), h.flows.lost)
	}
	h.flows.refusal = credentials.ErrUnknown
	if r := h.send(http.MethodPost, "/flow/lost", form); r.StatusCode != http.StatusNotFound {
		t.Errorf("W03 what is somebody else's: %d", r.StatusCode)
	}
	form.Set("flow", "somebody else's")
	for _, r := range []*http.Response{h.send(http.MethodPost, "/flow/lost", form), h.send(http.MethodGet, "/flow/lost?id=other", nil)} {
		if r.StatusCode != http.StatusGone {
			t.Errorf("F05 another's flow: %d", r.StatusCode)
		}
	}
}

// TestReplacingWhatIsLostGoesOn wants a sign-on in the same browser not to end
// what its owner has begun.
func TestReplacingWhatIsLostGoesOn(t *testing.T) {
	h := atHome(t)
	h.signIn("ada")
	h.flows.step = authflow.Step{Kind: authflow.StepChallenge, Factor: assurance.BackupCode}
	if r := h.send(http.MethodGet, "/flow?id=flow+of+ada", nil); r.Header.Get("Location") != "/" {
		t.Fatalf("a sign-in that another tab has done: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	h.flows.flow.Lost = []string{"c1"}
	if r := h.send(http.MethodGet, "/flow?id=flow+of+ada", nil); r.StatusCode != http.StatusOK {
		t.Errorf("replacing what is lost: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
}

func TestAccessCode(t *testing.T) {
	h := atChallenge(t)
	h.flows.step = authflow.Step{Kind: authflow.StepAccessCode, Others: []assurance.Factor{assurance.BackupCode}}
	page := h.page(h.send(http.MethodGet, "/flow?id=flow+of+ada&use=access_code", nil))
	if !strings.Contains(page, `action="/flow/access-code"`) || !strings.Contains(page, "Use a backup code") {
		t.Errorf("the page is %s", page)
	}
	form := url.Values{"flow": {"flow of ada"}, "code": {"abcd efgh"}}
	if r := h.send(http.MethodPost, "/flow/access-code", form); r.StatusCode != http.StatusSeeOther || h.flows.accessCode != "abcd efgh" {
		t.Errorf("%d, code %q", r.StatusCode, h.flows.accessCode)
	}
	h.flows.refusal = &factors.Refused{Reason: factors.Wrong}
	r := h.send(http.MethodPost, "/flow/access-code", form)
	if page := h.page(r); r.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(page, "Ask for a new one") || strings.Contains(page, "abcd") {
		t.Errorf("a wrong one: %d", r.StatusCode)
	}
}

func TestNewPassword(t *testing.T) {
	h := atChallenge(t)
	h.flows.step = authflow.Step{Kind: authflow.StepNewPassword}
	if page := h.page(h.send(http.MethodGet, "/flow?id=flow+of+ada", nil)); !strings.Contains(page, `data-strength="/flow/password-strength"`) {
		t.Error("there is no meter")
	}
	form := url.Values{"flow": {"flow of ada"}, "password": {"seven lanterns"}}
	if r := h.send(http.MethodPost, "/flow/new-password", form); r.StatusCode != http.StatusSeeOther || h.flows.newPassword != "seven lanterns" {
		t.Errorf("%d, chosen %q", r.StatusCode, h.flows.newPassword)
	}
	h.flows.refusal = &person.Invalid{Fields: map[string]error{"password": errors.New("common")}}
	r := h.send(http.MethodPost, "/flow/new-password", form)
	if page := h.page(r); r.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(page, `id="password-error"`) || strings.Contains(page, "seven lanterns") {
		t.Errorf("one that can't be used: %d", r.StatusCode)
	}
}

// TestAdding goes through an enrolment from the account pages.
func TestAdding(t *testing.T) {
	h := atHome(t)
	h.flows.step = authflow.Step{Kind: authflow.StepEnrol, Factor: assurance.TOTP}
	h.accounts.held[1].Name = "Authenticator app"
	if r := h.send(http.MethodPost, "/account/totp/add", nil); r.Header.Get("Location") != "/flow?id=add+totp" || h.accounts.addTo != "/account/totp" {
		t.Fatalf("%d to %q and back to %q", r.StatusCode, r.Header.Get("Location"), h.accounts.addTo)
	}
	h.flows.flow = authflow.Flow{ID: "add totp", Kind: authflow.Enrol, Enrol: assurance.TOTP, UserID: "ada", Return: "/account/totp"}
	if page := h.page(h.send(http.MethodGet, "/flow?id=add+totp", nil)); !strings.Contains(page, `value="Authenticator app 2"`) {
		t.Error("a name of its own isn't suggested")
	}
	form := url.Values{"flow": {"add totp"}, "factor": {"totp"}, "name": {" Tablet "}, "code": {"123456"}}
	h.send(http.MethodPost, "/flow/enrol", form)
	if got := h.flows.enrolled; got.Name != "Tablet" || got.Factor != assurance.TOTP || len(got.Answer) != 1 || got.Answer["code"] != "123456" {
		t.Errorf("%+v was handed on", got)
	}
	for typed, want := range map[string][2]string{
		"":                        {"", "Authenticator app"},
		"Authenticator app 2":     {"", "Authenticator app 2"},
		"Authenticator app 2b":    {"Authenticator app 2b", "Authenticator app"},
		"Authenticator app 12345": {"Authenticator app 12345", "Authenticator app"},
	} {
		form.Set("name", typed)
		if h.send(http.MethodPost, "/flow/enrol", form); h.flows.enrolled.Name != want[0] || h.flows.enrolled.Unnamed != want[1] {
			t.Errorf("named %q it is called %q, or %q", typed, h.flows.enrolled.Name, h.flows.enrolled.Unnamed)
		}
	}
	h.flows.refusal = &person.Invalid{Fields: map[string]error{"name": errors.New("long")}}
	form.Set("name", "Much too long")
	r := h.send(http.MethodPost, "/flow/enrol", form)
	if page := h.page(r); r.StatusCode != http.StatusUnprocessableEntity || !strings.Contains(page, `id="name-error"`) || !strings.Contains(page, `value="Much too long"`) {
		t.Errorf("a name that can't be: %d", r.StatusCode)
	}
	// Who took long over it shows that it's them, and comes back.
	h.flows.refusal = person.ErrStale
	if r := h.send(http.MethodPost, "/flow/enrol", form); r.Header.Get("Location") != "/flow?id=check" || h.accounts.freshTo != "/flow?id=add+totp" {
		t.Errorf("after long: %d to %q, and back to %q", r.StatusCode, r.Header.Get("Location"), h.accounts.freshTo)
	}
	h.flows.step, h.flows.refusal = authflow.Step{Kind: authflow.StepDone}, nil
	if r := h.send(http.MethodGet, "/flow?id=add+totp", nil); r.Header.Get("Location") != "/account/totp" {
		t.Errorf("when it is done: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	if page := h.page(h.send(http.MethodGet, "/account/totp", nil)); !strings.Contains(page, "Added.") {
		t.Error("the page doesn't say what was done")
	}
}

// TestFreshCheckLeadsBack finishes a check and returns to the account, wherever
// the store says that it began; never to another site.
func TestFreshCheckLeadsBack(t *testing.T) {
	for to, want := range map[string]string{
		"/account/totp/rename?id=c1": "/account/totp/rename?id=c1", "//evil.example": "/", "https://evil.example/": "/",
		"/flow?id=add+totp": "/flow?id=add+totp", "/flow/../sign-out?": "/", "/flow?id=a\\b": "/",
	} {
		h := atHome(t)
		h.signOns.proofs = h.signOns.proofs[:1]
		h.send(http.MethodGet, "/account", nil)
		h.flows.flow = authflow.Flow{ID: "check", Kind: authflow.StepUp, UserID: "ada", Return: to}
		if r := h.send(http.MethodGet, "/flow?id=check", nil); r.Header.Get("Location") != want {
			t.Errorf("from %q: %d to %q", to, r.StatusCode, r.Header.Get("Location"))
		}
	}
}

func TestMoreTime(t *testing.T) {
	h := atChallenge(t)
	ask := func(accept string) *http.Response {
		r := httptest.NewRequest(http.MethodPost, "https://login.example.com/flow/more-time", strings.NewReader("flow=flow+of+ada"))
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		r.Header.Set("Accept", accept)
		r.AddCookie(h.cookies["__Host-mfa-flow"])
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return w.Result()
	}
	if r := ask("text/html,*/*"); r.Header.Get("Location") != "/flow?id=flow+of+ada" {
		t.Errorf("a form: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	if r := ask("application/json"); r.StatusCode != http.StatusOK || !strings.HasSuffix(h.page(r), `{"seconds":840}`) {
		t.Errorf("a script: %d", r.StatusCode)
	}
	h.flows.refusal = authflow.ErrFlowGone
	if r := ask("application/json"); r.StatusCode != http.StatusGone || r.Header.Get("Content-Type") != "application/json" {
		t.Errorf("a script, too late: %d", r.StatusCode)
	}
	if r := ask("text/html"); r.StatusCode != http.StatusGone {
		t.Errorf("a form, too late: %d", r.StatusCode)
	}
}

func TestForeignLink(t *testing.T) {
	h := atHome(t)
	r := h.send(http.MethodGet, "/invitation?token=good", nil)
	page := h.page(r)
	if r.StatusCode != http.StatusConflict || !strings.Contains(page, "You are signed in as ada") || !strings.Contains(page, `href="/sign-out"`) {
		t.Errorf("somebody else's link: %d", r.StatusCode)
	}
	if strings.Contains(page, "token") || strings.Contains(page, `action="/language"`) {
		t.Error("the page leads back to the link")
	}
	if r := h.send(http.MethodGet, "/invitation?token=bad", nil); r.StatusCode != http.StatusGone {
		t.Errorf("a link that is gone: %d", r.StatusCode)
	}
	clear(h.cookies)
	if r := h.send(http.MethodGet, "/invitation?token=good", nil); r.Header.Get("Location") != "/flow?id=set-up" {
		t.Errorf("nobody is signed in: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
}
