package caddymodule

import (
	"fmt"
	"net"
	"net/netip"
	"reflect"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
)

// checkOtherServers refuses sites that serve a gated host on other ports and
// without a gate: browsers send them its cookies, and people would take them
// for the app that they know to be guarded.
func (s *survey) checkOtherServers() error {
	for _, known := range s.sortedGuards() {
		for _, host := range known.guarded {
			for _, server := range s.servers {
				if err := checkUngated(server.ways[host], known.server); err != nil {
					return fmt.Errorf("%s: %w", server.at(host), err)
				}
			}
		}
	}
	return nil
}

func checkUngated(way []step, gated *surveyedServer) error {
	if hasGate(way) {
		return nil
	}
	for _, met := range way {
		if met.named && !met.guarded && met.does == serves {
			return fmt.Errorf("%s serves without mfa a host that mfa guards on server %s: write mfa in this site too, or give it a host of its own", met.handler, gated.name)
		}
	}
	return nil
}

// checkRehosted refuses what a gate guards where requests for another host come
// to it without a gate, once a handler has given them its host.
func (s *survey) checkRehosted() error {
	guarded := make(map[caddyhttp.MiddlewareHandler]string)
	for _, server := range s.servers {
		for host, way := range server.ways {
			for _, met := range way {
				if hasGate(way) && met.guarded && met.does == serves && isPointer(met.module) {
					guarded[met.module] = host
				}
			}
		}
	}
	for _, server := range s.servers {
		for _, host := range s.hosts {
			for _, met := range server.ways[host] {
				if !met.rehosted || met.guarded || met.does != serves || !isPointer(met.module) {
					continue
				}
				if behind, ok := guarded[met.module]; ok {
					return fmt.Errorf("%s: once request_header has changed Host, %s can answer without mfa, which guards it for %s: end the route before, or write header_up Host inside reverse_proxy", server.at(host), met.handler, behind)
				}
			}
		}
	}
	return nil
}

// isPointer reports whether a handler can be told apart from others.
func isPointer(handler caddyhttp.MiddlewareHandler) bool {
	return handler != nil && reflect.TypeOf(handler).Kind() == reflect.Pointer
}

// checkUpstreams refuses a site without a host that serves, without a gate, the
// very upstream that a gate guards elsewhere: whoever chooses the Host chooses
// that site. It warns of everything else that is open beside a gate and may be
// the same app.
func (s *survey) checkUpstreams() error {
	behind := s.guardedUpstreams()
	for _, server := range s.servers {
		for _, host := range s.hosts {
			for _, met := range server.ways[host] {
				if met.guarded || met.does != serves || met.named != (host != anyOtherHost) {
					continue
				}
				if err := s.checkOpen(server.at(host), host, met, behind); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkOpen judges one handler that serves without a gate.
func (s *survey) checkOpen(at, host string, met step, behind map[string]string) error {
	for _, upstream := range upstreamsOf(met.module) {
		gated, same := behind[upstream]
		switch {
		case same && host == anyOtherHost:
			return fmt.Errorf("%s: %s serves %s without mfa, which guards it as %s: write mfa in this site too, name its own hosts in its address, or remove it", at, met.handler, upstream, gated)
		case same:
			s.warn("%s: %s serves %s without mfa, which guards it as %s", at, met.handler, upstream, gated)
			return nil
		}
	}
	if first := s.firstGuarded(); host == anyOtherHost && first != "" {
		s.warn("%s: %s serves every host without mfa, hosts included that mfa guards elsewhere, such as %s: name the site's own hosts in its address", at, met.handler, first)
	}
	return nil
}

// guardedUpstreams returns which host's gate guards an upstream.
func (s *survey) guardedUpstreams() map[string]string {
	behind := make(map[string]string)
	for _, known := range s.sortedGuards() {
		for _, host := range known.guarded {
			for _, met := range known.server.ways[host] {
				if !met.guarded || met.does != serves {
					continue
				}
				for _, upstream := range upstreamsOf(met.module) {
					behind[upstream] = known.server.at(host)
				}
			}
		}
	}
	return behind
}

// firstGuarded returns a site that a gate guards, or "".
func (s *survey) firstGuarded() string {
	for _, known := range s.sortedGuards() {
		if len(known.guarded) > 0 {
			return known.server.at(known.guarded[0])
		}
	}
	return ""
}

// upstreamsOf returns where a handler and those within it connect to, each in
// one form.
func upstreamsOf(handler caddyhttp.MiddlewareHandler) []string {
	proxy, ok := handler.(*reverseproxy.Handler)
	if !ok {
		return nil
	}
	var found []string
	for _, upstream := range proxy.Upstreams {
		found = append(found, canonicalDial(upstream.Dial))
	}
	if proxy.DynamicUpstreams != nil {
		found = append(found, strings.TrimSpace(writtenAs(proxy.DynamicUpstreams)))
	}
	for _, response := range proxy.HandleResponse {
		for _, route := range response.Routes {
			for _, inner := range route.Handlers {
				found = append(found, upstreamsOf(inner)...)
			}
		}
	}
	return found
}

// canonicalDial gives all names of this machine one name.
func canonicalDial(dial string) string {
	dial = strings.ToLower(caddy.NewReplacer().ReplaceKnown(dial, ""))
	address, err := caddy.ParseNetworkAddress(dial)
	if err != nil || address.IsUnixNetwork() || address.IsFdNetwork() {
		return dial
	}
	ip, err := netip.ParseAddr(address.Host)
	if err == nil && (ip.IsLoopback() || ip.IsUnspecified()) || address.Host == "" || isLocalhost(address.Host) {
		address.Host = "localhost"
	}
	return net.JoinHostPort(address.Host, strconv.FormatUint(uint64(address.StartPort), 10))
}
