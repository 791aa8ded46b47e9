package matching

import (
	"encoding/json"
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2"
)

// LooksAtQuery reports whether the matchers could look at the query, and by
// which names of parameters; what can't be told counts as looking.
func LooksAtQuery(sets []caddy.ModuleMap) (looks bool, names []string) {
	err := eachMatcher(sets, func(name string, raw json.RawMessage) error {
		texts := stringsIn(raw)
		switch name {
		case "query":
			looks = true
			names = append(names, texts...)
		case "method", "protocol", "tls", "path_regexp", "header_regexp", "remote_ip", "client_ip":
			// They expand no placeholder.
		case "path", "host", "header":
			looks = looks || anyLooks(texts)
		case "expression":
			if expressionLooks(strings.Join(texts, " ")) {
				looks, names = true, append(names, wordsIn(texts)...)
			}
		case "vars", "vars_regexp":
			if variablesLook(raw) || anyLooks(texts) {
				looks, names = true, append(names, wordsIn(texts)...)
			}
		default:
			looks, names = true, append(names, wordsIn(texts)...)
		}
		return nil
	})
	return looks || err != nil, names
}

// variablesLook reports whether a vars matcher asks about a variable: some
// handler has set it from who knows what.
func variablesLook(raw json.RawMessage) bool {
	var asked map[string]json.RawMessage
	if json.Unmarshal(raw, &asked) != nil {
		return true
	}
	for name := range asked {
		if !strings.HasPrefix(name, "{") || !strings.HasSuffix(name, "}") {
			return true
		}
	}
	return false
}

// anyLooks reports whether any placeholder in the texts could look at the
// query.
func anyLooks(texts []string) bool {
	return slices.ContainsFunc(texts, func(text string) bool {
		return slices.ContainsFunc(Placeholders(text), placeholderLooks)
	})
}

// Placeholders returns the names of all placeholders in a text, also of those
// within others.
func Placeholders(text string) (names []string) {
	for {
		_, after, found := strings.Cut(text, "{")
		if !found {
			return names
		}
		if name, _, closed := strings.Cut(after, "}"); closed {
			names = append(names, name)
		}
		text = after
	}
}

// blindPlaceholders are the beginnings of those that don't look at the query.
var blindPlaceholders = []string{
	"env.", "file.", "system.", "time.",
	"http.request.method", "http.request.scheme", "http.request.proto", "http.request.host", "http.request.port",
	"http.request.local", "http.request.remote", "http.request.header.", "http.request.cookie.", "http.request.tls.",
	"http.request.uri.path", "http.request.orig_uri.path", "http.request.orig_method", "http.request.uuid",
	"http.vars.client_ip",
}

func placeholderLooks(name string) bool {
	for _, blind := range blindPlaceholders {
		if strings.HasPrefix(name, blind) {
			return false
		}
	}
	return true
}

// blindFunctions are those of expressions that don't look at the query, apart
// from their arguments.
var blindFunctions = setOf(`
	path path_regexp host method header header_regexp protocol tls remote_ip client_ip
	size matches contains startsWith endsWith lowerAscii upperAscii trim split join replace substring indexOf
	lastIndexOf charAt format quote reverse int uint double string bytes bool dyn type duration timestamp
	getFullYear getMonth getDate getDayOfMonth getDayOfWeek getDayOfYear getHours getMinutes getSeconds getMilliseconds
	has all exists exists_one map filter bind in ph
`)

func setOf(list string) map[string]bool {
	set := make(map[string]bool)
	for _, word := range strings.Fields(list) {
		set[word] = true
	}
	return set
}

var (
	functionCall = regexp.MustCompile(`([A-Za-z_]\w*)\s*\(`)
	// placeholderCall is how an expression may ask for a placeholder without
	// braces.
	placeholderCall = regexp.MustCompile(`\bph\s*\(([^()]*)\)`)
	queryWord       = regexp.MustCompile(`[\pL\pN_.\[\]-]+`)
)

// expressionLooks reports whether an expression (CEL) could look at the query:
// by a placeholder, or by a function that isn't known not to. A comment could
// hide one.
func expressionLooks(expression string) bool {
	if strings.Contains(expression, "//") {
		return true
	}
	for _, name := range Placeholders(expression) {
		literal := strings.TrimLeft(name, " \t\n")
		if isMap := literal == "" || strings.ContainsAny(literal[:1], `'"`); !isMap && placeholderLooks(name) {
			return true
		}
	}
	for _, called := range functionCall.FindAllStringSubmatch(expression, -1) {
		if !blindFunctions[called[1]] {
			return true
		}
	}
	asked := placeholderCall.FindAllStringSubmatch(expression, -1)
	for _, arguments := range asked {
		literal := quoted.FindStringSubmatch(arguments[1])
		if literal == nil || placeholderLooks(literal[1]+literal[2]) {
			return true
		}
	}
	return len(asked) != strings.Count(expression, "ph(")
}

// wordsIn returns what could be names of parameters.
func wordsIn(texts []string) (words []string) {
	for _, text := range texts {
		for _, found := range queryWord.FindAllString(text, -1) {
			words = append(words, found)
			if _, name, ok := strings.Cut(found, "http.request.uri.query."); ok {
				words = append(words, name)
			}
		}
	}
	return words
}
