package matching

import (
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// AnyOtherHost stands for all hosts that the configuration doesn't name. It
// can't be written in a host matcher that matches anything.
const AnyOtherHost = "?"

// Certainty is whether something holds for the requests in question.
type Certainty int

const (
	// Never says that it holds for none of them.
	Never Certainty = iota
	// Maybe says that it depends on the request, or isn't known.
	Maybe
	// Always says that it holds for each.
	Always
)

// Match is whether requests for a host match.
type Match struct {
	Certainty
	Under string // for Maybe: the matcher it depends on
	Named bool   // a host matcher matched
}

// Requests are those for one host, at some point on their way.
type Requests struct {
	// Host may be a wildcard, which stands for hosts that nothing else names, or
	// AnyOtherHost.
	Host string
	// Rehosted says that a handler may have changed their Host, so any host
	// matcher may match.
	Rehosted bool
}

// MatchSets matches as caddyhttp.MatcherSets does: one set suffices, and
// without any set everything matches.
func (r Requests) MatchSets(sets caddyhttp.MatcherSets) Match {
	if len(sets) == 0 {
		return Match{Certainty: Always}
	}
	var best Match
	for _, set := range sets {
		if m := r.matchSet(set); m.Certainty > best.Certainty {
			best = m
		}
	}
	return best
}

// matchSet matches as caddyhttp.MatcherSet does: all matchers must match.
func (r Requests) matchSet(set caddyhttp.MatcherSet) Match {
	all := Match{Certainty: Always}
	for _, matcher := range set {
		m := r.matchOne(matcher)
		all.Named = all.Named || m.Named
		if m.Certainty < all.Certainty {
			all.Certainty, all.Under = m.Certainty, m.Under
		}
	}
	return all
}

func (r Requests) matchOne(matcher any) Match {
	switch m := matcher.(type) {
	case *caddyhttp.MatchHost:
		return r.matchHost(*m)
	case caddyhttp.MatchHost: // as in Caddy's own redirects to HTTPS
		return r.matchHost(m)
	case *caddyhttp.MatchNot:
		inner := r.MatchSets(m.MatcherSets)
		if len(m.MatcherSets) == 0 {
			inner.Certainty = Never
		}
		return Match{Certainty: Always - inner.Certainty, Under: inner.Under}
	}
	return Match{Certainty: Maybe, Under: caddy.GetModuleName(matcher)}
}

func (r Requests) matchHost(patterns caddyhttp.MatchHost) Match {
	if r.Rehosted {
		return Match{Certainty: Maybe, Under: "host, after request_header Host", Named: true}
	}
	var best Match
	for _, written := range patterns {
		pattern, known := ExpandHost(written)
		switch {
		case !known && best.Certainty == Never:
			best = Match{Certainty: Maybe, Under: "host " + written, Named: true}
		case known && hostMatches(pattern, r.Host):
			return Match{Certainty: Always, Named: true}
		}
	}
	return best
}

// ExpandHost returns a host matcher's pattern in lower case, and false
// for one that depends on the request, on the time or on a file.
func ExpandHost(written string) (string, bool) {
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
	if host == AnyOtherHost || !strings.Contains(pattern, "*") {
		return false
	}
	wanted, labels := strings.Split(pattern, "."), strings.Split(host, ".")
	return slices.EqualFunc(wanted, labels, func(want, label string) bool { return want == "*" || want == label })
}
