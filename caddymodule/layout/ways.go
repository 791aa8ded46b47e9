package layout

import (
	"errors"
	"fmt"
	"slices"
	"strings"
)

// checkEndless refuses named routes that lead to themselves, on any site: what
// they end is the whole process.
func (s *survey) checkEndless() error {
	for _, server := range s.servers {
		if name := endlessInvoke(server.server); name != "" {
			return fmt.Errorf("server %s (%s): invoke %s is in the named route that it invokes, so the first request would crash the whole server: remove it", server.name, strings.Join(server.listen, ", "), name)
		}
	}
	return nil
}

// checkWays looks at what the requests for each host meet on each server.
func (s *survey) checkWays() error {
	for _, server := range s.servers {
		for _, host := range s.hosts {
			if err := s.checkWay(server, host); err != nil {
				return fmt.Errorf("%s: %w", server.at(host), err)
			}
		}
	}
	return nil
}

func (s *survey) checkWay(server *surveyedServer, host string) error {
	way := server.ways[host]
	if err := checkUnaltered(way); err != nil {
		return err
	}
	if err := checkGates(way); err != nil {
		return err
	}
	for _, h := range s.homes {
		if err := s.checkHome(h, way, host); err != nil {
			return err
		}
	}
	if err := s.checkSurroundings(server, host); err != nil {
		return err
	}
	for _, met := range way {
		if met.gate != nil {
			if err := s.noteGate(met, server, host); err != nil {
				return err
			}
		}
	}
	if hasGate(way) {
		return checkGuarded(way)
	}
	return nil
}

// checkSurroundings refuses what undoes, around a gate or on the portal's host, what
// is decided and removed there.
func (s *survey) checkSurroundings(server *surveyedServer, host string) error {
	way := server.ways[host]
	if !hasGate(way) && s.residentOf(way) == "" {
		return nil
	}
	if err := server.checkCopies(way, s.residentOf(way)); err != nil {
		return err
	}
	if err := checkAnswers(way, s.residentOf(way)); err != nil {
		return err
	}
	if err := server.checkRewrites(way); err != nil {
		return err
	}
	if err := server.checkChoices(way); err != nil {
		return err
	}
	return s.checkIdentities(server, host)
}

// hasGate reports whether the way leads to a site's gate; those in error
// routes don't count.
func hasGate(way []step) bool { return slices.ContainsFunc(way, isGate) }

func isGate(met step) bool { return met.gate != nil && !met.failing }

// checkUnaltered refuses, before a gate, what changes a request in a way that
// matters to the gate, or to the matchers that lead to it.
func checkUnaltered(way []step) error {
	first := slices.IndexFunc(way, isGate)
	if first < 0 {
		return nil
	}
	for _, met := range way[:first] {
		if met.does != adjusts {
			continue
		}
		if met.failing {
			return fmt.Errorf("%s is in error routes that lead to mfa, which must decide on what the client asked for, however it got there: put it after mfa", met.handler)
		}
		if what := altered(met.module, way[first].gate); what != "" {
			return fmt.Errorf("%s runs before mfa, which must decide on what the client asked for, and can change %s: put it after mfa", met.handler, what)
		}
	}
	return nil
}

// checkGates refuses gates that see only some of a host's requests, and more
// than one of them.
func checkGates(way []step) error {
	var first *step
	for i, met := range way {
		switch {
		case met.gate == nil || met.failing:
		case met.under == "handle":
			return errors.New("mfa is in one of several handle blocks, and another may take the request: put mfa at the top of the site, outside them, and write rule or open inside mfa for parts of the site")
		case met.under != "":
			return fmt.Errorf("mfa is under a matcher that isn't about the host (%s), so all other requests would bypass it: put mfa at the top of the site, and write rule or open inside mfa for parts of the site", met.under)
		case first != nil:
			return errors.New("two mfa handlers see the same requests, and a site has one gate: keep one, and write rule inside it for what differs in parts of the site")
		default:
			first = &way[i]
		}
	}
	return nil
}

// noteGate notes that requests for the host come to the gate.
func (s *survey) noteGate(met step, server *surveyedServer, host string) error {
	known := s.guards[met.gate]
	if known == nil {
		known = &guard{gate: met.gate, server: server, failing: met.failing}
		s.guards[met.gate] = known
	}
	if known.failing != met.failing {
		return errors.New("one named route invokes mfa in both the site and its handle_errors: write mfa itself in handle_errors")
	}
	if met.failing && !met.gate.Guarding().Bare {
		return errors.New("mfa in handle_errors takes no settings, since it only lets through what the site's mfa let through: write it without a block")
	}
	known.reached = append(known.reached, host)
	return nil
}

// checkGuarded refuses, on the way to a gate, what would answer in its place.
func checkGuarded(way []step) error {
	for _, met := range way {
		if met.guarded {
			continue
		}
		switch {
		case met.failing && met.does >= alters:
			return fmt.Errorf("handle_errors runs %s, and some of Caddy's own errors get there without passing mfa: begin handle_errors with mfa, or do no more there than respond, header or abort", met.handler)
		case met.failing || met.does <= adjusts:
		case met.does == alters:
			return fmt.Errorf("%s runs before mfa, which must decide on what the client asked for and write its own responses: put it after mfa", met.handler)
		default:
			return fmt.Errorf("%s can answer requests that mfa hasn't decided on%s: put mfa before it, at the top of the site, and write open inside mfa for what everybody may see", met.handler, underMatcher(met))
		}
	}
	return nil
}

func underMatcher(met step) string {
	if met.under == "" {
		return ""
	}
	return fmt.Sprintf(" (under the matcher %s)", met.under)
}

// checkErrorGates refuses gates in error routes where none of the requests
// that come to them has a gate of its site's to pass.
func (s *survey) checkErrorGates() error {
	for _, known := range s.sortedGuards() {
		isGated := func(host string) bool { return hasGate(known.server.ways[host]) }
		if known.failing && !slices.ContainsFunc(known.reached, isGated) {
			return fmt.Errorf("%s: mfa is only in handle_errors, where it guards nothing: write mfa at the top of the site, too", known.server.at(known.reached[0]))
		}
	}
	return nil
}
