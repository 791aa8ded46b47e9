package layout

import (
	"errors"
	"fmt"
	"slices"

	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
)

// checkPortal makes sure that the portal is served, as its address says, and
// that it has its host for itself.
func (s *survey) checkPortal() error {
	host := s.portal.Hostname()
	for _, known := range s.sortedGuards() {
		if slices.Contains(known.guarded, host) {
			return fmt.Errorf("%s: mfa guards the portal's own host, where nobody could sign in then: give the portal a host of its own", known.server.at(host))
		}
	}
	var serving []*surveyedServer
	for _, server := range s.servers {
		way := server.ways[host]
		if err := checkAlone(way); err != nil {
			return fmt.Errorf("%s: %w", server.at(host), err)
		}
		if hasPortal(way) {
			serving = append(serving, server)
		}
	}
	return s.checkReachable(serving)
}

// checkAlone refuses on the portal's host what could read or imitate its
// pages.
func checkAlone(way []step) error {
	beside := hasPortal(way)
	if beside && hasGate(way) {
		return errors.New("mfa and mfa_portal are on the same host: give the portal a host of its own")
	}
	for _, met := range way {
		if !beside && (!met.named || met.guarded) {
			continue
		}
		if beside && met.does == adjusts && altered(met.module, nil) != "" {
			return fmt.Errorf("%s runs before mfa_portal, which must see what the client sent, and can change %s: remove it", met.handler, altered(met.module, nil))
		}
		if met.does == serves || (beside && met.does == alters) {
			return fmt.Errorf("%s runs on the portal's host, which the portal needs for itself: give it a host of its own", met.handler)
		}
	}
	return nil
}

func (s *survey) checkReachable(serving []*surveyedServer) error {
	host := s.portal.Hostname()
	if len(serving) == 0 {
		return fmt.Errorf("no site serves the portal %s: write %s { mfa_portal }", s.portal, s.portalAddress())
	}
	for _, server := range serving {
		if err := s.checkPlain(server, host); err != nil {
			return fmt.Errorf("%s: mfa_portal is served %w", server.at(host), err)
		}
	}
	reached := func(server *surveyedServer) string { return origin.SchemeOf(server.scheme(), host) }
	if !slices.ContainsFunc(serving, func(server *surveyedServer) bool { return reached(server) == s.portal.Scheme }) {
		return fmt.Errorf("%s: mfa_portal is served as %s://, but the portal is %s: make them match", serving[0].at(host), reached(serving[0]), s.portal)
	}
	return nil
}

// portalAddress returns the portal's site address for a Caddyfile.
func (s *survey) portalAddress() string {
	if s.portal.Scheme == "http" {
		return s.portal.String()
	}
	return s.portal.Host
}
