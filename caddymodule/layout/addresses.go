package layout

import (
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
)

// checkAddresses looks at how our handlers learn clients' addresses where a
// proxy stands in front: it refuses rules by the address of that proxy where
// nobody else connects, and else warns of them, and of addresses that clients
// choose.
func (s *survey) checkAddresses() error {
	for _, known := range s.sortedGuards() {
		if known.failing || !known.gate.Guarding().looksAtPeer() || !known.server.trusts && !(s.behindProxy && known.server.plain) {
			continue
		}
		at := known.server.at(known.reached[0])
		if s.behindProxy {
			return fmt.Errorf("%s: %w", at, errPeer)
		}
		s.warn("%s: a rule of mfa looks at remote_ip, which is the proxy's address for all that comes through trusted_proxies: write client_ip instead", at)
	}
	for _, server := range s.servers {
		if server.trusts && !server.strict && s.matters(server) {
			s.warn("server %s (%s): without trusted_proxies_strict, clients choose the address that limits, the audit log and client_ip go by: write trusted_proxies_strict beside trusted_proxies", server.name, strings.Join(server.listen, ", "))
		}
	}
	return nil
}

var errPeer = errors.New("a rule of mfa looks at remote_ip, which behind_tls_proxy makes the proxy's own address for everybody: write client_ip instead")

// matters reports whether a gate, the portal or the authenticator is on the server.
func (s *survey) matters(server *surveyedServer) bool {
	return slices.ContainsFunc(s.hosts, func(host string) bool {
		way := server.ways[host]
		return hasGate(way) || slices.ContainsFunc(s.homes, func(h home) bool { return h.isIn(way) })
	})
}

// looksAtPeer reports whether a matcher of the gate looks at the address that a
// connection comes from, rather than at the client's.
func (g *Guarding) looksAtPeer() bool {
	found := false
	for _, sets := range g.Matchers {
		matching.Each(sets, func(matcher any) { found = found || matching.LooksAtPeer(matcher) })
	}
	return found
}

// trustsProxies reports whether a server has trusted_proxies. Caddy clears the
// setting when it makes a list of addresses of it, and keeps that to itself. A
// version of Caddy that keeps it elsewhere counts as trusting: this is for a
// clear text at load, and each request is looked at in any case.
func trustsProxies(server *caddyhttp.Server) bool {
	list := reflect.ValueOf(server).Elem().FieldByName("trustedProxies")
	return server.TrustedProxiesUnix || !list.IsValid() || list.Kind() != reflect.Interface || !list.IsNil()
}
