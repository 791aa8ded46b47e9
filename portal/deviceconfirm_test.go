package portal_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"io/fs"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/portcullis-mfa/portcullis/enrolment"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/portal"
	"github.com/portcullis-mfa/portcullis/store"
)

func (a *accounts) ConfirmDevice(_ context.Context, _ store.SignOn, w enrolment.Wish, _ person.Client) (string, error) {
	return "the-code", a.note("confirm " + w.Name + " " + w.Key[:4] + " " + w.Challenge[:4])
}

func (a *accounts) FindDevice(_ context.Context, _ store.SignOn, typed string, _ person.Client) (enrolment.Asked, error) {
	return a.typed("find " + typed)
}

func (a *accounts) AdmitDevice(_ context.Context, _ store.SignOn, typed string, _ person.Client) (enrolment.Asked, error) {
	return a.typed("admit " + typed)
}

func (a *accounts) typed(what string) (enrolment.Asked, error) {
	return enrolment.Asked{Claims: enrolment.Claims{Name: "<i>box", System: "linux/arm64", Address: "198.51.100.7"}, At: noon}, a.note(what)
}

func (a *accounts) DeviceToken(context.Context, store.SignOn, person.Client) (enrolment.Token, error) {
	return enrolment.Token{Secret: "the-token", Expires: noon}, a.note("token")
}

func (a *accounts) RenameDevice(_ context.Context, _ store.SignOn, id, name string, _ person.Client) error {
	return a.note("rename device " + id + " to " + name)
}

// enrolling is atHome where certificates are issued.
func enrolling(t *testing.T) *hall {
	h := atHome(t)
	h.Enrolments = h.accounts
	h.Portal = portal.New(h.Settings)
	return h
}

// wishOf is what an agent asks for, with some of it changed.
func wishOf(t testing.TB, changes map[string]any) string {
	wish := map[string]any{
		"key": strings.Repeat("a1", 32), "challenge": strings.Repeat("C", 43), "state": strings.Repeat("S", 43),
		"port": 45678, "name": "laptop-7", "system": "linux/amd64",
	}
	maps.Copy(wish, changes)
	encoded, err := json.Marshal(wish)
	if err != nil {
		t.Fatal(err)
	}
	return base64.RawURLEncoding.EncodeToString(encoded)
}

const confirmPath = "/account/devices/confirm"

func TestDeviceIsConfirmed(t *testing.T) {
	h := enrolling(t)
	wish := wishOf(t, map[string]any{"name": "<b>laptop\u202e</b>"})
	r := h.send(http.MethodGet, confirmPath+"?request="+wish, nil)
	page := h.page(r)
	for _, want := range []string{"&lt;b&gt;laptop\ufffd&lt;/b&gt;", "Linux", "192.0.2.1", `name="user" value="ada"`, "http://127.0.0.1:45678/?error=access_denied"} {
		if !strings.Contains(page, want) {
			t.Errorf("the page doesn't show %q", want)
		}
	}
	policy := r.Header.Get("Content-Security-Policy")
	if !strings.Contains(policy, "form-action 'self' http://127.0.0.1:45678;") || !strings.Contains(policy, "frame-ancestors 'none'") {
		t.Errorf("the policy is %s", policy)
	}
	if len(h.accounts.done) > 0 {
		t.Fatalf("showing the page did %q", h.accounts.done)
	}
	r = h.send(http.MethodPost, confirmPath, url.Values{"request": {wishOf(t, nil)}, "user": {"ada"}})
	want := "http://127.0.0.1:45678/?code=the-code&state=" + strings.Repeat("S", 43)
	if got := r.Header.Get("Location"); r.StatusCode != http.StatusSeeOther || got != want || !portal.LeadsToAgent(got) {
		t.Errorf("%d to %q", r.StatusCode, got)
	}
	if !slices.Equal(h.accounts.done, []string{"confirm laptop-7 a1a1 CCCC"}) {
		t.Errorf("done: %q", h.accounts.done)
	}
}

