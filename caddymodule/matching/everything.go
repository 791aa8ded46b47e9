package matching

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// MatchAll reports whether every request for the hosts plainly matches: one
// set suffices. Matchers of which that can't be told, such as those of other
// modules, don't match all.
func MatchAll(sets caddyhttp.MatcherSets, hosts []string) bool {
	return slices.ContainsFunc(sets, func(set caddyhttp.MatcherSet) bool {
		return !slices.ContainsFunc(set, func(matcher any) bool { return !matchesAll(matcher, hosts) })
	})
}

func matchesAll(matcher any, hosts []string) bool {
	switch m := matcher.(type) {
	case *caddyhttp.MatchHost:
		return len(hosts) > 0 && !slices.ContainsFunc(hosts, func(host string) bool {
			return Requests{Host: host}.matchHost(*m).Certainty != Always
		})
	case *caddyhttp.MatchHeader:
		return len(*m) == 0 || len(*m) == 1 && slices.Contains((*m)["Host"], "*")
	case *caddyhttp.MatchHeaderRE:
		return len(*m) == 0
	case *caddyhttp.VarsMatcher:
		return len(*m) == 0
	case *caddyhttp.MatchRemoteIP:
		return slices.ContainsFunc(m.Ranges, isEverywhere)
	case *caddyhttp.MatchClientIP:
		return slices.ContainsFunc(m.Ranges, isEverywhere)
	case *caddyhttp.MatchNot:
		return !slices.ContainsFunc(m.MatcherSets, func(set caddyhttp.MatcherSet) bool { return !slices.ContainsFunc(set, matchesNothing) })
	case *caddyhttp.MatchExpression:
		return !otherwiseDecided.MatchString(m.Expr) && matchesProbes(m)
	case *caddyhttp.MatchPath, *caddyhttp.MatchPathRE, *caddyhttp.MatchMethod, *caddyhttp.MatchProtocol:
		return matchesProbes(m.(caddyhttp.RequestMatcherWithError))
	}
	return false
}

// otherwiseDecided finds what an expression may look at that the probes don't
// vary.
var otherwiseDecided = regexp.MustCompile(`[!{]|host|header|query|vars|_ip|file|false`)

func isEverywhere(network string) bool { return strings.HasSuffix(network, "/0") }

// matchesNothing reports whether a matcher plainly matches no request.
func matchesNothing(matcher any) bool {
	switch m := matcher.(type) {
	case *caddyhttp.MatchPath:
		return len(*m) == 0
	case *caddyhttp.MatchMethod:
		return len(*m) == 0
	case *caddyhttp.MatchHost:
		return len(*m) == 0
	}
	return false
}

// matchesProbes reports whether a matcher matches each of several requests
// that have nothing in common.
func matchesProbes(matcher caddyhttp.RequestMatcherWithError) bool {
	for _, path := range []string{"/", "/q", "/Zw.x", "/vq/", "/k8/w.7z", "/xj/-/qv/zk_w"} {
		for _, method := range []string{
			http.MethodGet, http.MethodHead, http.MethodPost, http.MethodPut, http.MethodPatch, http.MethodDelete, http.MethodOptions,
		} {
			for major := 1; major <= 3; major++ {
				r := httptest.NewRequest(method, "https://site.invalid"+path, nil)
				r.ProtoMajor, r.ProtoMinor, r.Proto = major, 1/major, fmt.Sprintf("HTTP/%d.%d", major, 1/major)
				r = caddyhttp.PrepareRequest(r, caddy.NewReplacer(), nil, new(caddyhttp.Server))
				if matched, err := matcher.MatchWithError(r); err != nil || !matched {
					return false
				}
			}
		}
	}
	return true
}

// CheckPlaceholders refuses matchers with a placeholder of an environment
// variable that isn't set: what is left of them would match everything, or
// nothing.
func CheckPlaceholders(sets caddyhttp.MatcherSets) (err error) {
	Each(sets, func(matcher any) {
		for _, rest := range strings.Split(Written(matcher), "{env.")[1:] {
			name, _, _ := strings.Cut(rest, "}")
			name, fallback, _ := strings.Cut(name, ":")
			value, _ := caddy.NewReplacer().GetString("env." + name)
			if value == "" && fallback == "" && err == nil {
				err = fmt.Errorf("{env.%s} in a matcher is empty: set that environment variable, or write the value itself", name)
			}
		}
	})
	return err
}
