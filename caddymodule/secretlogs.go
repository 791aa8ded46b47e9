package caddymodule

import (
	"net/http"
	"net/url"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/gate"
	"github.com/portcullis-mfa/portcullis/portal"
)

// skipSecretAddress keeps a request whose address may hold a ticket, the token of
// a link or a program's access token out of access logs, however the address is
// spelled and whichever host it was sent to. All others are logged: nobody may hide
// a request by what they add to its query, since no app gets one with an access
// token there, and the portal refuses it.
func skipSecretAddress(r *http.Request) {
	if holdsSecret(r.URL) {
		caddyhttp.SetVar(r.Context(), caddyhttp.LogSkipVar, true)
	}
}

func holdsSecret(u *url.URL) bool {
	place := portal.PlainPath(u)
	return accesstoken.IsInQuery(u.RawQuery) || portal.HoldsTokenAt(place, u.RawQuery) || strings.HasPrefix(place, gate.Prefix+"callback")
}