func TestDeviceIsNotConfirmed(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*hall)
		form   url.Values
		want   int
	}{
		"by somebody else than saw the page": {func(*hall) {}, url.Values{"request": {wishOf(t, nil)}, "user": {"bob"}}, http.StatusConflict},
		"by nobody in particular":            {func(*hall) {}, url.Values{"request": {wishOf(t, nil)}}, http.StatusConflict},
		"without a fresh check": {func(h *hall) {
			for i := range h.signOns.proofs {
				h.signOns.proofs[i].At = noon.Add(-time.Hour)
			}
		}, url.Values{"request": {wishOf(t, nil)}, "user": {"ada"}}, http.StatusSeeOther},
		"by the password alone": {func(h *hall) { h.signOns.proofs = h.signOns.proofs[:1] },
			url.Values{"request": {wishOf(t, nil)}, "user": {"ada"}}, http.StatusSeeOther},
		"by what the transaction refuses": {func(h *hall) { h.accounts.refusal = store.ErrConflict },
			url.Values{"request": {wishOf(t, nil)}, "user": {"ada"}}, http.StatusConflict},
		"where no certificates are issued": {func(h *hall) { h.Enrolments = nil; h.Portal = portal.New(h.Settings) },
			url.Values{"request": {wishOf(t, nil)}, "user": {"ada"}}, http.StatusNotFound},
		"without what asks": {func(*hall) {}, url.Values{"user": {"ada"}}, http.StatusBadRequest},
	} {
		t.Run(name, func(t *testing.T) {
			h := enrolling(t)
			test.change(h)
			r := h.send(http.MethodPost, confirmPath, test.form)
			if r.StatusCode != test.want || portal.LeadsToAgent(r.Header.Get("Location")) || len(h.accounts.done) > 0 {
				t.Errorf("%d to %q, done: %q", r.StatusCode, r.Header.Get("Location"), h.accounts.done)
			}
		})
	}
}

func TestMalformedWishes(t *testing.T) {
	h := enrolling(t)
	for name, wish := range map[string]string{
		"nothing": "", "no base64": "%%%", "no JSON": base64.RawURLEncoding.EncodeToString([]byte("{")), "padded": "e30=",
		"no key": wishOf(t, map[string]any{"key": ""}), "key in capitals": wishOf(t, map[string]any{"key": strings.Repeat("A1", 32)}),
		"short challenge": wishOf(t, map[string]any{"challenge": "C"}), "state with markup": wishOf(t, map[string]any{"state": strings.Repeat("<", 43)}),
		"no port": wishOf(t, map[string]any{"port": 0}), "a service's port": wishOf(t, map[string]any{"port": 80}),
		"no such port": wishOf(t, map[string]any{"port": 65536}), "port as text": wishOf(t, map[string]any{"port": "45678@evil.example"}),
		"too long": wishOf(t, map[string]any{"name": strings.Repeat("x", 2000)}),
	} {
		if r := h.send(http.MethodGet, confirmPath+"?request="+url.QueryEscape(wish), nil); r.StatusCode != http.StatusBadRequest {
			t.Errorf("%s: %d", name, r.StatusCode)
		}
	}
}

