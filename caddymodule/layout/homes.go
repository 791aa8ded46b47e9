package layout

import (
	"errors"
	"fmt"
	"net/url"
	"slices"

	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
)

// home is a host that one of our handlers needs for itself.
type home struct {
	handler string   // as in a Caddyfile
	called  string   // in sentences
	option  string   // that names the address
	address *url.URL // nil: there is none
	source  string   // where the address is written, or ""
	// met reports whether a step is the handler.
	met func(step) bool
	// risk is what would come of a gate on the host.
	risk string
}

// homesOf returns the portal's home and the authenticator's, in that order.
func homesOf(c Configuration) []home {
	return []home{
		{
			handler: "mfa_portal", called: "the portal", option: "portal in the global option mfa",
			address: c.Portal, source: c.PortalSource, met: func(s step) bool { return s.portal != nil }, risk: ", so nobody could sign in",
		},
		{
			handler: "mfa_authenticator", called: "the authenticator", option: "authenticator in the option push of mfa",
			address: c.Authenticator, source: c.AuthenticatorSource, met: func(s step) bool { return s.phone != nil },
			risk: ", where phones that aren't signed in have to reach it",
		},
	}
}

// isIn reports whether a way leads to the handler.
func (h home) isIn(way []step) bool { return slices.ContainsFunc(way, h.met) }

// residentOf returns the handler to whose home a way leads, or "".
func (s *survey) residentOf(way []step) string {
	for _, h := range s.homes {
		if h.isIn(way) {
			return h.handler
		}
	}
	return ""
}

// siteAddress returns the home's site address for a Caddyfile.
func (h home) siteAddress() string {
	if h.address.Scheme == "http" {
		return h.address.String()
	}
	return h.address.Host
}

// checkHome refuses a handler that is on another host than its own, or sees only
// some of its requests.
func (s *survey) checkHome(h home, way []step, host string) error {
	for _, met := range way {
		switch {
		case !h.met(met):
		case h.address == nil:
			return fmt.Errorf("%s is here, but no option names this host: write in the global option mfa: push { authenticator https://%s }", h.handler, exampleOf(host))
		case host == matching.AnyOtherHost:
			return fmt.Errorf("%s is on a site that accepts every host: put it in a site of its own: %s { %s }", h.handler, h.address.Host, h.handler)
		case host != h.address.Hostname():
			return fmt.Errorf("%s is here, but %s is %s: write %s on its host only, or name this one as %s", h.handler, h.called, h.address, h.handler, h.option)
		case met.failing:
			return fmt.Errorf("%s is in handle_errors: put it at the top of the site", h.handler)
		case met.under != "":
			return fmt.Errorf("%s is under a matcher that isn't about the host (%s), but %s needs all paths of its host: put it at the top of the site", h.handler, met.under, h.called)
		case met.portal != nil:
			s.portals[met.portal] = true
		default:
			s.authenticators[met.phone] = true
		}
	}
	return nil
}

func exampleOf(host string) string {
	if host == matching.AnyOtherHost {
		return "phone.example.com"
	}
	return host
}

// checkHomes makes sure that the portal and the authenticator are served, as their
// addresses say, and that each has its host for itself.
func (s *survey) checkHomes() error {
	for _, h := range s.homes {
		if h.address == nil {
			continue
		}
		if err := s.checkServed(h); err != nil {
			return err
		}
	}
	return nil
}

func (s *survey) checkServed(h home) error {
	host := h.address.Hostname()
	for _, known := range s.sortedGuards() {
		if slices.Contains(known.guarded, host) {
			return fmt.Errorf("%s: mfa guards %s's own host%s: give %s a host of its own", known.server.at(host), h.called, h.risk, h.called)
		}
	}
	var serving []*surveyedServer
	for _, server := range s.servers {
		way := server.ways[host]
		if err := h.checkAlone(way); err != nil {
			return fmt.Errorf("%s: %w", server.at(host), err)
		}
		if h.isIn(way) {
			serving = append(serving, server)
		}
	}
	return s.checkReachable(h, serving)
}

// checkAlone refuses on the home's host what could read or imitate its pages.
func (h home) checkAlone(way []step) error {
	beside := h.isIn(way)
	if beside && hasGate(way) {
		return errors.New("mfa and " + h.handler + " are on the same host: give " + h.called + " a host of its own")
	}
	for _, met := range way {
		if !beside && (!met.named || met.guarded) {
			continue
		}
		if beside && met.does == adjusts && altered(met.module, nil) != "" {
			return fmt.Errorf("%s runs before %s, which must see what the client sent, and can change %s: remove it", met.handler, h.handler, altered(met.module, nil))
		}
		if met.does == serves || (beside && met.does == alters) {
			return fmt.Errorf("%s runs on %s's host, which %s needs for itself: give it a host of its own", met.handler, h.called, h.called)
		}
	}
	return nil
}

func (s *survey) checkReachable(h home, serving []*surveyedServer) error {
	host := h.address.Hostname()
	if len(serving) == 0 {
		err := fmt.Errorf("no site serves %s %s: write %s { %s }", h.called, h.address, h.siteAddress(), h.handler)
		if h.source != "" {
			err = fmt.Errorf("%s: %w", h.source, err)
		}
		return err
	}
	for _, server := range serving {
		if err := s.checkPlain(server, host); err != nil {
			return fmt.Errorf("%s: %s is served %w", server.at(host), h.handler, err)
		}
	}
	reached := func(server *surveyedServer) string { return origin.SchemeOf(server.scheme(), host) }
	if !slices.ContainsFunc(serving, func(server *surveyedServer) bool { return reached(server) == h.address.Scheme }) {
		return fmt.Errorf("%s: %s is served as %s://, but %s is %s: make them match", serving[0].at(host), h.handler, reached(serving[0]), h.called, h.address)
	}
	return nil
}
