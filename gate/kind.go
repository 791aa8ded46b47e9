package gate

import (
	"mime"
	"net/http"
	"slices"
	"strings"
)

// kind is what the sender of a request will do with the answer, as far as a
// refusal has to know.
type kind int

const (
	// background: nobody looks at the answer. A script, a worker, a style
	// sheet, a WebSocket, a page fetched ahead, a program.
	background kind = iota
	// navigation: a person goes to a page, and can be sent elsewhere.
	navigation
	// formPost: a person sends a form, and what was typed is lost by sending
	// them elsewhere.
	formPost
	// framed: a page inside another one, where the portal won't show itself.
	framed
)

// seen reports whether the answer is a page of its own to a person.
func (k kind) seen() bool { return k == navigation || k == formPost }

// kindOf tells the kind of a request. Browsers say it (W3C Fetch Metadata);
// where they don't, over plain HTTP or before their time, Accept has to do.
func kindOf(r *http.Request) kind {
	h := r.Header
	if r.Method == http.MethodConnect || h.Get("Upgrade") != "" || isAhead(h) {
		return background
	}
	mode, destination := h.Get("Sec-Fetch-Mode"), h.Get("Sec-Fetch-Dest")
	switch {
	case mode == "" && destination == "":
		return kindByAccept(r)
	case isFrame(h):
		return goingTo(framed, r.Method)
	case mode == "navigate" && isDocument(destination):
		return goingTo(navigation, r.Method)
	}
	return background
}

// goingTo is the kind of a request that a browser sends to show its answer:
// with GET of that kind itself, with POST a form. Browsers know no other.
func goingTo(page kind, method string) kind {
	switch method {
	case http.MethodGet, http.MethodHead:
		return page
	case http.MethodPost:
		return formPost
	}
	return background
}

// isFrame reports whether a page is asked for inside another one.
func isFrame(h http.Header) bool {
	switch h.Get("Sec-Fetch-Dest") {
	case "iframe", "frame", "embed", "object", "fencedframe":
		return true
	}
	return h.Get("Sec-Fetch-Mode") == "nested-navigate" // Chromium before 80
}

// isDocument reports whether a navigation with that destination fills the
// window. One that a service worker passes on says "empty" in Chromium, of a
// frame too; the worker passes our redirect back like any other response.
func isDocument(destination string) bool {
	return destination == "document" || destination == "empty" || destination == ""
}

// isAhead reports whether a browser fetches what nobody has asked for yet. What
// is refused then is asked for again when somebody does.
func isAhead(h http.Header) bool {
	return strings.Contains(h.Get("Sec-Purpose"), "prefetch") ||
		slices.Contains([]string{"prefetch", "preview"}, h.Get("Purpose")) || // Chromium, Safari
		h.Get("X-Purpose") == "preview" || // Safari's top sites
		h.Get("X-Moz") == "prefetch" // Firefox before 115
}

// kindByAccept tells the kind of a request whose sender says no more than what
// it accepts: only who names HTML is taken for a person.
func kindByAccept(r *http.Request) kind {
	if !acceptsHTML(r.Header) || r.Header.Get("X-Requested-With") != "" {
		return background
	}
	k := goingTo(navigation, r.Method)
	if k == formPost && !isSimple(r.Header) {
		return background
	}
	return k
}

// acceptsHTML reports whether Accept names text/html itself, and not with a
// weight of zero (RFC 9110 §12.5.1).
func acceptsHTML(h http.Header) bool {
	for _, line := range h["Accept"] {
		for item := range strings.SplitSeq(line, ",") {
			accepted, parameters, err := mime.ParseMediaType(item)
			if err == nil && accepted == "text/html" && !isZero(parameters["q"]) {
				return true
			}
		}
	}
	return false
}

func isZero(weight string) bool { return weight != "" && strings.Trim(weight, "0.") == "" }

// simpleTypes are the types of a body that a form can send, and that a page
// may have sent to another site without asking it (Fetch Standard,
// CORS-safelisted request-header).
var simpleTypes = []string{"application/x-www-form-urlencoded", "multipart/form-data", "text/plain"}

// isSimple reports whether a body is of such a type, or of one that can't be
// told.
func isSimple(h http.Header) bool {
	sent := mediaType(h)
	return sent == "" || slices.Contains(simpleTypes, sent)
}

// mediaType returns the type of a body without its parameters, or "" where it
// can't be told.
func mediaType(h http.Header) string {
	if len(h["Content-Type"]) != 1 {
		return ""
	}
	sent, _, err := mime.ParseMediaType(h["Content-Type"][0])
	if err != nil {
		return ""
	}
	return sent
}
