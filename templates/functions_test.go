package templates

import (
	"testing"
	"time"
)

func TestContactLink(t *testing.T) {
	tests := map[string]string{
		"":                            "",
		"the help desk":               "",
		"it@example.com":              "mailto:it@example.com",
		"https://help.example.com/":   "https://help.example.com/",
		"http://help.localhost":       "http://help.localhost",
		"Help <it@example.com>":       "",
		"javascript:alert(1)":         "",
		"javascript:x@example.com":    "",
		"call 12 34 or it@example.co": "",
	}
	for contact, want := range tests {
		if got := contactLink(contact); got != want {
			t.Errorf("contactLink(%q) = %q, want %q", contact, got, want)
		}
	}
}

func TestAuthenticatorLink(t *testing.T) {
	const uri = "otpauth://totp/Example:alice?secret=JBSWY3DP"
	if got, err := authenticatorLink(uri); err != nil || string(got) != uri {
		t.Errorf("authenticatorLink(%q) = %q, %v", uri, got, err)
	}
	for _, uri := range []string{"", "javascript:alert(1)", "https://example.com", " otpauth://x", "otpauth:x"} {
		if got, err := authenticatorLink(uri); err == nil || got != "" {
			t.Errorf("authenticatorLink(%q) = %q, want an error", uri, got)
		}
	}
}

func TestWaiting(t *testing.T) {
	tests := map[time.Duration]string{
		-time.Second:                   "0 seconds",
		time.Millisecond:               "1 second",
		time.Second:                    "1 second",
		30 * time.Second:               "30 seconds",
		59*time.Second + 1:             "1 minute",
		time.Minute:                    "1 minute",
		time.Minute + time.Second:      "2 minutes",
		4 * time.Minute:                "4 minutes",
		59*time.Minute + time.Second:   "1 hour",
		time.Hour:                      "1 hour",
		time.Hour + 5*time.Minute:      "1 hour 5 minutes",
		2*time.Hour + 1*time.Minute:    "2 hours 1 minute",
		3*time.Hour - time.Millisecond: "3 hours",
	}
	english := newSet(t).catalogues[0]
	for wait, want := range tests {
		if got, err := english.waiting(wait); err != nil || got != want {
			t.Errorf("waiting(%v) = %q, %v, want %q", wait, got, err, want)
		}
	}
}

func TestTimestampHasItsZone(t *testing.T) {
	at := time.Date(2025, 6, 19, 11, 52, 45, 0, time.FixedZone("CEST", 2*60*60))
	if got := timestamp(at); got != "2025-06-19 11:52:45 CEST" {
		t.Errorf("timestamp() = %q", got)
	}
}

// TestPictures shows images alone.
func TestPictures(t *testing.T) {
	for url, shown := range map[string]bool{
		"data:image/png;base64,iVBORw0KGgo=": true, "data:image/svg+xml;base64,PHN2Zy8+": true,
		"": false, "data:text/html;base64,PHN2Zy8+": false, "data:image/svg+xml,<svg/>": false,
		"javascript:alert(1)": false, "https://example.com/icon.png": false, " data:image/png;base64,iVBORw0KGgo=": false,
	} {
		if got := picture(url); (got != "") != shown || shown && string(got) != url {
			t.Errorf("picture(%q) = %q", url, got)
		}
	}
}
