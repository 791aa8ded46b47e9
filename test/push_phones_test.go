package test

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/phone"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// Software phones against the real binary, whose people use forms.

// pairPhone adds a software phone to somebody's account, where they are signed in.
func pairPhone(t testing.TB, s *scene.Scene, p *scene.Person) *phone.Phone {
	t.Helper()
	device, err := phone.New(strings.TrimSuffix(s.At("phone", "/"), "/"), &http.Client{Transport: s.Client().Transport()})
	if err != nil {
		t.Fatal(err)
	}
	page := arrived(p.Browser.Follow(p.Browser.PostForm(s.At("login", "/account/push/add"), nil)))
	var token string
	for _, link := range elements(t, page, "a", "href") {
		if _, after, found := strings.Cut(link, "#p="); found {
			token = after
		}
	}
	flow := page.URL.Query().Get("id")
	answer := func(field, value string) *harness.Page {
		return arrived(p.Browser.Follow(p.Browser.PostForm(s.At("login", "/flow/enrol"), url.Values{
			"flow": {flow}, "factor": {"push"}, field: {value},
		})))
	}
	expectStatus(t, http.StatusOK)(device.Pair(t.Context(), "token", token))
	answer("collect", "yes")
	answer("digits", device.Digits())
	secret, err := url.Parse(expectStatus(t, http.StatusOK)(device.Send(t.Context(), "paired", nil)).Says("totp"))
	if err != nil {
		t.Fatal(err)
	}
	code := harness.TOTP(t, secret.Query().Get("secret"), time.Now())
	expectStatus(t, http.StatusOK)(device.Send(t.Context(), "ready", phone.Claims{"code": code}))
	answer("collect", "yes")
	expectStatus(t, http.StatusOK)(device.Send(t.Context(), "list", phone.Claims{"subscription": ""}))
	return device
}

// expectStatus takes what the server answered a phone.
func expectStatus(t testing.TB, want int) func(phone.Answer, error) phone.Answer {
	return func(a phone.Answer, err error) phone.Answer {
		t.Helper()
		if err != nil || a.Status != want {
			t.Fatalf("the phone is told %d %v, %v, want %d", a.Status, a.Body, err, want)
		}
		return a
	}
}

// openRequest waits for the phone's open request.
func openRequest(t testing.TB, device *phone.Phone) phone.Request {
	t.Helper()
	var open []phone.Request
	harness.Eventually(t, time.Minute, "the request on the phone", func() bool {
		var err error
		open, err = device.List(t.Context())
		return err == nil && len(open) > 0
	})
	return open[len(open)-1]
}
