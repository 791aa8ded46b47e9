package caddymodule

import (
	"net/http"
	"net/url"
	"path"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/gate"
)

// checkLogs warns of what Caddy writes into logs itself and nobody here can
// keep from it, and says how a log leaves it out.
func (s *survey) checkLogs() error {
	for _, known := range s.sortedGuards() {
		if known.gate.Assertion && !known.failing {
			s.warn("%s: Caddy may log the request headers that it sends to an app, when a stream is cut or at the level DEBUG, and among them X-Mfa-Assertion, which lets whoever reads it act as that person for some minutes: write into each log: format filter { request>headers>X-Mfa-Assertion delete }", known.server.at(known.reached[0]))
		}
	}
	for _, server := range s.servers {
		if server.credentials && s.matters(server) {
			s.warn("server %s (%s): log_credentials writes session cookies into logs: remove it, or write into each log: format filter { request>headers>Cookie delete, request>headers>Authorization delete and resp_headers>Set-Cookie delete }, one a line", server.name, strings.Join(server.listen, ", "))
		}
	}
	return nil
}

// skipSecretAddress keeps a request whose address may hold a ticket or the
// token of a link out of access logs, however the address is spelled and
// whichever host it was sent to. All others are logged: nobody may hide a
// request to an app by what they add to its query.
func skipSecretAddress(r *http.Request) {
	if holdsSecret(r.URL) {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
}

func holdsSecret(u *url.URL) bool {
	place := unescaped(u.EscapedPath())
	if !strings.HasPrefix(place, "/") {
		place = "/" + place
	}
	place = path.Clean(place)
	switch {
	case strings.HasPrefix(place, gate.Prefix+"callback"):
		return true
	case strings.HasPrefix(place, "/invitation"), strings.HasPrefix(place, "/setup"):
		return strings.Contains(place, "token") || strings.Contains(unescaped(u.RawQuery), "token")
	}
	return false
}

// unescaped returns a text in lower case with all that it has escaped, several
// times over if need be. What doesn't parse is left as it is.
func unescaped(text string) string {
	for range 3 {
		plain, err := url.PathUnescape(text)
		if err != nil || plain == text {
			break
		}
		text = plain
	}
	return strings.ToLower(text)
}
