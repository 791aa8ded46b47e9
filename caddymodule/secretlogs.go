package caddymodule

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/gate"
	"github.com/portcullis-mfa/portcullis/portal"
)

// skipSecretAddress keeps a request whose address may hold a ticket, the token of
// a link or a program's access token out of access logs, however the address is
// spelled and whichever host it was sent to. So it does where the Referer holds an
// access token. All others are logged: nobody may hide a request by what they add to
// it, since gate and portal refuse those with an access token there.
func skipSecretAddress(r *http.Request) {
	if holdsSecret(r.URL) || gate.TokenInAddress(r) != "" {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
}

func holdsSecret(u *url.URL) bool {
	place := portal.PlainPath(u)
	return portal.HoldsTokenAt(place, u.RawQuery) || strings.HasPrefix(place, gate.Prefix+"callback")
}
