package portal_test

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestLanguageIsChosen(t *testing.T) {
	h := newHall(t)
	ask := func(accept string) string {
		r := httptest.NewRequest(http.MethodGet, "https://login.example.com/sign-in", nil)
		r.Header.Set("Accept-Language", accept)
		if c := h.cookies["__Host-mfa-language"]; c != nil {
			r.AddCookie(c)
		}
		w := httptest.NewRecorder()
		h.ServeHTTP(w, r)
		return h.page(w.Result())
	}
	for accept, want := range map[string]string{"": "en", "de-AT,de;q=0.9,en;q=0.8": "de", "fr,*;q=0.1": "en", "en-GB,de;q=0.5": "en"} {
		if !strings.Contains(ask(accept), `<html lang="`+want+`"`) {
			t.Errorf("for %q the page isn't in %q", accept, want)
		}
	}
	choose := func(language, to string) *http.Response {
		return h.send(http.MethodPost, "/language", url.Values{"language": {language}, "to": {to}})
	}
	if choose("xx", "/sign-in"); h.cookies["__Host-mfa-language"] != nil {
		t.Error("a language that there isn't was kept")
	}
	if r := choose("de", "/sign-in?request=a"); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/sign-in?request=a" {
		t.Errorf("%d to %q", r.StatusCode, r.Header.Get("Location"))
	}
	if got := h.lastsFor("language"); got != 365*24*time.Hour {
		t.Errorf("the choice lasts %v", got)
	}
	if !strings.Contains(ask("en"), `<html lang="de"`) {
		t.Error("the choice doesn't count before what the browser prefers")
	}
	if r := choose("en", "//evil.example"); r.Header.Get("Location") != "/" {
		t.Errorf("it leads to %q", r.Header.Get("Location"))
	}
}

// TestProblemsAreToldInTheReadersLanguage wants no page with a text that no
// catalogue has.
func TestProblemsAreToldInTheReadersLanguage(t *testing.T) {
	h := newHall(t)
	h.send(http.MethodPost, "/language", url.Values{"language": {"de"}, "to": {"/"}})
	for path, want := range map[string]string{
		"/nowhere": "Hier ist nichts", "/flow?id=x": "Diese Seite ist abgelaufen", "/invitation?token=x": "Dieser Link wurde benutzt",
	} {
		if page := h.page(h.send(http.MethodGet, path, nil)); !strings.Contains(page, want) || strings.Contains(page, "portal.") {
			t.Errorf("%s doesn't say %q", path, want)
		}
	}
}

func TestHelpIsThereForEverybody(t *testing.T) {
	h := newHall(t)
	for path, want := range map[string]int{
		"/help/totp": 200, "/help/password": 200, "/help/backup_code": 200, "/help/fido": 200, "/help/push": 404, "/help/": 404, "/help/..%2faccount": 404,
	} {
		if r := h.send(http.MethodGet, path, nil); r.StatusCode != want {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
}

func TestOwnPasswordStrength(t *testing.T) {
	h := atHome(t)
	r := h.send(http.MethodPost, "/account/password/strength", url.Values{"password": {"short"}})
	if page := h.page(r); r.StatusCode != http.StatusOK || !strings.HasSuffix(page, `{"score":0,"text":"Very weak: it would be among the first guesses.","ok":false,"reason":"That password has 5 characters. Use at least 8."}`) {
		t.Errorf("%d: %s", r.StatusCode, page)
	}
	clear(h.cookies)
	if r := h.send(http.MethodPost, "/account/password/strength", url.Values{"password": {"short"}}); r.Header.Get("Location") != "/sign-in?to=%2Faccount%2Fpassword" {
		t.Errorf("for a stranger: %d to %q", r.StatusCode, r.Header.Get("Location"))
	}
}

// TestSignedOutIsForWhoIs leads whoever is signed in away from the page that says
// they aren't.
func TestSignedOutIsForWhoIs(t *testing.T) {
	if r := newHall(t).send(http.MethodGet, "/signed-out", nil); r.StatusCode != http.StatusOK {
		t.Errorf("signed out: %d", r.StatusCode)
	}
	if r := atHome(t).send(http.MethodGet, "/signed-out", nil); r.StatusCode != http.StatusSeeOther || r.Header.Get("Location") != "/" {
		t.Errorf("signed in: %d to %s", r.StatusCode, r.Header.Get("Location"))
	}
}

// TestCertificatesHaveNoPageOfTheirOwn, with a CA for devices or without.
func TestCertificatesHaveNoPageOfTheirOwn(t *testing.T) {
	for _, path := range []string{"/account/certificate", "/account/certificate/add", "/account/password/add"} {
		if r := atHome(t).send(http.MethodGet, path, nil); r.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %d", path, r.StatusCode)
		}
	}
}
