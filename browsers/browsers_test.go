package browsers_test

import (
	"testing"

	"github.com/portcullis-mfa/portcullis/browsers"
)

func TestNamed(t *testing.T) {
	tests := map[string]struct{ userAgent, browser, system string }{
		"Chrome":          {"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36", "Chrome", "Linux"},
		"Firefox":         {"Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:140.0) Gecko/20100101 Firefox/140.0", "Firefox", "Windows"},
		"Safari":          {"Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1", "Safari", "iOS"},
		"nothing":         {"", "", ""},
		"a made-up name":  {"Call +49-555-0100/1.0", "", ""},
		"a link":          {"https://evil.example/1.0 (evil.example)", "", ""},
		"a name and more": {"Ring 0900 123456 (Linux)", "", "Linux"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			if browser, system := browsers.Named(test.userAgent); browser != test.browser || system != test.system {
				t.Errorf("it's called %q on %q, want %q on %q", browser, system, test.browser, test.system)
			}
		})
	}
}
