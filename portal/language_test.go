package portal

import (
	"net/http/httptest"
	"testing"
)

// TestR01OwnPath takes nothing for a path of the portal that browsers could
// take for something else.
func TestR01OwnPath(t *testing.T) {
	for to, want := range map[string]string{
		"/":                           "/",
		"/account/totp?id=a%20b":      "/account/totp?id=a%20b",
		"/flow?id=x&use=totp":         "/flow?id=x&use=totp",
		"/sign-in?request=a.b~c":      "/sign-in?request=a.b~c",
		"":                            "/",
		"account":                     "/",
		"//evil.example":              "/",
		"///evil.example":             "/",
		`/\evil.example`:              "/",
		`\\evil.example`:              "/",
		"https://evil.example":        "/",
		"https:evil.example":          "/",
		"https:/evil.example":         "/",
		"javascript:alert(1)":         "/",
		"/\t/evil.example":            "/",
		"/\r\nSet-Cookie: a=b":        "/",
		"/ /evil.example":             "/",
		"/account\x00":                "/",
		"/％2f":                        "/",
		"/%zz":                        "/",
		"/setup?token=secret":         "/",
		"/invitation?token=secret":    "/",
		"//user@evil.example/account": "/",
	} {
		if got := ownPath(to); got != want {
			t.Errorf("%q leads to %q, want %q", to, got, want)
		}
	}
}

func TestPlatform(t *testing.T) {
	const iPhone = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"
	for _, c := range []struct{ hint, userAgent, want string }{
		{`"Windows"`, "", "windows"},
		{`"macOS"`, "", "macos"},
		{`"Linux"`, "", "linux"},
		{`"Android"`, "", "android"},
		{`"iOS"`, "", "ios"},
		{`"Chrome OS"`, "Mozilla/5.0 (X11; CrOS x86_64 14541.0.0) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36", ""},
		{`"Windows"`, iPhone, "windows"},
		{"", iPhone, "ios"},
		{`"BeOS"`, iPhone, "ios"},
		{"", "Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36", "windows"},
		{"", "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Safari/605.1.15", "macos"},
		{"", "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0", "linux"},
		{"", "Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36", "android"},
		{"", "curl/8.5.0", ""},
		{"", "", ""},
	} {
		r := httptest.NewRequest("GET", "/", nil)
		r.Header.Set("Sec-CH-UA-Platform", c.hint)
		r.Header.Set("User-Agent", c.userAgent)
		if got := platformOf(r); got != c.want {
			t.Errorf("%s, %q: %q, want %q", c.hint, c.userAgent, got, c.want)
		}
	}
}
