package confirmation

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"testing"
)

// listening is a Loopback, what it asked the portal for, and a browser that follows no
// redirect.
func listening(t *testing.T) (*Loopback, map[string]any, *http.Client) {
	t.Helper()
	l, err := Listen()
	if err != nil {
		t.Fatal(err)
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	address, err := l.Address("https://login.example.com", Machine{key.Public(), "laptop", "linux/amd64"})
	if err != nil {
		t.Fatal(err)
	}
	page, err := url.Parse(address)
	if err != nil || page.Host != "login.example.com" || page.Path != "/account/devices/confirm" {
		t.Fatalf("%s, %v", address, err)
	}
	decoded, err := base64.RawURLEncoding.DecodeString(page.Query().Get("request"))
	asked := make(map[string]any)
	if err != nil || json.Unmarshal(decoded, &asked) != nil {
		t.Fatalf("%s, %v", decoded, err)
	}
	return l, asked, &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

func TestAnswers(t *testing.T) {
	l, asked, browser := listening(t)
	at := fmt.Sprintf("http://127.0.0.1:%v/", asked["port"])
	answers := make(chan *http.Response, 1)
	for name, forged := range map[string]func() (*http.Request, error){
		"no state":    func() (*http.Request, error) { return http.NewRequest(http.MethodGet, at+"?code=evil", nil) },
		"wrong state": func() (*http.Request, error) { return http.NewRequest(http.MethodGet, at+"?code=evil&state=x", nil) },
		"no code": func() (*http.Request, error) {
			return http.NewRequest(http.MethodGet, at+"?state="+asked["state"].(string), nil)
		},
		"a POST": func() (*http.Request, error) {
			return http.NewRequest(http.MethodPost, at+"?code=evil&state="+asked["state"].(string), nil)
		},
		"another name for 127.0.0.1": func() (*http.Request, error) {
			r, err := http.NewRequest(http.MethodGet, at+"?code=evil&state="+asked["state"].(string), nil)
			r.Host = "evil.example"
			return r, err
		},
	} {
		request, err := forged()
		if err != nil {
			t.Fatal(err)
		}
		response, err := browser.Do(request)
		if err != nil || response.StatusCode != http.StatusNotFound {
			t.Errorf("%s: %v, %v", name, response, err)
		}
	}
	right := at + "?" + url.Values{"code": {"given"}, "state": {asked["state"].(string)}}.Encode()
	go func() {
		response, err := browser.Get(right)
		if err != nil {
			t.Error(err)
		}
		answers <- response
	}()
	secret, err := l.Wait(t.Context())
	if err != nil || secret != "given."+l.verifier {
		t.Fatalf("%q, %v", secret, err)
	}
	if err := l.Finish("https://login.example.com/account/devices"); err != nil {
		t.Error(err)
	}
	if response := <-answers; response.StatusCode != http.StatusSeeOther || response.Header.Get("Location") != "https://login.example.com/account/devices" {
		t.Errorf("the browser was told %v", response)
	}
	if _, err := browser.Get(right); err == nil {
		t.Error("it goes on listening")
	}
}

func TestDeclined(t *testing.T) {
	l, asked, browser := listening(t)
	go func() {
		_, _ = browser.Get(fmt.Sprintf("http://127.0.0.1:%v/?error=access_denied&state=%s", asked["port"], asked["state"]))
	}()
	if _, err := l.Wait(t.Context()); !errors.Is(err, ErrDeclined) {
		t.Errorf("%v", err)
	}
	if err := l.Finish("https://login.example.com/"); err != nil {
		t.Error(err)
	}
	cancelled, cancel := context.WithCancel(t.Context())
	cancel()
	waiting, _, _ := listening(t)
	if _, err := waiting.Wait(cancelled); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if err := waiting.Finish(""); err != nil {
		t.Error(err)
	}
}
