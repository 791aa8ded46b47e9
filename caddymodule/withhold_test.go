package caddymodule

import (
	"context"
	"net/http"
	"testing"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/portcullis-mfa/portcullis/gate"
)

// sentHeader is a transport that notes the headers of what it sends.
type sentHeader struct{ http.Header }

func (s *sentHeader) RoundTrip(r *http.Request) (*http.Response, error) {
	s.Header = r.Header.Clone()
	return &http.Response{StatusCode: http.StatusOK, Body: http.NoBody}, nil
}

// reverse_proxy prepares all headers of a request for its log once it was sent.
// It finds some only where somebody looks at them, and never the assertion.
func TestHeadersAreLeftForWhoLooksAtThem(t *testing.T) {
	for name, tt := range map[string]struct {
		shown   bool
		header  http.Header
		visitor *passed
		left    bool
	}{
		"no log takes them":              {header: http.Header{}},
		"an assertion":                   {header: http.Header{"X-Mfa-Assertion": {"stand-in"}}, visitor: &passed{Assertion: "signed"}},
		"an upgrade":                     {header: http.Header{"Upgrade": {"websocket"}}, left: true},
		"a log at DEBUG":                 {shown: true, header: http.Header{}, left: true},
		"an assertion, with a debug log": {shown: true, header: http.Header{"X-Mfa-Assertion": {"stand-in"}}, visitor: &passed{Assertion: "signed"}, left: true},
	} {
		t.Run(name, func(t *testing.T) {
			tt.header["Accept"] = []string{"text/html"}
			ctx := context.WithValue(t.Context(), caddyhttp.VarsCtxKey, map[string]any{passedVar: tt.visitor})
			r := (&http.Request{Header: tt.header}).WithContext(ctx)
			var sent sentHeader
			if _, err := (&outgoing{&sent, "stand-in", tt.shown}).RoundTrip(r); err != nil {
				t.Fatal(err)
			}
			if sent.Get("Accept") != "text/html" || tt.visitor != nil && sent.Get(gate.AssertionHeader) != "signed" {
				t.Errorf("sent: %v", sent.Header)
			}
			if left := len(r.Header) > 0; left != tt.left || r.Header.Get(gate.AssertionHeader) == "signed" {
				t.Errorf("left: %v", r.Header)
			}
		})
	}
}

// A proxy may match on the headers again to decide whether to send a request once
// more.
func TestHeadersAreLeftForRetries(t *testing.T) {
	for sites, want := range map[string]bool{
		"reverse_proxy localhost:3000": false,
		"reverse_proxy localhost:3000 {\n\t\tlb_retries 2\n\t\tlb_retry_match `{rp.status_code} == 503 && {header.X-A} == \"b\"`\n\t}": true,
	} {
		found, err := arranged(t, withPortal("wiki.example.com {\n\tmfa\n\t"+sites+"\n}\n"))
		if err != nil {
			t.Fatal(err)
		}
		for _, proxy := range found.Outlets[0].Fit {
			if got := matchesRetries(proxy); got != want {
				t.Errorf("%s: %t", sites, got)
			}
		}
	}
	if matchesRetries(new(reverseproxy.Handler)) {
		t.Error("a proxy that never sends anything again")
	}
}
