package layout

import (
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
)

// hostsOf returns the hosts that a walk must be made for so that nothing is
// missed: all that host matchers, gates and our own addresses name, all overlaps of
// wildcards, and matching.AnyOtherHost.
func hostsOf(sites *caddyhttp.App, homes []home) []string {
	c := &hostCollector{hosts: map[string]bool{matching.AnyOtherHost: true}}
	for _, home := range homes {
		if home.address != nil {
			c.hosts[home.address.Hostname()] = true
		}
	}
	for _, server := range sites.Servers {
		c.routes(server.Routes)
		if server.Errors != nil {
			c.routes(server.Errors.Routes)
		}
		for _, route := range server.NamedRoutes {
			c.route(*route)
		}
	}
	c.addOverlaps()
	return slices.Sorted(maps.Keys(c.hosts))
}

// hostCollector gathers hosts from routes.
type hostCollector struct {
	hosts map[string]bool
}

func (c *hostCollector) routes(routes caddyhttp.RouteList) {
	for _, route := range routes {
		c.route(route)
	}
}

func (c *hostCollector) route(route caddyhttp.Route) {
	c.matchers(route.MatcherSets)
	for _, handler := range route.Handlers {
		switch h := handler.(type) {
		case *caddyhttp.Subroute:
			c.routes(h.Routes)
			if h.Errors != nil {
				c.routes(h.Errors.Routes)
			}
		case Gate:
			for _, declared := range h.Guarding().Declared {
				c.hosts[declared.Name] = true
			}
		}
	}
}

func (c *hostCollector) matchers(sets []caddyhttp.MatcherSet) {
	for _, set := range sets {
		for _, matcher := range set {
			switch m := matcher.(type) {
			case *caddyhttp.MatchHost:
				c.matchHost(*m)
			case caddyhttp.MatchHost:
				c.matchHost(m)
			case *caddyhttp.MatchNot:
				c.matchers(m.MatcherSets)
			}
		}
	}
}

func (c *hostCollector) matchHost(patterns caddyhttp.MatchHost) {
	for _, written := range patterns {
		if pattern, known := matching.ExpandHost(written); known {
			c.hosts[pattern] = true
		}
	}
}

// addOverlaps adds what two wildcards have in common (*.b.c and a.*.c meet in
// a.b.c), until nothing new comes of it.
func (c *hostCollector) addOverlaps() {
	var wildcards []string
	for host := range c.hosts {
		if strings.Contains(host, "*") {
			wildcards = append(wildcards, host)
		}
	}
	for i := 0; i < len(wildcards); i++ {
		for _, other := range wildcards[:i] {
			overlap, meet := overlapOf(wildcards[i], other)
			if meet && !c.hosts[overlap] {
				c.hosts[overlap] = true
				wildcards = append(wildcards, overlap)
			}
		}
	}
}

func overlapOf(a, b string) (string, bool) {
	left, right := strings.Split(a, "."), strings.Split(b, ".")
	if len(left) != len(right) {
		return "", false
	}
	for i, label := range right {
		switch {
		case left[i] == "*":
			left[i] = label
		case label != "*" && label != left[i]:
			return "", false
		}
	}
	return strings.Join(left, "."), true
}
