package canonical

import (
	"slices"
	"strings"
)

// Scripts says what the apps of a site take for the name of a script. What
// follows it in a path is an argument (PATH_INFO, RFC 3875 §4.1.5): to most
// apps in PHP, /admin.php/x is /admin.php. So a path with such a name in it is
// also read as the path of the script alone, as if what follows weren't there.
//
// A name is a segment with more behind it that ends in one of the usual
// suffixes, such as .php, or that is in a folder cgi-bin.
type Scripts struct {
	// Splits are where the site itself says that names end, such as .php: each
	// at its first occurrence, also within a segment, in upper or lower case
	// (Caddy's split_path).
	Splits []string
}

// scriptSuffixes are the suffixes of what servers run: PHP, CGI, ASP, JSP and
// servlets, ColdFusion, Domino.
var scriptSuffixes = suffixes(`
	php php3 php4 php5 php7 php8 phps pht phtm phtml phar hh hack
	cgi fcgi fpl pl plx py wsgi psgi rb rhtml lua tcl sh bat cmd exe dll
	asp aspx ashx asmx axd svc cshtml vbhtml
	jsp jspx jspf jsf jhtml do action faces
	cfm cfml cfc nsf xsp shtml shtm stm ssi
`)

func suffixes(list string) map[string]bool {
	set := make(map[string]bool)
	for _, suffix := range strings.Fields(list) {
		set[suffix] = true
	}
	return set
}

// maxScripts bounds how many scripts are looked for in one path.
const maxScripts = 128

// maxSuffix is the length of the longest suffix.
const maxSuffix = 6

// Paths returns the paths of scripts as which some app could read a path, each
// shorter than the path itself; nil where there are none. It leaves out those
// which patterns tell apart from what follows them: patterns
// that match the path, and go on behind the script. Patterns are in lower case,
// with no wildcard but one star at their end.
func (s Scripts) Paths(path string, patterns []string) (found []string) {
	add := func(end int) {
		if end > 0 && end < len(path) && !tellsApart(patterns, path, end) {
			found = appendNew(found, path[:end])
		}
	}
	for _, split := range s.Splits {
		if at := indexFold(path, split); at >= 0 {
			add(at + len(split))
		}
	}
	before, start := "", 1
	for start < len(path) && len(found) <= maxScripts {
		length := strings.IndexByte(path[start:], '/')
		if length < 0 {
			break
		}
		segment := path[start : start+length]
		if IsScript(segment) || strings.EqualFold(before, "cgi-bin") {
			add(start + length)
		}
		before, start = segment, start+length+1
	}
	return found
}

func tellsApart(patterns []string, path string, end int) bool {
	return slices.ContainsFunc(patterns, func(pattern string) bool {
		prefix, starred := strings.CutSuffix(pattern, "*")
		if len(prefix) <= end || len(prefix) > len(path) || !starred && len(prefix) != len(path) {
			return false
		}
		return strings.ToLower(path[:len(prefix)]) == prefix
	})
}

// IsScript reports whether a path or the name of a file ends in one of the usual
// suffixes of scripts.
func IsScript(segment string) bool {
	dot := strings.LastIndexByte(segment, '.')
	if dot < 0 || len(segment)-dot-1 > maxSuffix {
		return false
	}
	var lower [maxSuffix]byte
	n := copy(lower[:], segment[dot+1:])
	for i := range n {
		if 'A' <= lower[i] && lower[i] <= 'Z' {
			lower[i] |= 0x20
		}
	}
	return scriptSuffixes[string(lower[:n])]
}

// indexFold returns where lower, which is ASCII in lower case, begins in text
// in upper or lower case; -1 where it doesn't.
func indexFold(text, lower string) int {
	if lower == "" {
		return -1
	}
	for i := 0; i+len(lower) <= len(text); i++ {
		if strings.EqualFold(text[i:i+len(lower)], lower) {
			return i
		}
	}
	return -1
}
