package layout

import (
	"fmt"
	"reflect"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
)

// checkOtherServers refuses sites that serve a gated host on other ports and
// without a gate: browsers send them its cookies, and people would take them
// for the app that they know to be guarded.
func (s *survey) checkOtherServers() error {
	for _, known := range s.sortedGuards() {
		for _, host := range known.guarded {
			for _, server := range s.servers {
				if err := server.checkUngated(server.ways[host], known.server.written(host)); err != nil {
					return fmt.Errorf("%s: %w", server.at(host), err)
				}
			}
		}
	}
	return nil
}

func (s *surveyedServer) checkUngated(way []step, gated string) error {
	if hasGate(way) {
		return nil
	}
	for _, met := range way {
		if met.named && !met.guarded && s.serves(met) {
			return fmt.Errorf("%s serves, without mfa, a host that mfa guards on server %s: write mfa in this site too, or give it a host of its own", met.handler, gated)
		}
	}
	return nil
}

// serves reports whether a handler may serve content, or one that it holds.
func (s *surveyedServer) serves(met step) bool {
	return met.does == serves || met.module != nil && met.does != passes && reaches(s.server, met.module, func(handler caddyhttp.MiddlewareHandler) bool {
		_, invokes := handler.(*caddyhttp.Invoke)
		return !invokes && handler != met.module && conductOf(handler) == serves
	})
}

// checkRehosted refuses what a gate guards where requests for another host come
// to it without a gate, once a handler has given them its host.
func (s *survey) checkRehosted() error {
	guarded := make(map[caddyhttp.MiddlewareHandler]string)
	for _, server := range s.servers {
		for host, way := range server.ways {
			for _, met := range way {
				if hasGate(way) && met.guarded && met.does == serves && isPointer(met.module) {
					guarded[met.module] = server.besides(host)
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

// checkSources refuses a site without a host that serves, without a gate, the
// very upstream or folder that a gate guards elsewhere: whoever chooses the Host
// chooses that site. It warns of everything else that is open beside a gate and
// may be the same app.
func (s *survey) checkSources() error {
	behind := s.guardedSources()
	for _, server := range s.servers {
		for _, host := range s.hosts {
			for i, met := range server.ways[host] {
				if met.guarded || !server.serves(met) || met.named != (host != matching.AnyOtherHost) {
					continue
				}
				if err := s.checkOpen(server, host, i, behind); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// checkOpen judges one handler that serves without a gate.
func (s *survey) checkOpen(server *surveyedServer, host string, index int, behind []guardedSource) error {
	at, handler := server.at(host), server.ways[host][index].handler
	for _, open := range server.sourcesOf(host, index) {
		for _, guarded := range behind {
			switch {
			case open == guarded.source && host == matching.AnyOtherHost:
				return fmt.Errorf("%s: %s serves %s without mfa, which guards it as %s: write mfa in this site too, name its own hosts in its address, or remove it", at, handler, open, guarded.at)
			case open == guarded.source && !open.varies():
				s.warn("%s: %s serves %s without mfa, which guards it as %s", at, handler, open, guarded.at)
				return nil
			case open.overlaps(guarded.source):
				s.warn("%s: %s serves %s without mfa, which guards %s as %s", at, handler, open, guarded.source, guarded.at)
				return nil
			}
		}
	}
	if first := s.firstGuarded(); host == matching.AnyOtherHost && first != "" {
		s.warn("%s: %s serves every host without mfa, hosts included that mfa guards elsewhere, such as %s: name the site's own hosts in its address", at, handler, first)
	}
	return nil
}

// guardedSource is what a site serves behind its gate.
type guardedSource struct {
	source
	at string // the site, as errors name it
}

func (s *survey) guardedSources() []guardedSource {
	var behind []guardedSource
	for _, known := range s.sortedGuards() {
		for _, host := range known.guarded {
			for i, met := range known.server.ways[host] {
				if !met.guarded || !known.server.serves(met) {
					continue
				}
				for _, found := range known.server.sourcesOf(host, i) {
					behind = append(behind, guardedSource{found, known.server.besides(host)})
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
			return known.server.besides(known.guarded[0])
		}
	}
	return ""
}
