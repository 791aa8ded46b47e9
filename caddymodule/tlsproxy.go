package caddymodule

import (
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
	"github.com/portcullis-mfa/portcullis/gate/canonical"
	"github.com/portcullis-mfa/portcullis/upload"
)

// cameSecurely reports whether a request came over HTTPS: to this server, or,
// as a peer within trusted_proxies says, to that peer.
func cameSecurely(r *http.Request) bool {
	if r.TLS != nil {
		return true
	}
	trusted, _ := caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey).(bool)
	said := r.Header["X-Forwarded-Proto"]
	// Some proxies say wss of a WebSocket's handshake.
	return trusted && len(said) == 1 && (strings.EqualFold(said[0], "https") || strings.EqualFold(said[0], "wss"))
}

// refuseInsecure answers a request that crossed a network in the clear, and
// reports whether it did. Without behind_tls_proxy there is none: then plain
// HTTP is for localhost alone.
func (a *App) refuseInsecure(w http.ResponseWriter, r *http.Request) bool {
	if !a.BehindTLSProxy || cameSecurely(r) {
		return false
	}
	if name, _, err := canonical.Host(r.Host); err == nil && origin.IsLocalhost(name) {
		return false
	}
	a.bounded.Warn("refusing a request that didn't come over HTTPS: the proxy in front must be within trusted_proxies and send one X-Forwarded-Proto: https",
		zap.String("remote_addr", r.RemoteAddr), zap.Any("trusted", caddyhttp.GetVar(r.Context(), caddyhttp.TrustedProxyVarKey)),
		zap.Strings("x_forwarded_proto", r.Header["X-Forwarded-Proto"]))
	upload.Ignore(w, r)
	w.Header().Set("Cache-Control", "no-store")
	http.Error(w, "This address is served over HTTPS only. Open it with https:// in front.", http.StatusForbidden)
	return true
}
