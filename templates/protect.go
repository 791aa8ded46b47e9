package templates

import (
	"net/http"
	"strings"
)

const framesForbidden = "frame-ancestors 'none'"

// Protect sets the headers that every page of ours carries: nothing inline or
// from elsewhere runs, nobody frames the page, nothing of it is kept. A form
// of the page may lead to the origins named besides its own, which browsers
// ask of redirects after a post too.
func Protect(h http.Header, secure bool, formOrigins ...string) {
	formAction := strings.Join(append([]string{"'self'"}, formOrigins...), " ")
	h.Set("Content-Security-Policy", "default-src 'none'; style-src 'self'; script-src 'self'; "+
		"img-src 'self' data:; connect-src 'self'; form-action "+formAction+
		"; "+framesForbidden+"; base-uri 'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	h.Set("Referrer-Policy", "same-origin")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cache-Control", "no-store")
	if secure {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

// AllowFraming lets the pages of any site show this one, which Protect has
// protected, inside them. It is for pages with nothing on them for which a
// click could be stolen.
func AllowFraming(h http.Header) {
	h.Del("X-Frame-Options")
	h.Set("Content-Security-Policy", strings.Replace(
		h.Get("Content-Security-Policy"), framesForbidden, "frame-ancestors *", 1))
}
