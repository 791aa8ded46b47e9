package matching

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
)

// Each calls do with each matcher, including those within `not`.
func Each(sets caddyhttp.MatcherSets, do func(matcher any)) {
	for _, set := range sets {
		for _, matcher := range set {
			if not, ok := matcher.(*caddyhttp.MatchNot); ok {
				Each(not.MatcherSets, do)
				continue
			}
			do(matcher)
		}
	}
}

// Written returns a matcher as JSON, or "" if it can't be written as JSON.
func Written(matcher any) string {
	var written strings.Builder
	encoder := json.NewEncoder(&written)
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(matcher); err != nil {
		return ""
	}
	return written.String()
}

// Headers returns the headers that a matcher names. For an expression that looks
// at headers, it returns all words of the expression.
func Headers(matcher any) []string {
	switch m := matcher.(type) {
	case *caddyhttp.MatchHeader:
		return slices.Collect(maps.Keys(*m))
	case *caddyhttp.MatchHeaderRE:
		return slices.Collect(maps.Keys(*m))
	case *caddyhttp.MatchExpression:
		if strings.Contains(m.Expr, "header(") || strings.Contains(m.Expr, "header_regexp(") {
			return append(strings.FieldsFunc(m.Expr, isNotNameRune), headerPlaceholders(m.Expr)...)
		}
		return headerPlaceholders(m.Expr)
	}
	return headerPlaceholders(Written(matcher))
}

// headerPlaceholders returns the names in Caddy's placeholders for headers.
func headerPlaceholders(text string) []string {
	var names []string
	for _, rest := range strings.Split(text, "{http.request.header.")[1:] {
		name, _, _ := strings.Cut(rest, "}")
		names = append(names, name)
	}
	return names
}

func isNotNameRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < 'A' || r > 'Z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// LooksAtPeer reports whether a matcher looks at the address that a connection
// comes from, rather than at the client's.
func LooksAtPeer(matcher any) bool {
	switch m := matcher.(type) {
	case *caddyhttp.MatchRemoteIP:
		return true
	case *caddyhttp.MatchExpression:
		return strings.Contains(m.Expr, "remote_ip(") || strings.Contains(m.Expr, "{http.request.remote")
	}
	return strings.Contains(Written(matcher), "{http.request.remote")
}

// LooksAtClient reports whether a matcher looks at the address of the client, as
// trusted proxies tell it.
func LooksAtClient(matcher any) bool {
	switch m := matcher.(type) {
	case *caddyhttp.MatchClientIP:
		return true
	case *caddyhttp.MatchExpression:
		return strings.Contains(m.Expr, "client_ip")
	}
	return strings.Contains(Written(matcher), "client_ip")
}

// Captures reports whether a matcher of Caddy's keeps what it has matched.
func Captures(matcher any) bool {
	switch m := matcher.(type) {
	case *caddyhttp.MatchPathRE, *caddyhttp.MatchHeaderRE, *caddyhttp.MatchVarsRE, *caddyhttp.MatchURLPattern, *fileserver.MatchFile:
		return true
	case *caddyhttp.MatchExpression:
		return slices.ContainsFunc([]string{"_regexp", "url_pattern", "file"}, func(function string) bool { return strings.Contains(m.Expr, function) })
	}
	return false
}
