package pagetag

import (
	"net/http"
	"slices"
	"strings"
)

// policiesAllow reports whether all Content Security Policies of a response (CSP
// Level 3) let the page load a script from its own origin and let that script ask
// the same origin. A policy that only reports counts too: the app's operator would
// get a report of each page. What isn't sure is a no.
func policiesAllow(h http.Header, origin string) bool {
	for _, name := range []string{"Content-Security-Policy", "Content-Security-Policy-Report-Only"} {
		for _, line := range h[name] {
			for policy := range strings.SplitSeq(line, ",") {
				if !policyAllows(policy, origin) {
					return false
				}
			}
		}
	}
	return true
}

func policyAllows(policy, origin string) bool {
	directives := parsePolicy(policy)
	if sandbox, ok := directives["sandbox"]; ok && !allowsPage(sandbox) {
		return false
	}
	script := first(directives, "script-src-elem", "script-src", "default-src")
	connect := first(directives, "connect-src", "default-src")
	return lists(script, origin) && lists(connect, origin)
}

// allowsPage reports whether a sandbox lets a page do what the script needs.
func allowsPage(sandbox []string) bool {
	for _, needed := range []string{"allow-scripts", "allow-same-origin", "allow-popups"} {
		if !slices.ContainsFunc(sandbox, func(flag string) bool { return strings.EqualFold(flag, needed) }) {
			return false
		}
	}
	return true
}

// parsePolicy returns the values of a policy's directives. Of two of one name the
// first counts (CSP Level 3 §2.2.1).
func parsePolicy(policy string) map[string][]string {
	directives := make(map[string][]string)
	for directive := range strings.SplitSeq(policy, ";") {
		words := strings.Fields(directive)
		if len(words) == 0 {
			continue
		}
		name := strings.ToLower(words[0])
		if _, before := directives[name]; !before {
			directives[name] = words[1:]
		}
	}
	return directives
}

// first returns the values of the first directive that is there; nil: of none, so
// that everything is allowed.
func first(directives map[string][]string, names ...string) []string {
	for _, name := range names {
		if values, ok := directives[name]; ok {
			return append([]string{}, values...)
		}
	}
	return nil
}

// lists reports whether a list of sources holds the origin, whatever the path. nil
// is no list.
func lists(sources []string, origin string) bool {
	if sources == nil {
		return true
	}
	allowed := false
	for _, source := range sources {
		switch source = strings.ToLower(source); source {
		case "'strict-dynamic'": // only what has a nonce or a digest, then
			return false
		case "'self'", "*", origin, origin + "/", hostOf(origin), schemeOf(origin):
			allowed = true
		}
	}
	return allowed
}

func hostOf(origin string) string {
	_, host, _ := strings.Cut(origin, "://")
	return host
}

func schemeOf(origin string) string {
	scheme, _, _ := strings.Cut(origin, "://")
	return scheme + ":"
}
