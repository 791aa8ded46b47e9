package gate

import (
	"net/http"

	"github.com/portcullis-mfa/portcullis/audit"
)

// crossOrigin refuses posts to our own routes that a page of another origin
// sent (Fetch Metadata and Origin).
var crossOrigin = http.NewCrossOriginProtection()

// isForm reports whether a body is what our own forms send. A page of another
// site can have text/plain sent by browsers that don't tell where it is from.
func isForm(h http.Header) bool { return mediaType(h) == "application/x-www-form-urlencoded" }

// fromAnotherSite reports whether a browser says that a page of another site
// than the app's sent the request. Where it tells the origin alone, every other
// origin is taken for another site.
func (r *request) fromAnotherSite() bool {
	switch r.Header.Get("Sec-Fetch-Site") {
	case "same-origin", "same-site", "none":
		return false
	case "":
		origin := r.Header.Get("Origin")
		return origin != "" && origin != r.origin
	}
	return true
}

// fromAnotherOrigin reports whether a browser says that a page of another origin
// than the app's sent the request, even one of the same site.
func (r *request) fromAnotherOrigin() bool {
	return r.Header.Get("Sec-Fetch-Site") == "same-site" || r.fromAnotherSite()
}

// isForged reports whether a request may have been sent by a page of another site
// against the will of whom a credential speaks for.
func (g *Gate) isForged(r *request, sent sending) bool {
	switch sent {
	case byHand:
		return false
	case asCookie:
		return g.isForgedBySession(r)
	}
	return g.isForgedByDevice(r)
}

// isForgedBySession is isForged for a request that carries a session.
// SameSite=Lax keeps the session out of what other sites' pages send; with None
// the gate has to refuse it itself: methods that change something, and
// WebSockets, which no browser asks permission for. What a browser did ask
// permission for is between the two sites where the app answers such questions.
func (g *Gate) isForgedBySession(r *request) bool {
	if g.SameSite != http.SameSiteNoneMode || !r.fromAnotherSite() {
		return false
	}
	if r.Header.Get("Upgrade") != "" {
		return true
	}
	switch r.Method {
	case http.MethodGet, http.MethodHead, http.MethodOptions:
		return false
	case http.MethodPost:
		return !g.Preflights || isSimple(r.Header)
	}
	return !g.Preflights || r.Method == http.MethodConnect
}

// isForgedByDevice is isForged for a request that a certificate alone speaks
// for. A browser shows it whoever's page asks, so the gate does what
// SameSite=Lax does for a session: of what another site's page sends, only
// going to a page passes. A WebSocket has to come from the app's own origin,
// since no browser asks whether another's may open one.
func (g *Gate) isForgedByDevice(r *request) bool {
	if origin := r.Header.Get("Origin"); opensSocket(r.Request) {
		return origin != "" && origin != r.origin || r.fromAnotherSite()
	}
	if g.SameSite == http.SameSiteNoneMode {
		return g.isForgedBySession(r)
	}
	return r.fromAnotherSite() && (kindOf(r.Request) != navigation || r.Header.Get("Origin") != "")
}

// opensSocket reports whether a request asks for a WebSocket.
func opensSocket(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" || r.Method == http.MethodConnect
}

// refuseForged answers what another site's page sent.
func (g *Gate) refuseForged(w http.ResponseWriter, r *request) {
	g.Audit.Note(audit.CrossOrigin, "", audit.Fields{
		audit.App: r.origin, audit.Address: g.Address(r.Request),
	})
	g.problemWith(w, r, http.StatusForbidden, problem{
		Key: "gate.other_site.", Values: map[string]any{"Host": r.host}, ActionURL: "/",
	})
}

// isPreflight reports whether a browser asks the app whether it takes a request
// from a page of another origin (Fetch Standard, CORS-preflight fetch). What no
// browser asks in that way is none: such as a body, or another method by way
// of a header or the query.
func isPreflight(r *http.Request) bool {
	if r.Method != http.MethodOptions || !isBodiless(r) || r.Header.Get("Upgrade") != "" {
		return false
	}
	if r.Header.Get("Origin") == "" || r.Header.Get("Access-Control-Request-Method") == "" {
		return false
	}
	named, err := overrides(r)
	return err == nil && len(named) == 0
}

// isBodiless reports whether a request announces no body. The HTTP/3 server
// gives each request without Content-Length an unknown length.
func isBodiless(r *http.Request) bool {
	return r.ContentLength == 0 || r.ContentLength < 0 && r.ProtoMajor == 3
}

// asPreflight removes from a request everything that could tell an app who sent
// it, which browsers don't send with a preflight, and a body that was not
// announced.
func asPreflight(r *http.Request) {
	for _, name := range []string{"Cookie", "Authorization", "Proxy-Authorization"} {
		delete(r.Header, name)
	}
	r.Body, r.ContentLength = http.NoBody, 0
}
