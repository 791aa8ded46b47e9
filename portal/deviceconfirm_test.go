package portal_test

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"maps"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/enrolment"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/portal"
	"github.com/portcullis-mfa/portcullis/store"
)

func (a *accounts) ConfirmDevice(_ context.Context, _ store.SignOn, w enrolment.Wish, _ person.Client) (string, error) {
	return "the-code", a.note("confirm " + w.Name + " " + w.Key[:4] + " " + w.Challenge[:4])
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
