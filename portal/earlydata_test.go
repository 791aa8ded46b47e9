package portal_test

import (
	"crypto/tls"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// TestEarlyData refuses what a bystander could have the portal do twice, by GET
// too; what is the same for everybody may be read.
func TestEarlyData(t *testing.T) {
	h := newHall(t)
	for _, test := range []struct {
		method, path string
		early        bool // may be answered
	}{
		{http.MethodPost, "/sign-in", false},
		{http.MethodPost, "/sign-out", false},
		{http.MethodPost, "/help/totp", false},
		{http.MethodPost, "/nowhere", false},
		{http.MethodGet, "/", false},
		{http.MethodGet, "/sign-in", false},
		{http.MethodGet, "/sign-in/passkey", false},
		{http.MethodGet, "/flow?id=x", false},
		{http.MethodGet, "/flow/file", false},
		{http.MethodGet, "/setup?token=x", false},
		{http.MethodGet, "/invitation?token=x", false},
		{http.MethodHead, "/invitation?token=x", false},
		{http.MethodGet, "/account/totp/add", false},
		{http.MethodGet, "/help/totp", true},
		{http.MethodGet, "/.well-known/jwks.json", true},
	} {
		for name, set := range map[string]func(*http.Request){
			"handshake": func(r *http.Request) { r.TLS = &tls.ConnectionState{} },
			"proxy":     func(r *http.Request) { r.Header.Set("Early-Data", "1") },
			"twice":     func(r *http.Request) { r.Header["Early-Data"] = []string{"0", "1"} },
		} {
			t.Run(test.method+" "+test.path+" "+name, func(t *testing.T) {
				r := httptest.NewRequest(test.method, "https://login.example.com"+test.path, strings.NewReader("name=alice&password=x"))
				r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
				set(r)
				w := httptest.NewRecorder()
				h.ServeHTTP(w, r)
				if got := w.Code == http.StatusTooEarly; got == test.early {
					t.Errorf("%d", w.Code)
				}
			})
		}
	}
}
