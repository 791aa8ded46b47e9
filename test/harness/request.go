package harness

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
)

// browserName is what the client says it is.
const browserName = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0.0.0 Safari/537.36"

func (r Request) mode() Mode {
	if r.Mode == "" {
		return Navigate
	}
	return r.Mode
}

func (r Request) method() string {
	if r.Method == "" {
		return http.MethodGet
	}
	return r.Method
}

// from is the page that sends the request; nil: the person.
func (r Request) from() *url.URL {
	if r.From == "" {
		return nil
	}
	from, err := url.Parse(r.From)
	if err != nil {
		return nil
	}
	return from
}

// build composes what a browser would send.
func (r Request) build(ctx context.Context, cookies *jar) (*http.Request, error) {
	var body io.Reader = strings.NewReader(r.Body)
	if r.Upload != nil {
		body = r.Upload
	}
	outgoing, err := http.NewRequestWithContext(ctx, r.method(), r.URL, body)
	if err != nil {
		return nil, fmt.Errorf("composing the request for %s: %w", r.URL, err)
	}
	r.describe(outgoing)
	if r.mode() == Navigate || r.sendsCookies(outgoing.URL) {
		for _, cookie := range cookies.get(outgoing.URL, r.circumstances(outgoing.URL)) {
			outgoing.AddCookie(&cookie)
		}
	}
	for name, values := range r.Header {
		outgoing.Header[http.CanonicalHeaderKey(name)] = values
	}
	return outgoing, nil
}

// describe sets the headers by which a browser says what it is about.
func (r Request) describe(outgoing *http.Request) {
	header := outgoing.Header
	header.Set("User-Agent", browserName)
	header.Set("Accept-Language", "en")
	header.Set("Accept", "*/*")
	if r.mode() == Navigate {
		header.Set("Accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8")
		header.Set("Upgrade-Insecure-Requests", "1")
	}
	if value := r.origin(outgoing.URL); value != "" {
		header.Set("Origin", value)
	}
	if value := r.referer(outgoing.URL); value != "" {
		header.Set("Referer", value)
	}
	if !trustworthy(outgoing.URL) {
		return // browsers tell Sec-Fetch-* to trustworthy origins only
	}
	header.Set("Sec-Fetch-Mode", string(r.mode()))
	header.Set("Sec-Fetch-Site", r.site(outgoing.URL))
	header.Set("Sec-Fetch-Dest", "empty")
	if r.mode() == Navigate {
		header.Set("Sec-Fetch-Dest", "document")
		header.Set("Sec-Fetch-User", "?1")
	}
}

// site is Sec-Fetch-Site: the farthest that the request has been from home,
// over all its redirects (Fetch Metadata, 2.3).
func (r Request) site(target *url.URL) string {
	from := r.from()
	if from == nil {
		return "none"
	}
	relation := "same-origin"
	for _, hop := range append(slices.Clone(r.chain), target) {
		switch {
		case !sameSite(from, hop):
			return "cross-site"
		case origin(from) != origin(hop):
			relation = "same-site"
		}
	}
	return relation
}

func (r Request) circumstances(target *url.URL) circumstances {
	from := r.from()
	return circumstances{
		sameSite: from == nil || sameSite(from, target),
		topLevel: r.mode() == Navigate,
		safe:     safeMethod(r.method()),
	}
}

func safeMethod(method string) bool {
	return slices.Contains([]string{http.MethodGet, http.MethodHead, http.MethodOptions, http.MethodTrace}, method)
}

// sendsCookies decides for a script's request: credentials are "same-origin"
// unless it asks for more.
func (r Request) sendsCookies(target *url.URL) bool {
	from := r.from()
	return r.WithCookies || from == nil || origin(from) == origin(target)
}

// origin is the Origin header, or "" for none (Fetch standard, 3.2).
func (r Request) origin(target *url.URL) string {
	from := r.from()
	if from == nil {
		return ""
	}
	crossOrigin := origin(from) != origin(target)
	if r.mode() == Fetch && crossOrigin {
		return origin(from)
	}
	if r.method() == http.MethodGet || r.method() == http.MethodHead {
		return ""
	}
	policy := strings.ToLower(r.FromPolicy)
	hidden := policy == "no-referrer" ||
		policy == "same-origin" && crossOrigin ||
		policy != "unsafe-url" && from.Scheme == "https" && target.Scheme == "http"
	if hidden || r.tainted(from, target) {
		return "null"
	}
	return origin(from)
}

// tainted reports whether a redirect led from a foreign origin to another.
func (r Request) tainted(from, target *url.URL) bool {
	hops := append(slices.Clone(r.chain), target)
	for i := 1; i < len(hops); i++ {
		before := origin(hops[i-1])
		if before != origin(hops[i]) && before != origin(from) {
			return true
		}
	}
	return false
}

// referer is the Referer header, or "" for none (Referrer Policy, 8.3). Of the
// policies it knows those that a page is likely to have.
func (r Request) referer(target *url.URL) string {
	from := r.from()
	if from == nil {
		return ""
	}
	whole := *from
	whole.User, whole.Fragment = nil, ""
	crossOrigin := origin(from) != origin(target)
	switch policy := strings.ToLower(r.FromPolicy); {
	case policy == "no-referrer", policy == "same-origin" && crossOrigin:
		return ""
	case policy == "unsafe-url":
		return whole.String()
	case from.Scheme == "https" && target.Scheme == "http":
		return ""
	case crossOrigin:
		return origin(from) + "/"
	}
	return whole.String()
}
