package pagetag

import (
	"mime"
	"net/http"
	"slices"
	"strings"
)

const (
	// maxHeld is how much of a page is held back at most while it isn't clear
	// where the tag belongs.
	maxHeld = 4 << 10
	// prescanned is how far browsers look for a charset that the page itself
	// declares (HTML Standard, "prescan a byte stream to determine its encoding").
	prescanned = 1 << 10
)

// Page is a page that gets the tag, and of which nothing has been sent yet.
type Page struct {
	tag string
	// declared says that the headers name the page's charset.
	declared bool
	held     []byte
	done     bool
}

// Prepare changes the headers of a response that is about to be sent to fit the page
// with the tag, and returns that page; nil: the response must not be changed. The tag
// must be ASCII. It loads a script from origin, which sends requests to origin.
func Prepare(h http.Header, status int, tag, origin string) *Page {
	charset, isPage := charsetOf(h)
	if !isPage || !isComplete(h, status) || !isASCIISuperset(charset) || !mayChange(h) || !policiesAllow(h, origin) {
		return nil
	}
	for _, name := range []string{"Content-Length", "Accept-Ranges"} {
		h.Del(name)
	}
	Weaken(h)
	return &Page{tag: tag, declared: charset != ""}
}

// Weaken makes the validator of a response weak (RFC 9110 §8.8.1): the page that the
// browser keeps contains the tag, so it isn't the app's page byte for byte.
func Weaken(h http.Header) {
	if etag := h.Get("Etag"); etag != "" && !strings.HasPrefix(etag, "W/") {
		h.Set("Etag", "W/"+etag)
	}
}

// IsHTML reports whether a response says that it is HTML.
func IsHTML(h http.Header) bool {
	_, isHTML := charsetOf(h)
	return isHTML
}

// charsetOf returns the charset that a response of HTML names, or false for a
// response of anything else.
func charsetOf(h http.Header) (charset string, isHTML bool) {
	lines := h["Content-Type"]
	if len(lines) != 1 {
		return "", false
	}
	kind, parameters, err := mime.ParseMediaType(lines[0])
	return strings.ToLower(parameters["charset"]), err == nil && kind == "text/html"
}

// isComplete reports whether the body is a whole page as it is shown: not a part
// of one, not compressed, not a file to be saved.
func isComplete(h http.Header, status int) bool {
	switch {
	case status < 200, status == http.StatusNoContent, status == http.StatusResetContent, status == http.StatusPartialContent:
		return false
	case status >= 300 && status < 400:
		return false
	}
	disposition, _, _ := strings.Cut(h.Get("Content-Disposition"), ";")
	encoded := slices.ContainsFunc(h["Content-Encoding"], func(line string) bool {
		return !strings.EqualFold(strings.TrimSpace(line), "identity")
	})
	return !encoded && h.Get("Content-Range") == "" && !strings.EqualFold(strings.TrimSpace(disposition), "attachment")
}

// isASCIISuperset reports whether ASCII is written in a charset as it is. Those in
// which it isn't are known by few names (WHATWG Encoding Standard §4.2).
func isASCIISuperset(charset string) bool {
	return !slices.ContainsFunc([]string{"utf-16", "utf-32", "ucs-2", "ucs-4", "unicode", "iso-10646", "csunicode", "iso-2022", "utf-7"},
		func(prefix string) bool { return strings.HasPrefix(charset, prefix) })
}

// mayChange reports whether the app lets others change its page: it doesn't say no
// (RFC 9111 §5.2.2.6), and no digest or signature is of the body (RFC 9530, 9421).
func mayChange(h http.Header) bool {
	for _, line := range h["Cache-Control"] {
		for directive := range strings.SplitSeq(line, ",") {
			if strings.EqualFold(strings.TrimSpace(directive), "no-transform") {
				return false
			}
		}
	}
	return !slices.ContainsFunc([]string{"Content-Digest", "Repr-Digest", "Digest", "Content-Md5", "Signature"},
		func(name string) bool { return len(h[name]) > 0 })
}

// Take takes what the app writes next, and returns what may be sent now.
func (p *Page) Take(written []byte) []byte {
	if p.done {
		return written
	}
	p.held = append(p.held, written...)
	return p.ready(false)
}

// Flush returns what may be sent now that the app has flushed. It may keep a few
// bytes that mean nothing to a browser yet.
func (p *Page) Flush() []byte { return p.ready(true) }

// Rest returns what is still held back when the app is done.
func (p *Page) Rest() []byte {
	left := p.ready(true)
	left = append(left, p.held...)
	p.held, p.done = nil, true
	return left
}

// IsDone reports whether the rest of the page passes unchanged.
func (p *Page) IsDone() bool { return p.done }

// ready returns the beginning of the page once it is clear where the tag belongs.
// hurried says that no more of it is waited for than it takes to find the place.
func (p *Page) ready(hurried bool) []byte {
	if p.done {
		return nil
	}
	at, found := place(p.held)
	switch {
	case found == unclear && len(p.held) < maxHeld:
		return nil
	case found == here && !p.declared && len(p.held) < prescanned && !hurried:
		return nil
	case found == here && at <= maxHeld && (p.declared || !p.pushesCharset()):
		p.held = slices.Insert(p.held, at, []byte(p.tag)...)
	}
	whole := p.held
	p.held, p.done = nil, true
	return whole
}

// pushesCharset reports whether the tag would push the page's declaration of its
// charset out of what browsers look at.
func (p *Page) pushesCharset() bool {
	seen := p.held[:min(len(p.held), prescanned)]
	at := indexFold(seen, "charset")
	// The declaration ends with its tag, well within the length of another charset.
	return at >= 0 && at+len("charset")+maxCharset+len(p.tag) > prescanned
}

// maxCharset is more than what follows the word in <meta charset="…">.
const maxCharset = 64
