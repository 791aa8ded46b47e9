package layout

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
)

// Layout is where gates and portals are in a configuration that leaves no way around
// them.
type Layout struct {
	Gates   map[Gate]Placement
	Portals []Portal
	// Authenticators serve the phone's app.
	Authenticators []Authenticator
	// Apps are the gated hosts that have a name of their own, by host. Hosts that
	// only a wildcard covers are unknown until somebody opens them.
	Apps []App
	// Weakest is the lowest level with which any gate lets somebody pass, at
	// most assurance.Multi.
	Weakest assurance.Level
	// Outlets are the outlets of the gates.
	Outlets []Outlet
	// Warnings are what operators should look into.
	Warnings []string
}

// Placement is where a gate is.
type Placement struct {
	// Site is the site whose requests reach the gate.
	Site origin.Site
	// UsualHost returns a host of the site, which may have a port, with the port at
	// which browsers reach it.
	UsualHost func(host string) string
	// ErrorRoute says that the gate is within handle_errors, where it lets through
	// only requests that have passed the site's gate. It has no site of its own.
	ErrorRoute bool
}

// App is one app behind a gate.
type App struct {
	Host string
	URL  string // of its front page, without a path
	Gate Gate
}

// Configuration is the configuration to check.
type Configuration struct {
	// Sites is the http app, provisioned.
	Sites *caddyhttp.App
	// Portal is the portal's address: scheme and host only. PortalSource is where it is
	// written, as FILE:LINE, or "".
	Portal       *url.URL
	PortalSource string
	// Authenticator is the address of the phone's app: scheme and host only; nil:
	// there is none. AuthenticatorSource is where it is written, as FILE:LINE, or "".
	Authenticator       *url.URL
	AuthenticatorSource string
	// BehindProxy says that TLS may end at a proxy that a server trusts.
	BehindProxy bool
	// Gates are all that were provisioned, wherever they are.
	Gates []Gate
}

// Check walks all routes of the http app, for each host that the configuration names,
// and finds gates and portals. It refuses a configuration that would let a request
// for a gated host past its gate, leave a gate without hosts that it may sign for, or
// put the portal or the authenticator where it can't work or isn't alone. The error
// names the host, the handler, and what to write instead.
func Check(c Configuration) (Layout, error) {
	s, err := newSurvey(c)
	if err != nil {
		return Layout{}, err
	}
	for _, check := range []func() error{
		s.checkEndless, s.checkWays, s.checkErrorGates, s.settleGates, s.checkOtherServers, s.checkRehosted, s.checkSources, s.checkAddresses, s.checkFiles, s.checkPrefixes, s.checkLogs, s.checkHomes,
	} {
		if err := check(); err != nil {
			return Layout{}, err
		}
	}
	found := s.result()
	return found, found.checkPlaced(c)
}

// result returns what was found, once nothing is left to refuse.
func (s *survey) result() Layout {
	found := Layout{Gates: make(map[Gate]Placement), Weakest: assurance.Multi, Outlets: s.outlets, Warnings: s.warnings}
	for _, known := range s.sortedGuards() {
		found.Gates[known.gate] = Placement{Site: known.site, UsualHost: s.usualHosts(known), ErrorRoute: known.failing}
		if known.failing {
			continue
		}
		found.Apps = append(found.Apps, s.appsOf(known)...)
		found.Weakest = min(found.Weakest, known.gate.Guarding().Weakest)
	}
	found.Apps = onePerHost(found.Apps)
	for portal := range s.portals {
		found.Portals = append(found.Portals, portal)
	}
	for authenticator := range s.authenticators {
		found.Authenticators = append(found.Authenticators, authenticator)
	}
	return found
}

// appsOf returns the gate's hosts that have names of their own.
func (s *survey) appsOf(known *guard) []App {
	var apps []App
	for _, host := range known.guarded {
		if strings.Contains(host, "*") {
			continue
		}
		apps = append(apps, App{Host: host, URL: s.urlOf(known, host), Gate: known.gate})
	}
	return apps
}

// urlOf returns the URL at which browsers reach one of a gate's hosts.
func (s *survey) urlOf(known *guard, host string) string {
	scheme := origin.SchemeOf(known.site.Scheme, host)
	besidePortal := s.homes[0].isIn(known.server.ways[s.portal.Hostname()])
	// Behind a TLS proxy, only ports that the gate names are its own.
	sameWay := besidePortal && scheme == s.portal.Scheme && scheme == known.site.Scheme
	return scheme + "://" + origin.Authority(scheme, host, known.site.PortFor(host, s.portal.Port(), sameWay))
}

// usualHosts returns Placement.usualHost for a gate, with what it says of the
// hosts that the site names made beforehand: each request needs it.
func (s *survey) usualHosts(known *guard) func(host string) string {
	find := func(host string) string {
		name, _, ok := origin.SplitAuthority(host)
		if !ok {
			return host
		}
		_, usual, _ := strings.Cut(s.urlOf(known, name), "://")
		return usual
	}
	made := make(map[string]string)
	for _, pattern := range known.site.Hosts {
		scheme := origin.SchemeOf(known.site.Scheme, pattern.Name)
		for _, port := range append([]string{"", pattern.Port}, known.site.Ports...) {
			host := origin.Authority(scheme, pattern.Name, port)
			made[host] = find(host)
		}
	}
	return func(host string) string {
		if usual, ok := made[host]; ok {
			return usual
		}
		return find(host)
	}
}

// onePerHost sorts by host. Of a host that is reached in several ways it keeps
// one, with TLS and without a port where there is such a one.
func onePerHost(apps []App) []App {
	hasTLS := func(app App) bool { return strings.HasPrefix(app.URL, "https:") }
	slices.SortFunc(apps, func(a, b App) int {
		switch {
		case a.Host != b.Host:
			return strings.Compare(a.Host, b.Host)
		case hasTLS(a) != hasTLS(b):
			return strings.Compare(b.URL, a.URL) // so "https:" comes first
		}
		return cmp.Or(cmp.Compare(len(a.URL), len(b.URL)), strings.Compare(a.URL, b.URL))
	})
	return slices.CompactFunc(apps, func(a, b App) bool { return a.Host == b.Host })
}

// checkPlaced refuses gates that no request comes to. They stand inside
// handlers that a walk can't see into, or behind a site that takes all of
// their requests.
func (l Layout) checkPlaced(c Configuration) error {
	for _, gate := range c.Gates {
		if _, ok := l.Gates[gate]; ok {
			continue
		}
		name := "?"
		for candidate, server := range c.Sites.Servers {
			if server == gate.Guarding().Server {
				name = candidate
			}
		}
		at := "server " + name
		if source := gate.Guarding().Source; source != "" {
			at = source + ": " + at
		}
		return fmt.Errorf("%s: no request reaches any of its mfa handlers: it is inside another handler (such as handle_response), in a named route that nothing invokes, or in a site whose requests go elsewhere: put mfa at the top of its site", at)
	}
	return nil
}