func TestTypedCodes(t *testing.T) {
	const path = "/account/devices/code"
	h := enrolling(t)
	if r := h.send(http.MethodGet, "/device", nil); r.Header.Get("Location") != path {
		t.Errorf("the short address leads to %q", r.Header.Get("Location"))
	}
	if page := h.page(h.send(http.MethodGet, path, nil)); !strings.Contains(page, `name="code"`) || len(h.accounts.done) > 0 {
		t.Errorf("the form: %q", h.accounts.done)
	}
	page := h.page(h.send(http.MethodPost, path, url.Values{"code": {"4k7m-9xq2"}}))
	for _, want := range []string{"&lt;i&gt;box", "Linux", "198.51.100.7", "not even your IT department", `name="user" value="ada"`} {
		if !strings.Contains(page, want) {
			t.Errorf("who waits isn't shown: %q", want)
		}
	}
	if r := h.send(http.MethodPost, path, url.Values{"code": {"4k7m-9xq2"}, "user": {"bob"}}); r.StatusCode != http.StatusConflict {
		t.Errorf("confirmed by somebody else than saw it: %d", r.StatusCode)
	}
	r := h.send(http.MethodPost, path, url.Values{"code": {"4k7m-9xq2"}, "user": {"ada"}})
	if r.Header.Get("Location") != "/account/devices" {
		t.Errorf("confirmed: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	if want := []string{"find 4k7m-9xq2", "admit 4k7m-9xq2"}; !slices.Equal(h.accounts.done, want) {
		t.Errorf("done: %q", h.accounts.done)
	}
	for _, c := range []struct {
		refusal error
		status  int
		says    string
	}{
		{&factors.Refused{Reason: factors.Wrong}, http.StatusUnprocessableEntity, "That code didn&#39;t work."},
		{&factors.Refused{Reason: factors.Malformed}, http.StatusUnprocessableEntity, "eight letters and digits"},
		{&guess.Slowed{RetryAfter: time.Minute}, http.StatusTooManyRequests, "Too many attempts."},
	} {
		h.accounts.refusal = c.refusal
		if r := h.send(http.MethodPost, path, url.Values{"code": {"x"}}); r.StatusCode != c.status || !strings.Contains(h.page(r), c.says) {
			t.Errorf("%v: %d", c.refusal, r.StatusCode)
		}
	}
}

func TestAddingDevices(t *testing.T) {
	h := enrolling(t)
	if page := h.page(h.send(http.MethodGet, "/account/devices", nil)); !strings.Contains(page, "/account/devices/add") {
		t.Error("the list doesn't lead to adding one")
	}
	if page := h.page(h.send(http.MethodGet, "/account/devices/add", nil)); !strings.Contains(page, "mfa-agent enrol https://login.example.com") || strings.Count(page, "<li>") < 3 {
		t.Error("the page doesn't say how")
	}
	if page := h.page(h.send(http.MethodGet, "/account/devices/token", nil)); strings.Contains(page, "the-token") || len(h.accounts.done) > 0 {
		t.Errorf("showing the page did %q", h.accounts.done)
	}
	if page := h.page(h.send(http.MethodPost, "/account/devices/token", nil)); !strings.Contains(page, "the-token") {
		t.Error("the one-time password isn't shown")
	}
	if r := h.send(http.MethodPost, "/account/devices/rename", url.Values{"id": {"d1"}, "name": {" Desk "}}); r.Header.Get("Location") != "/account/devices" {
		t.Errorf("renaming: %d", r.StatusCode)
	}
	if r := h.send(http.MethodPost, "/account/devices/rename", url.Values{"id": {"d9"}, "name": {"Desk"}}); r.StatusCode != http.StatusNotFound {
		t.Errorf("W03, renaming somebody else's: %d", r.StatusCode)
	}
	if want := []string{"token", "rename device d1 to Desk"}; !slices.Equal(h.accounts.done, want) {
		t.Errorf("done: %q", h.accounts.done)
	}
}

// TestAgentsAreOffered holds that the agent is offered for the visitor's system, and that
// nothing else of its folder can be had.
func TestAgentsAreOffered(t *testing.T) {
	h := enrolling(t)
	h.Agents = fstest.MapFS{
		"mfa-agent-linux-amd64": {Data: []byte("for Linux")}, "mfa-agent-windows-amd64.exe": {Data: []byte("for Windows")},
		"secret-linux": {Data: []byte("secret")}, "mfa-agent-linux": {Mode: fs.ModeDir},
	}
	h.Portal = portal.New(h.Settings)
	for system, want := range map[string][]string{"Linux": {"/agent/mfa-agent-linux-amd64"}, "Windows": {"/agent/mfa-agent-windows-amd64.exe"}, "iOS": nil, "": nil} {
		h.platform = system
		var offered []string
		for _, part := range strings.Split(h.page(h.send(http.MethodGet, "/account/devices/add", nil)), `href="`)[1:] {
			if at, _, _ := strings.Cut(part, `"`); strings.HasPrefix(at, "/agent/") {
				offered = append(offered, at)
			}
		}
		if !slices.Equal(offered, want) {
			t.Errorf("on %q: %q", system, offered)
		}
	}
	r := h.send(http.MethodGet, "/agent/mfa-agent-linux-amd64", nil)
	if !strings.HasSuffix(h.page(r), "for Linux") || !strings.HasPrefix(r.Header.Get("Content-Disposition"), "attachment") {
		t.Errorf("downloading: %d, %v", r.StatusCode, r.Header)
	}
	for _, name := range []string{"secret-linux", "mfa-agent-linux", "mfa-agent-none", "..%2fsecret-linux", "mfa-agent%2f..%2fsecret-linux"} {
		if r := h.send(http.MethodGet, "/agent/"+name, nil); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", name, r.StatusCode)
		}
	}
}
