package caddymodule

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// certainty is whether something holds for the requests in question.
type certainty int

const (
	never certainty = iota
	maybe
	always
)

// match is whether requests for a host match.
type match struct {
	certainty
	under string // for maybe: the matcher it depends on
	named bool   // a host matcher matched
}

// requests are those that a walk follows, at some point of it.
type requests struct {
	host     string // as walk.host
	rehosted bool   // as bearing.rehosted
}

// matchSets matches as caddyhttp.MatcherSets does: one set suffices, and
// without any set everything matches.
func (r requests) matchSets(sets caddyhttp.MatcherSets) match {
	if len(sets) == 0 {
		return match{certainty: always}
	}
	var best match
	for _, set := range sets {
		if m := r.matchSet(set); m.certainty > best.certainty {
			best = m
		}
	}
	return best
}

// matchSet matches as caddyhttp.MatcherSet does: all matchers must match.
func (r requests) matchSet(set caddyhttp.MatcherSet) match {
	all := match{certainty: always}
	for _, matcher := range set {
		m := r.matchOne(matcher)
		all.named = all.named || m.named
		if m.certainty < all.certainty {
			all.certainty, all.under = m.certainty, m.under
		}
	}
	return all
}

func (r requests) matchOne(matcher any) match {
	switch m := matcher.(type) {
	case *caddyhttp.MatchHost:
		return r.matchHost(*m)
	case caddyhttp.MatchHost: // as in Caddy's own redirects to HTTPS
		return r.matchHost(m)
	case *caddyhttp.MatchNot:
		inner := r.matchSets(m.MatcherSets)
		if len(m.MatcherSets) == 0 {
			inner.certainty = never
		}
		return match{certainty: always - inner.certainty, under: inner.under}
	}
	return match{certainty: maybe, under: caddy.GetModuleName(matcher)}
}

func (r requests) matchHost(patterns caddyhttp.MatchHost) match {
	if r.rehosted {
		return match{certainty: maybe, under: "host, after request_header Host", named: true}
	}
	var best match
	for _, written := range patterns {
		pattern, known := expandHostMatcher(written)
		switch {
		case !known && best.certainty == never:
			best = match{certainty: maybe, under: "host " + written, named: true}
		case known && hostMatches(pattern, r.host):
			return match{certainty: always, named: true}
		}
	}
	return best
}

// expandHostMatcher returns a host matcher's pattern in lower case, and false
// for one that depends on the request, on the time or on a file.
func expandHostMatcher(written string) (string, bool) {
	pattern := strings.ToLower(written)
	if strings.Contains(pattern, "{time.") || strings.Contains(pattern, "{file.") {
		return pattern, false
	}
	if strings.Contains(written, "{") {
		pattern = strings.ToLower(caddy.NewReplacer().ReplaceKnown(written, ""))
	}
	return pattern, !strings.Contains(pattern, "{")
}

// hostMatches matches as caddyhttp.MatchHost does: a star stands for one label.
// The host may be a wildcard itself, standing for labels that no pattern names.
func hostMatches(pattern, host string) bool {
	if pattern == host {
		return true
	}
	if host == anyOtherHost || !strings.Contains(pattern, "*") {
		return false
	}
	wanted, labels := strings.Split(pattern, "."), strings.Split(host, ".")
	return slices.EqualFunc(wanted, labels, func(want, label string) bool { return want == "*" || want == label })
}
