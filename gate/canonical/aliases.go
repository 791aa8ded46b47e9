package canonical

import (
	"slices"
	"strings"
)

// Aliases says under which other paths a site may serve what it serves under one: a
// folder with and without the slash at its end, its index, files that the site finds by
// adding an ending to the path, and pages that a script serves for what follows its
// name. To most frameworks in PHP, /index.php/admin is /admin.
type Aliases struct {
	// Indexes are the names of files that stand for their folder, such as
	// index.html.
	Indexes []string
	// Endings are what the site adds to a path to find a file, such as .html, and the
	// endings of compressed copies, such as .gz.
	Endings []string
	// Fronts are the paths of scripts to which the site leads all others, such as
	// /index.php.
	Fronts []string
}

// maxAliases bounds how many aliases of one path are looked at.
const maxAliases = 64

// Paths returns the other paths under which a site may serve what it serves under
// this one.
func (a Aliases) Paths(path string) (found []string) {
	add := func(alias string) {
		if alias != "" && alias != path && len(found) < maxAliases {
			found = appendNew(found, alias)
		}
	}
	whole := append([]string{path}, a.withoutEnding(path)...)
	if behind := behindScript(path); behind != "" {
		whole = append(whole, behind)
	}
	for _, one := range whole {
		add(one)
		for _, form := range a.forms(one) {
			add(form)
		}
	}
	for _, ending := range a.Endings {
		if !strings.HasSuffix(path, "/") {
			add(path + ending)
		}
	}
	for _, front := range a.Fronts {
		add(front + path)
	}
	return found
}

// MayMatter reports whether one of the patterns could match an alias of a path and not
// the path. Patterns are in lower case, with no wildcard but one star at their end. It
// allocates nothing.
func (a Aliases) MayMatter(path string, patterns []string) bool {
	stem := strings.TrimSuffix(path, "/")
	if _, end := scriptIn(path); end > 0 || a.endsSpecially(stem) {
		return len(patterns) > 0
	}
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, starred := strings.CutSuffix(pattern, "*")
		if slices.ContainsFunc(a.Fronts, func(front string) bool { return beginsFold(prefix, front) }) {
			return true
		}
		if !beginsFold(prefix, stem) {
			return false
		}
		rest := prefix[len(stem):]
		reaches := func(tail string) bool { return beginsFold(tail, rest) && (starred || len(rest) == len(tail)) }
		if rest == "" && !starred || reaches("/") || slices.ContainsFunc(a.Endings, reaches) {
			return true
		}
		name, below := strings.CutPrefix(rest, "/")
		rest = name
		return below && slices.ContainsFunc(a.Indexes, reaches)
	})
}

// endsSpecially reports whether a path ends in the name of an index or an ending.
func (a Aliases) endsSpecially(path string) bool {
	ends := func(name string) bool { _, cut := cutSuffixFold(path, name); return cut }
	return slices.ContainsFunc(a.Indexes, ends) || slices.ContainsFunc(a.Endings, ends)
}

// behindScript returns the path that is left without the name of the first script in
// it, or "".
func behindScript(path string) string {
	start, end := scriptIn(path)
	if end == 0 {
		return ""
	}
	return path[:start] + path[end:]
}

// scriptIn returns where the name of the first script in a path begins, with the slash
// before it, and ends, before the slash that follows it; 0: there is none.
func scriptIn(path string) (start, end int) {
	for start := 0; start+1 < len(path); {
		length := strings.IndexByte(path[start+1:], '/')
		if length < 0 {
			break
		}
		end := start + 1 + length
		if IsScript(path[start+1 : end]) {
			return start, end
		}
		start = end
	}
	return 0, 0
}

// maxEndings is how many endings one behind the other are looked at: a page's, and that of
// its compressed copy.
const maxEndings = 2

// withoutEnding returns a path without each of the endings that it has, and without what
// that leaves: /x.html.gz is a copy of /x.html, which the site may serve as /x.
func (a Aliases) withoutEnding(path string) (shorter []string) {
	for rest, n := []string{path}, 0; n < maxEndings; n++ {
		var cut []string
		for _, one := range rest {
			for _, ending := range a.Endings {
				if before, ends := cutSuffixFold(one, ending); ends && before != "" && !strings.HasSuffix(before, "/") {
					cut = append(cut, before)
				}
			}
		}
		shorter, rest = append(shorter, cut...), cut
	}
	return shorter
}

// forms returns the other forms of what may be a folder: with the slash at its end,
// without it, and its indexes.
func (a Aliases) forms(path string) []string {
	if folder, ok := strings.CutSuffix(path, "/"); ok {
		forms := []string{folder}
		for _, index := range a.Indexes {
			forms = append(forms, path+index)
		}
		return forms
	}
	end := strings.LastIndexByte(path, '/') + 1
	if slices.ContainsFunc(a.Indexes, func(index string) bool { return strings.EqualFold(index, path[end:]) }) {
		return []string{path[:end], path[:max(end-1, 0)]}
	}
	return []string{path + "/"}
}

// beginsFold is strings.HasPrefix in upper or lower case.
func beginsFold(text, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(text[:len(prefix)], prefix)
}

// cutSuffixFold is strings.CutSuffix in upper or lower case.
func cutSuffixFold(text, suffix string) (before string, found bool) {
	at := len(text) - len(suffix)
	if at < 0 || !strings.EqualFold(text[at:], suffix) {
		return text, false
	}
	return text[:at], true
}
