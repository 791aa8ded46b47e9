package canonical

import (
	"slices"
	"strings"
)

// The reasons why a query is refused if rules look at it.
const (
	// ErrQueryLength: a query longer than 8 KiB, or of more than 256
	// parameters. Apps stop at different numbers.
	ErrQueryLength TargetError = "overlong query"
	// ErrQuerySeparator: a semicolon, which some take for an ampersand.
	ErrQuerySeparator TargetError = "semicolon in the query"
)

const (
	maxQueryBytes      = 8 << 10
	maxQueryParameters = 256
)

// QueryUse says how the rules of a gate look at the query. Apps read queries in
// different ways, so a rule could match what the app takes for something else.
type QueryUse struct {
	names map[string]string // folded to as it is written in a rule
}

// NewQueryUse returns the QueryUse of rules that name these parameters.
// Parameters that an app could take for one of them are read as that one, too.
func NewQueryUse(names ...string) *QueryUse {
	use := &QueryUse{names: make(map[string]string, len(names))}
	for _, name := range names {
		if folded := foldParameter(name); use.names[folded] == "" {
			use.names[folded] = name
		}
	}
	return use
}

// parameter is one parameter of a query, decoded.
type parameter struct {
	name, value string
	valued      bool // there is an equals sign
}

// readings returns the ways, other than raw, in which a plausible app could
// read a query, each as a query of its own. The error is a TargetError, for a
// query that has no meaning on which all agree.
//
// The readings differ in what a plus stands for, in whether the first or the
// last counts of parameters with the same name, in whether values are decoded
// twice, and in which names are taken for one that a rule names. Letters of
// other case are (ASP.NET), brackets are left out (name[] and name[0] of PHP,
// Rails and Express), and anything but a letter or digit is a separator like
// any other (PHP makes user_id of user.id).
//
// A nil QueryUse has no readings, and refuses nothing.
func (use *QueryUse) readings(raw string) ([]string, error) {
	if use == nil || raw == "" {
		return nil, nil
	}
	sent, err := parseQuery(raw)
	if err != nil {
		return nil, err
	}
	all := []string{raw}
	for _, reading := range [][]parameter{
		sent, mapParameters(sent, PercentDecode), splitQuery(raw),
	} {
		for _, parameters := range [][]parameter{reading, use.fold(reading)} {
			all = appendNew(all, formatQuery(parameters))
			all = appendNew(all, formatQuery(firstOfEach(parameters)))
			all = appendNew(all, formatQuery(lastOfEach(parameters)))
		}
	}
	return all[1:], nil
}

// ReadingsBehind returns the ways, other than raw, in which a plausible app could
// read the query of a request to a path that has these other readings: an app may
// find a query in a path that it decodes before it parses it. The error is a
// TargetError, for a query that has no meaning on which all agree. A nil QueryUse
// has no readings, and refuses nothing.
func (use *QueryUse) ReadingsBehind(path string, others []string, raw string) ([]string, error) {
	all, err := use.readings(raw)
	if use == nil || err != nil {
		return nil, err
	}
	for i := range 1 + len(others) {
		if i > 0 {
			path = others[i-1]
		}
		_, inPath, _ := strings.Cut(path, "?")
		if inPath, _, _ = strings.Cut(inPath, "#"); inPath == "" {
			continue
		}
		inPath = escapeStray(inPath)
		both := inPath
		if raw != "" {
			both += "&" + raw
		}
		readings, err := use.readings(both)
		if err != nil {
			return nil, err
		}
		for _, reading := range append(readings, inPath, both) {
			all = appendNew(all, reading)
		}
	}
	return all, nil
}

// escapeStray escapes percent signs that begin no escape.
func escapeStray(text string) string {
	var escaped strings.Builder
	for i := range len(text) {
		escaped.WriteByte(text[i])
		if _, ok := decodeTriplet(text[i:]); text[i] == '%' && !ok {
			escaped.WriteString("25")
		}
	}
	return escaped.String()
}

