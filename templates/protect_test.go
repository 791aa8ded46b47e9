package templates

import (
	"net/http"
	"strings"
	"testing"
)

// TestProtect wants every page held to itself (OWASP ASVS 5.0, 3.4), and one
// that may be framed to differ in that alone.
func TestProtect(t *testing.T) {
	protected := make(http.Header)
	Protect(protected, true, "https://app.example.com")
	for name, want := range map[string]string{
		"X-Frame-Options": "DENY", "X-Content-Type-Options": "nosniff", "Referrer-Policy": "same-origin",
		"Cross-Origin-Opener-Policy": "same-origin", "Cache-Control": "no-store", "Strict-Transport-Security": "max-age=31536000",
	} {
		if got := protected.Get(name); got != want {
			t.Errorf("%s is %q, not %q", name, got, want)
		}
	}
	policy := protected.Get("Content-Security-Policy")
	for _, part := range []string{"default-src 'none'; ", "frame-ancestors 'none'; ", "base-uri 'none'", "form-action 'self' https://app.example.com; "} {
		if !strings.Contains(policy, part) {
			t.Errorf("the policy %q lacks %q", policy, part)
		}
	}

	framable := protected.Clone()
	AllowFraming(framable)
	if framable.Get("X-Frame-Options") != "" {
		t.Error("X-Frame-Options still forbids framing")
	}
	if got := strings.Replace(framable.Get("Content-Security-Policy"), "frame-ancestors *;", "frame-ancestors 'none';", 1); got != policy {
		t.Errorf("the policy became %q", got)
	}
	if len(framable) != len(protected)-1 {
		t.Errorf("it became %v", framable)
	}

	plain := make(http.Header)
	Protect(plain, false)
	if plain.Get("Strict-Transport-Security") != "" {
		t.Error("plain HTTP promises HTTPS")
	}
}
