package matching

import (
	"encoding/json"
	"errors"
	"fmt"
	"path"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// eachMatcher visits all matchers, those within `not` too.
func eachMatcher(sets []caddy.ModuleMap, visit func(name string, raw json.RawMessage) error) error {
	for _, set := range sets {
		for name, raw := range set {
			if name == "not" {
				var inner []caddy.ModuleMap
				if err := json.Unmarshal(raw, &inner); err != nil {
					return fmt.Errorf("not: %w", err)
				}
				if err := eachMatcher(inner, visit); err != nil {
					return err
				}
				continue
			}
			if err := visit(name, raw); err != nil {
				return err
			}
		}
	}
	return nil
}

// CheckPatterns refuses path matchers that can never match: rules see the path
// in its canonical form alone.
func CheckPatterns(sets []caddy.ModuleMap) error {
	return eachMatcher(sets, func(name string, raw json.RawMessage) error {
		for _, pattern := range pathPatterns(name, raw) {
			if err := checkPattern(pattern); err != nil {
				return fmt.Errorf("path %s: %w", pattern, err)
			}
		}
		return nil
	})
}

var (
	pathCall = regexp.MustCompile(`\bpath\s*\(([^()]*)\)`)
	quoted   = regexp.MustCompile(`'([^'\\]*)'|"([^"\\]*)"`)
)

// pathPatterns returns the patterns of a path matcher, or of those in an
// expression.
func pathPatterns(name string, raw json.RawMessage) (patterns []string) {
	switch name {
	case "path":
		_ = json.Unmarshal(raw, &patterns) // Caddy refuses what isn't a list
	case "expression":
		for _, call := range pathCall.FindAllStringSubmatch(strings.Join(stringsIn(raw), " "), -1) {
			for _, literal := range quoted.FindAllStringSubmatch(call[1], -1) {
				patterns = append(patterns, literal[1]+literal[2])
			}
		}
	}
	return patterns
}

// checkPattern refuses a pattern that no canonical path matches, and one that
// is meant for a query.
func checkPattern(pattern string) error {
	if strings.Contains(pattern, "{") {
		return nil // its placeholders are replaced by each request
	}
	switch {
	case pattern == "":
		return fmt.Errorf("it is empty and can never match")
	case !strings.ContainsRune(`/*[\`, rune(pattern[0])):
		return fmt.Errorf("it can never match, since every path begins with a slash: write /%s", pattern)
	}
	if _, after, found := strings.Cut(pattern, "?"); found && strings.Contains(after, "=") {
		return fmt.Errorf("a path matcher never sees the query: write a named matcher with both, such as @name { path … query … }")
	}
	for segment := range strings.SplitSeq(pattern, "/") {
		if segment == "." || segment == ".." {
			return fmt.Errorf("it can never match, since no path has a segment %q", segment)
		}
	}
	if err := checkEscapes(pattern); err != nil {
		return err
	}
	if isGlob(pattern) {
		if _, err := path.Match(strings.ReplaceAll(pattern, "%*", "*"), ""); err != nil {
			return fmt.Errorf("it can never match: a [ or a backslash in it is never closed")
		}
	}
	return nil
}

// isGlob reports whether Caddy matches the pattern by path.Match, rather than
// as a beginning, an end or a part.
func isGlob(pattern string) bool {
	first, last := strings.HasPrefix(pattern, "*"), strings.HasSuffix(pattern, "*")
	switch strings.Count(pattern, "*") {
	case 1:
		return strings.Contains(pattern, "%") || !first && !last
	case 2:
		return strings.Contains(pattern, "%") || !first || !last
	}
	return true
}

// checkEscapes refuses percent signs of which the canonical path has none.
func checkEscapes(pattern string) error {
	for i := 0; i < len(pattern); i++ {
		if pattern[i] != '%' || i+1 < len(pattern) && pattern[i+1] == '*' {
			continue
		}
		if i+3 > len(pattern) {
			return fmt.Errorf("it can never match: write %%25 for a percent sign")
		}
		decoded, err := strconv.ParseUint(pattern[i+1:i+3], 16, 8)
		switch c := byte(decoded); {
		case err != nil:
			return fmt.Errorf("it can never match: write %%25 for a percent sign")
		case c < ' ' || c == 0x7f:
			return fmt.Errorf("it can never match, since requests with control characters are refused")
		case isUnreserved(c):
			return fmt.Errorf("it can never match, since %s comes to rules as %q: write %s", pattern[i:i+3], string(c), pattern[:i]+string(c)+pattern[i+3:])
		}
		i += 2
	}
	return nil
}

// isUnreserved reports whether a character needs no escape anywhere (RFC 3986
// §2.3).
func isUnreserved(c byte) bool {
	letter := c | 0x20
	return 'a' <= letter && letter <= 'z' || '0' <= c && c <= '9' || strings.IndexByte("-._~", c) >= 0
}

// PlainPatterns returns the path patterns that hold no wildcard but a star at
// their end, in lower case.
func PlainPatterns(sets []caddy.ModuleMap) (plain []string) {
	_ = eachMatcher(sets, func(name string, raw json.RawMessage) error {
		for _, pattern := range pathPatterns(name, raw) {
			if !isNotPlain(pattern) {
				plain = append(plain, strings.ToLower(pattern))
			}
		}
		return nil
	})
	return plain
}

// blindMatchers are those that don't look at the path.
var blindMatchers = []string{"header", "header_regexp", "host", "method", "protocol", "query", "remote_ip", "client_ip", "tls"}

// PatternsTell reports whether the matchers tell paths apart by nothing but the patterns
// that PlainPatterns returns.
func PatternsTell(sets []caddy.ModuleMap) bool {
	return eachMatcher(sets, func(name string, raw json.RawMessage) error {
		patterns := pathPatterns(name, raw)
		switch {
		case slices.Contains(blindMatchers, name) && !slices.ContainsFunc(stringsIn(raw), hasBrace):
			return nil
		case name == "path" && !slices.ContainsFunc(patterns, isNotPlain):
			return nil
		}
		return errors.New("another matcher")
	}) == nil
}

func hasBrace(text string) bool { return strings.Contains(text, "{") }

// isNotPlain reports whether a pattern holds another wildcard than a star at its end, or
// anything else that isn't to be taken as it is written.
func isNotPlain(pattern string) bool {
	return strings.ContainsAny(strings.TrimSuffix(pattern, "*"), `*?[\%{`)
}

var headWord = regexp.MustCompile(`\bHEAD\b`)

// NamesHead reports whether a matcher names the method HEAD.
func NamesHead(sets []caddy.ModuleMap) (names bool) {
	_ = eachMatcher(sets, func(_ string, raw json.RawMessage) error {
		names = names || slices.ContainsFunc(stringsIn(raw), headWord.MatchString)
		return nil
	})
	return names
}

// stringsIn returns all strings in a JSON value, names of members included.
func stringsIn(raw json.RawMessage) (found []string) {
	var value any
	if json.Unmarshal(raw, &value) != nil {
		return nil
	}
	var collect func(any)
	collect = func(value any) {
		switch v := value.(type) {
		case string:
			found = append(found, v)
		case []any:
			for _, element := range v {
				collect(element)
			}
		case map[string]any:
			for name, element := range v {
				found = append(found, name)
				collect(element)
			}
		}
	}
	collect(value)
	slices.Sort(found)
	return found
}
