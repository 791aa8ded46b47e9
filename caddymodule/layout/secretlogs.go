package layout

import (
	"strings"
)

// LogFilter is the Caddyfile block that makes a log leave out secrets that Portcullis
// can't keep out of it. There is one block for all, since a log has one format.
const LogFilter = `format filter {
	request>uri query {
		replace token REDACTED
		replace ticket REDACTED
	}
	request>headers>X-Mfa-Assertion delete
	request>headers>Cookie delete
	request>headers>Authorization delete
	request>headers>Proxy-Authorization delete
	resp_headers>Set-Cookie delete
	env>HTTP_X_MFA_ASSERTION delete
}`

// checkLogs finds out what Caddy writes into logs itself, and warns of what
// nobody here can keep from it.
func (s *survey) checkLogs() error {
	exposed := s.exposed()
	for _, known := range s.sortedGuards() {
		if !known.failing {
			s.outlets = append(s.outlets, s.outletOf(known, exposed))
		}
	}
	for _, server := range s.servers {
		if server.credentials && s.matters(server) {
			s.warn("server %s (%s): log_credentials writes session cookies and access tokens into logs: remove it, or write into each log:\n%s", server.name, strings.Join(server.listen, ", "), LogFilter)
		}
		if server.comparesNames && server.logs && s.matters(server) {
			s.warn("server %s (%s): strict_sni_host, which is on by itself where client certificates are asked for, has Caddy answer 421 before mfa sees the request, and the access log may then hold the token of an invitation or a ticket: write into each log:\n%s", server.name, strings.Join(server.listen, ", "), LogFilter)
		}
	}
	return nil
}