// parseQuery reads a query as url.ParseQuery does, but keeps the order, and
// refuses what lax parsers read otherwise.
func parseQuery(raw string) ([]parameter, error) {
	switch {
	case len(raw) > maxQueryBytes, strings.Count(raw, "&") >= maxQueryParameters:
		return nil, ErrQueryLength
	case strings.Contains(raw, ";"):
		return nil, ErrQuerySeparator
	}
	for i := range len(raw) {
		if raw[i] == '%' {
			if _, ok := decodeTriplet(raw[i:]); !ok {
				return nil, ErrTargetEncoding
			}
		}
	}
	parameters := splitQuery(strings.ReplaceAll(raw, "+", "%20"))
	for _, p := range parameters {
		if err := p.check(); err != nil {
			return nil, err
		}
	}
	return parameters, nil
}

// splitQuery splits a query at ampersands, then at the first equals sign, and
// decodes once. A plus stays one.
func splitQuery(raw string) []parameter {
	parameters := make([]parameter, 0, 1+strings.Count(raw, "&"))
	for part := range strings.SplitSeq(raw, "&") {
		if part == "" {
			continue
		}
		name, value, valued := strings.Cut(part, "=")
		parameters = append(parameters, parameter{PercentDecode(name), PercentDecode(value), valued})
	}
	return parameters
}

// check refuses what ends a name or a value early for some: NUL anywhere,
// other control characters in names, and overlong UTF-8.
func (p parameter) check() error {
	for i := range len(p.name) {
		switch c := p.name[i]; {
		case c < ' ' || c == 0x7f:
			return ErrTargetControl
		case c >= 0xc0 && isOverlong(p.name[i:]):
			return ErrTargetUTF8
		}
	}
	for i := range len(p.value) {
		switch c := p.value[i]; {
		case c == 0:
			return ErrTargetControl
		case c >= 0xc0 && isOverlong(p.value[i:]):
			return ErrTargetUTF8
		}
	}
	return nil
}

func mapParameters(parameters []parameter, change func(string) string) []parameter {
	changed := slices.Clone(parameters)
	for i, p := range changed {
		changed[i].name, changed[i].value = change(p.name), change(p.value)
	}
	return changed
}

// fold gives parameters the name that a rule names and an app could take theirs
// for.
func (use *QueryUse) fold(parameters []parameter) []parameter {
	folded := slices.Clone(parameters)
	for i, p := range folded {
		outer, _, _ := strings.Cut(p.name, "[")
		for _, candidate := range []string{p.name, outer} {
			if name := use.names[foldParameter(candidate)]; name != "" {
				folded[i].name = name
				break
			}
		}
	}
	return folded
}

// foldParameter returns the form in which names that some app can't tell apart
// are equal: lower case, with one underscore for what separates letters and
// digits and none at the ends.
func foldParameter(name string) string {
	folded := make([]byte, 0, len(name))
	for i := range len(name) {
		c := foldHeaderByte(name[i])
		if name[i] >= 0x80 {
			c = name[i]
		}
		switch {
		case c != '-':
			folded = append(folded, c)
		case len(folded) > 0 && folded[len(folded)-1] != '_':
			folded = append(folded, '_')
		}
	}
	return strings.TrimSuffix(string(folded), "_")
}

func firstOfEach(parameters []parameter) []parameter {
	seen := make(map[string]bool, len(parameters))
	var kept []parameter
	for _, p := range parameters {
		if !seen[p.name] {
			seen[p.name] = true
			kept = append(kept, p)
		}
	}
	return kept
}

func lastOfEach(parameters []parameter) []parameter {
	backwards := slices.Clone(parameters)
	slices.Reverse(backwards)
	kept := firstOfEach(backwards)
	slices.Reverse(kept)
	return kept
}

// formatQuery writes parameters as a query that every parser reads alike, and
// escapes no more than that takes.
func formatQuery(parameters []parameter) string {
	var query []byte
	for i, p := range parameters {
		if i > 0 {
			query = append(query, '&')
		}
		query = appendQueryText(query, p.name, "&=+;%#")
		if p.valued {
			query = append(query, '=')
			query = appendQueryText(query, p.value, "&+;%#")
		}
	}
	return string(query)
}

func appendQueryText(query []byte, text, special string) []byte {
	for i := range len(text) {
		switch c := text[i]; {
		case c == ' ':
			query = append(query, '+')
		case c < ' ' || c >= 0x7f || strings.IndexByte(special, c) >= 0:
			query = AppendTriplet(query, c)
		default:
			query = append(query, c)
		}
	}
	return query
}
