package layout

import (
	"errors"
	"fmt"
	"slices"

	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
)

// settleGates finds out whose requests each gate may decide on.
func (s *survey) settleGates() error {
	for _, known := range s.sortedGuards() {
		if known.failing {
			continue
		}
		if err := s.settle(known); err != nil {
			return fmt.Errorf("%s: %w", known.server.at(known.reached[0]), err)
		}
	}
	return nil
}

func (s *survey) settle(known *guard) error {
	patterns, err := known.patterns()
	if err != nil {
		return err
	}
	for i := range patterns {
		patterns[i].Except = s.servedElsewhere(patterns[i], known.reached)
	}
	known.site = origin.Site{Hosts: patterns, Ports: known.server.ports, Scheme: known.server.scheme()}
	known.guarded = slices.DeleteFunc(slices.Clone(known.reached), func(host string) bool {
		return !slices.ContainsFunc(patterns, func(p origin.Pattern) bool { return p.Name == host || p.Covers(host) })
	})
	if err := known.gate.Guarding().checkOpen(known.guarded); err != nil {
		return err
	}
	return s.checkScheme(known)
}

// patterns returns the hosts that the gate guards: those of the site, or,
// where it takes every host, those that the gate declares. Declared hosts must
// be among the site's.
func (g *guard) patterns() ([]origin.Pattern, error) {
	for _, declared := range g.gate.Guarding().Declared {
		if !slices.Contains(g.reached, declared.Name) {
			return nil, fmt.Errorf("mfa names %s in hosts, but requests for that host go to another site: remove it", declared.Name)
		}
	}
	if slices.Contains(g.reached, matching.AnyOtherHost) {
		if len(g.gate.Guarding().Declared) == 0 {
			return nil, errors.New("mfa guards a site that accepts every host, and must know which ones are its own: name them in the site's address, or write hosts app.example.com inside mfa")
		}
		return slices.Clone(g.gate.Guarding().Declared), nil
	}
	patterns := slices.Clone(g.gate.Guarding().Declared)
	for _, host := range g.reached {
		pattern := origin.Pattern{Name: host}
		if err := pattern.Check(); err != nil {
			return nil, fmt.Errorf("mfa can't guard this site: %w", err)
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

// servedElsewhere returns the hosts that the wildcard would cover, but whose
// requests don't come here.
func (s *survey) servedElsewhere(pattern origin.Pattern, reached []string) []string {
	if !pattern.IsWildcard() {
		return nil
	}
	var elsewhere []string
	for _, host := range s.hosts {
		if host != pattern.Name && pattern.Covers(host) && !slices.Contains(reached, host) {
			elsewhere = append(elsewhere, host)
		}
	}
	return elsewhere
}

func (s *survey) checkScheme(known *guard) error {
	if known.server.tls && known.server.plain {
		return errors.New("mfa is on a server that listens both with TLS and without: split it into two servers")
	}
	for _, pattern := range known.site.Hosts {
		if err := s.checkPlain(known.server, pattern.Name); err != nil {
			return fmt.Errorf("mfa guards %s %w", pattern.Name, err)
		}
	}
	return nil
}

// checkPlain refuses to serve a host over plain HTTP, unless that stays within
// this machine or comes from a proxy that is known to end TLS.
func (s *survey) checkPlain(server *surveyedServer, host string) error {
	switch {
	case !server.plain || origin.IsLocalhost(host):
		return nil
	case !s.behindProxy:
		return errors.New("over plain HTTP, which only localhost and *.localhost may use: serve it over HTTPS (remove http:// or :80 from the site's address, or `auto_https off` from the global options), or, if a proxy in front ends TLS, write behind_tls_proxy in the global option mfa")
	case !server.trusts:
		return errors.New("over plain HTTP behind a TLS proxy, but its server trusts no proxy: write in the global options: servers { trusted_proxies static ADDRESS } with the addresses of that proxy, and trusted_proxies_strict beside it")
	}
	return nil
}
