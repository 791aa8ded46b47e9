package caddymodule

import (
	"cmp"
	"fmt"
	"net/url"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/assurance"
)

// layout is where gates and portals stand in a configuration that leaves no
// way around them.
type layout struct {
	gates   map[*Gate]placement
	portals []*Portal
	// apps are the gated hosts that have a name of their own, by host. Hosts
	// that only a wildcard covers are unknown until somebody asks for them.
	apps []gatedApp
	// weakest is the lowest level with which any gate lets somebody pass, at
	// most assurance.Multi.
	weakest assurance.Level
	// outlets are those of the gates that send assertions.
	outlets []outlet
	// warnings are what an operator had better look at.
	warnings []string
}

// placement is where a gate stands.
type placement struct {
	// site is whose requests come to the gate.
	site site
	// usualHost returns a host of the site, which may have a port, with the one
	// at which browsers reach it.
	usualHost func(host string) string
	// errorRoute says that the gate stands within handle_errors, where it
	// passes only what the site's gate has passed. It has no site of its own.
	errorRoute bool
}

// gatedApp is one app behind a gate.
type gatedApp struct {
	host string
	url  string // of its front page, without a path
	gate *Gate
}

// place lets gates and portals serve.
func (l layout) place() {
	for gate, at := range l.gates {
		gate.placed.Store(&at)
	}
	for _, portal := range l.portals {
		portal.placed.Store(true)
	}
}

// checkPlaced refuses gates that no request comes to. They stand inside
// handlers that a walk can't see into, or behind a site that takes all of
// their requests.
func (l layout) checkPlaced(gates []*Gate, sites *caddyhttp.App) error {
	for _, gate := range gates {
		if _, ok := l.gates[gate]; ok {
			continue
		}
		name := "?"
		for candidate, server := range sites.Servers {
			if server == gate.server {
				name = candidate
			}
		}
		return fmt.Errorf("server %s: no request comes to one of its mfa handlers: it is inside another handler (such as handle_response), in a named route that nothing invokes, or in a site whose requests go elsewhere: put mfa at the top of its site", name)
	}
	return nil
}

// checkLayout walks all routes of the http app, for each host that is named
// somewhere, and finds gates and portals. It refuses, naming host and handler
// and what to write instead, whatever would let a request for a gated host
// past its gate, would leave a gate without hosts that it may sign for, or
// would put the portal where it can't work or isn't alone. behindProxy says
// that TLS may end at a proxy that a server trusts.
func checkLayout(sites *caddyhttp.App, portal *url.URL, behindProxy bool) (layout, error) {
	s, err := newSurvey(sites, portal, behindProxy)
	if err != nil {
		return layout{}, err
	}
	for _, check := range []func() error{
		s.checkEndless, s.checkWays, s.checkErrorGates, s.settleGates, s.checkOtherServers, s.checkRehosted, s.checkSources, s.checkAddresses, s.checkLogs, s.checkPortal,
	} {
		if err := check(); err != nil {
			return layout{}, err
		}
	}
	return s.result(), nil
}

// result returns what was found, once nothing is left to refuse.
func (s *survey) result() layout {
	found := layout{gates: make(map[*Gate]placement), weakest: assurance.Multi, outlets: s.outlets, warnings: s.warnings}
	for _, known := range s.sortedGuards() {
		found.gates[known.gate] = placement{site: known.site, usualHost: s.usualHosts(known), errorRoute: known.failing}
		if known.failing {
			continue
		}
		found.apps = append(found.apps, s.appsOf(known)...)
		found.weakest = min(found.weakest, known.gate.weakest())
	}
	found.apps = onePerHost(found.apps)
	for portal := range s.portals {
		found.portals = append(found.portals, portal)
	}
	return found
}

// appsOf returns the gate's hosts that have names of their own.
func (s *survey) appsOf(known *guard) []gatedApp {
	var apps []gatedApp
	for _, host := range known.guarded {
		if strings.Contains(host, "*") {
			continue
		}
		apps = append(apps, gatedApp{host: host, url: s.urlOf(known, host), gate: known.gate})
	}
	return apps
}

// urlOf returns the URL at which browsers reach one of a gate's hosts.
func (s *survey) urlOf(known *guard, host string) string {
	scheme := schemeOf(known.site.scheme, host)
	besidePortal := hasPortal(known.server.ways[s.portal.Hostname()])
	// Behind a TLS proxy, only ports that the gate names are its own.
	sameWay := besidePortal && scheme == s.portal.Scheme && scheme == known.site.scheme
	return scheme + "://" + authority(scheme, host, known.site.portFor(host, s.portal.Port(), sameWay))
}

// usualHosts returns placement.usualHost for a gate, with what it says of the
// hosts that the site names made beforehand: each request needs it.
func (s *survey) usualHosts(known *guard) func(host string) string {
	find := func(host string) string {
		name, _, ok := splitAuthority(host)
		if !ok {
			return host
		}
		_, usual, _ := strings.Cut(s.urlOf(known, name), "://")
		return usual
	}
	made := make(map[string]string)
	for _, pattern := range known.site.hosts {
		scheme := schemeOf(known.site.scheme, pattern.name)
		for _, port := range append([]string{"", pattern.port}, known.site.ports...) {
			host := authority(scheme, pattern.name, port)
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
func onePerHost(apps []gatedApp) []gatedApp {
	hasTLS := func(app gatedApp) bool { return strings.HasPrefix(app.url, "https:") }
	slices.SortFunc(apps, func(a, b gatedApp) int {
		switch {
		case a.host != b.host:
			return strings.Compare(a.host, b.host)
		case hasTLS(a) != hasTLS(b):
			return strings.Compare(b.url, a.url) // so "https:" comes first
		}
		return cmp.Or(cmp.Compare(len(a.url), len(b.url)), strings.Compare(a.url, b.url))
	})
	return slices.CompactFunc(apps, func(a, b gatedApp) bool { return a.host == b.host })
}
