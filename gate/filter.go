package gate

import (
	"net/http"
	"slices"
	"strings"
)

// filter removes from the headers that are about to leave what would undo what
// the gate does: cookies of ours, orders to a browser to forget all cookies of
// the domain, and, where somebody is signed in, leave for shared caches to keep
// the response for others.
func (g *responseGuard) filter() {
	header := g.Header()
	for name, lines := range header {
		switch kept := g.kept(name, lines); {
		case len(lines) == 0 || len(kept) > 0 && &kept[0] == &lines[0]:
		case len(kept) == 0:
			delete(header, name)
		default:
			header[name] = kept
		}
	}
	if g.private && !g.wroteHeader {
		g.keepPrivate(header)
	}
}

// kept returns lines itself where nothing is wrong with them, else a copy, since
// an app may share what it sets among its responses. Names count in whatever
// case the app wrote them, and also as a trailer (http.TrailerPrefix).
func (g *responseGuard) kept(name string, lines []string) []string {
	name = strings.TrimPrefix(name, http.TrailerPrefix)
	switch {
	case strings.EqualFold(name, "Set-Cookie"):
		return withoutOwnCookies(lines)
	case strings.EqualFold(name, "Clear-Site-Data"):
		return clearingOwnData(lines)
	case g.private && isForSharedCaches(name):
		return nil
	}
	return lines
}

// withoutOwnCookies returns lines itself where none is ours, else a copy, since
// an app may share what it sets among its responses.
func withoutOwnCookies(lines []string) []string {
	for i, line := range lines {
		if !isOwnCookie(line) {
			continue
		}
		kept := slices.Clone(lines[:i])
		for _, other := range lines[i+1:] {
			if !isOwnCookie(other) {
				kept = append(kept, other)
			}
		}
		return kept
	}
	return lines
}

// ownData are the directives of Clear-Site-Data (W3C Clear Site Data §3.1, and
// what Chromium added) that reach no farther than the app's own origin.
var ownData = []string{
	`"cache"`, `"storage"`, `"executionContexts"`, `"clientHints"`, `"prefetchCache"`, `"prerenderCache"`,
}

// clearingOwnData returns what an app may have the browser forget. Not cookies:
// browsers clear those of every host under the registrable domain, so everybody
// would be signed out of the portal and of all other apps.
func clearingOwnData(lines []string) []string {
	var kept []string
	changed := false
	for _, line := range lines {
		for directive := range strings.SplitSeq(line, ",") {
			switch directive = strings.Trim(directive, " \t"); {
			case slices.Contains(ownData, directive):
				kept = append(kept, directive)
			case directive == `"*"`:
				kept, changed = append(kept, ownData[:3]...), true
			default:
				changed = true
			}
		}
	}
	switch {
	case !changed:
		return lines
	case len(kept) == 0:
		return nil
	}
	return []string{strings.Join(kept, ", ")}
}

// isForSharedCaches reports whether a header tells shared caches alone what to
// keep, and so goes before Cache-Control there: CDN-Cache-Control (RFC 9213) and
// its kin, nginx's X-Accel-Expires, Surrogate-Control of Varnish and Fastly,
// Akamai's Edge-Control.
func isForSharedCaches(name string) bool {
	const targeted = "-Cache-Control"
	switch len(name) {
	case len("Edge-Control"):
		return strings.EqualFold(name, "Edge-Control")
	case len("X-Accel-Expires"):
		if strings.EqualFold(name, "X-Accel-Expires") {
			return true
		}
	case len("Surrogate-Control"):
		if strings.EqualFold(name, "Surrogate-Control") {
			return true
		}
	}
	return len(name) > len(targeted) && strings.EqualFold(name[len(name)-len(targeted):], targeted)
}

// keepPrivate has shared caches keep nothing of a response (RFC 9111 §5.2.2.7):
// they would hand it to whoever asks next, without asking the gate. What the app
// says to the browser's own cache stays.
func (g *responseGuard) keepPrivate(header http.Header) {
	var lines []string
	for name, values := range header {
		if strings.EqualFold(name, "Cache-Control") {
			lines = append(lines, values...)
			if name != "Cache-Control" {
				delete(header, name)
			}
		}
	}
	if len(lines) == 1 && (lines[0] == "no-store" || lines[0] == "private") {
		header["Cache-Control"] = lines
		return
	}
	g.cache[0] = privateCacheControl(lines)
	header["Cache-Control"] = g.cache[:]
}

// privateCacheControl returns the app's directives without those for shared
// caches, and with private. Private with names of headers is about these alone.
func privateCacheControl(lines []string) string {
	kept := make([]string, 0, 4)
	for _, line := range lines {
		for directive := range strings.SplitSeq(line, ",") {
			directive = strings.Trim(directive, " \t")
			name := directive
			if end := strings.IndexAny(name, "= \t;"); end >= 0 {
				name = name[:end]
			}
			switch strings.ToLower(name) {
			case "", "public", "private", "s-maxage":
			default:
				kept = append(kept, directive)
			}
		}
	}
	return strings.Join(append(kept, "private"), ", ")
}
