package layout

import (
	"maps"
	"slices"
	"strings"
)

// checkPrefixes warns of apps that requests reach both with and without a prefix that
// handle_path or uri strip_prefix removes. The rules of a gate see the path with it.
func (s *survey) checkPrefixes() error {
	for _, known := range s.sortedGuards() {
		guarding := known.gate.Guarding()
		if known.failing || !guarding.tellsApart() {
			continue
		}
		for _, host := range known.guarded {
			found := known.server.prefixes(host)
			byName := func(a, b source) int { return strings.Compare(a.String(), b.String()) }
			for _, of := range slices.SortedFunc(maps.Keys(found), byName) {
				for _, prefix := range found[of] {
					s.warnOfPrefix(known.server.at(host), guarding, of, prefix)
				}
			}
		}
	}
	slices.Sort(s.warnings)
	return nil
}

// prefixes returns the prefixes that are removed before requests come to a source
// behind the gate, for those sources to which others come as they are.
func (s *surveyedServer) prefixes(host string) map[source][]string {
	found, whole := make(map[source][]string), make(map[source]bool)
	for i, met := range s.ways[host] {
		if !met.guarded || !s.serves(met) {
			continue
		}
		for _, of := range certain(s.sourcesOf(host, i)) {
			whole[of] = whole[of] || !met.wholly
			if met.stripped != "" && !slices.Contains(found[of], met.stripped) {
				found[of] = append(found[of], met.stripped)
			}
		}
	}
	maps.DeleteFunc(found, func(of source, _ []string) bool { return !whole[of] })
	return found
}

// certain leaves out folders where a handler may serve one or the other.
func certain(sources []source) []source {
	folder := source{}
	several := false
	for _, of := range sources {
		if of.folder != "" {
			several = several || folder.folder != "" && folder != of
			folder = of
		}
	}
	return slices.DeleteFunc(sources, func(of source) bool { return of.folder != "" && (several || of.varies()) })
}

func (s *survey) warnOfPrefix(at string, g *Guarding, of source, prefix string) {
	for _, rule := range g.Paths {
		if strings.HasPrefix(rule, "/") && !strings.HasPrefix(rule, prefix) && !covers(g.Paths, prefix+rule) {
			s.warn("%s: %s/… leads to the same pages of %s as the path without %s, but the rule for %s doesn't apply there: write it for %s, too", at, prefix, of, prefix, rule, prefix+rule)
			return
		}
	}
	if covers(g.OpenPaths, prefix+"/") {
		s.warn("%s: %s/… leads to the same pages of %s as the path without %s, so open lets everybody see all of them: open only what everybody may see", at, prefix, of, prefix)
	}
}

// covers reports whether one of the patterns matches all that another one does.
func covers(patterns []string, other string) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		start, open := strings.CutSuffix(pattern, "*")
		return pattern == other || open && !strings.Contains(start, "*") && strings.HasPrefix(other, start)
	})
}
