package canonical

import (
	"net/url"
	"slices"
	"strings"
)

const (
	// maxReadings bounds the ways in which one path may be read.
	maxReadings = 32
	// maxReadingBytes bounds how long the others may be together, and with it
	// what a stranger can have the gate do for one request.
	maxReadingBytes = 16 << 10
)

// Readings returns the ways, other than u.Path, in which a plausible app could
// read the path of a URL that Target accepted; nil where there is but
// one, and then without allocating if the path is plain. Each is to be matched
// as a Path, with an empty RawPath.
//
// A request whose readings are decided by different rules must be refused: the
// gate can't know which of them the app will act on. Where one rule decides
// all, it passes as it came, so an API that takes %2F within a segment works.
//
// The readings are what is reached by any sequence of the foldings below.
// Three differences are no folding on purpose, since nearly every site would
// then have requests that are refused in ordinary use: upper and lower case
// (Caddy's path matcher folds it; who matches by expression must do so too),
// the slash at the end (/admin and /admin/*, as in Caddy itself), and names
// that Unicode compatibility would equate. The %uXXXX of IIS needs none: it is
// malformed percent-encoding. What an app takes for the name of a script is
// looked at apart from these: see Scripts.
//
// The error is the TargetError for which Target would refuse the URL.
func Readings(u *url.URL) ([]string, error) {
	if u.RawPath == "" && isPlainPath(u.Path) {
		return nil, nil
	}
	return readPath(u)
}

// readPath returns all readings other than u.Path of a path whose escaping is
// canonical. It returns a TargetError where one of them may not pass, or where
// there are too many to ask about.
func readPath(u *url.URL) ([]string, error) {
	// Some fold before they decode, when %3B is not yet a semicolon.
	undecoded, err := foldAll([]string{u.EscapedPath()}, foldings)
	if err != nil {
		return nil, err
	}
	readings := []string{u.Path}
	for _, text := range undecoded {
		for _, decoding := range decodings {
			readings = appendNew(readings, decoding.fold(text))
		}
	}
	readings, err = foldAll(readings, allFoldings)
	if err != nil {
		return nil, err
	}
	for _, reading := range readings {
		if err := CheckPath(reading); err != nil {
			return nil, err
		}
	}
	if len(readings) == 1 {
		return nil, nil
	}
	return readings[1:], nil
}

// foldAll returns texts and all that sequences of the foldings make of them.
func foldAll(texts []string, by []folding) ([]string, error) {
	length := 0
	for _, text := range texts[1:] {
		length += len(text)
	}
	for i := 0; i < len(texts); i++ {
		found := traitsOf(texts[i])
		for _, folding := range by {
			if found&folding.when == 0 {
				continue
			}
			before := len(texts)
			if texts = appendNew(texts, folding.fold(texts[i])); len(texts) > before {
				length += len(texts[before])
			}
			if len(texts) > maxReadings || length > maxReadingBytes {
				return nil, ErrTargetAmbiguous
			}
		}
	}
	return texts, nil
}

func appendNew(texts []string, text string) []string {
	if slices.Contains(texts, text) {
		return texts
	}
	return append(texts, text)
}

// A folding takes different paths for one another, as some app does.
type folding struct {
	// when are the traits of which a path has one at least if fold changes it.
	when traits
	fold func(path string) string
}

// traits are what a path holds that apps read in different ways.
type traits uint8

const (
	percents traits = 1 << iota
	backslashes
	semicolons
	marks       // ? or #
	endings     // a dot or a space at the end of a segment
	streams     // $
	doubleSlash // two in a row
	parentheses // one opens at the beginning of a segment
)

// traitsOf finds all traits in one scan.
func traitsOf(path string) (found traits) {
	var previous byte
	for i := range len(path) {
		c := path[i]
		switch c {
		case '%':
			found |= percents
		case '\\':
			found |= backslashes
		case ';':
			found |= semicolons
		case '?', '#':
			found |= marks
		case '$':
			found |= streams
		case '(':
			if previous == '/' {
				found |= parentheses
			}
		case '/':
			found |= afterSlash(previous)
		}
		previous = c
	}
	return found | afterSlash(previous)&endings
}

// afterSlash returns the traits of which a slash tells by what is before it.
func afterSlash(previous byte) traits {
	switch previous {
	case '/':
		return doubleSlash
	case '.', ' ':
		return endings
	}
	return 0
}

var (
	decodings = []folding{
		{percents, PercentDecode},     // nearly everybody; a second time behind a proxy that decodes, or in an app that does so itself
		{percents, decodeButForSlash}, // Tomcat's passthrough, Apache's NoDecode, GitLab, routers that split before they decode
	}
	foldings = []folding{
		{doubleSlash, mergeSlashes},                 // nginx (merge_slashes), Tomcat, Apache, most file systems
		{backslashes, turnBackslashes},              // Windows, IIS, Tomcat's allowBackslash, the URL parser of browsers and Node
		{semicolons, stripParameters},               // Tomcat, Jetty, Spring: /admin;x/users
		{marks, cutDecodedQuery},                    // apps that decode a URL and parse it again; Apache's rewrites
		{endings, trimEndings},                      // Windows and IIS: /admin./users
		{streams, cutStreams},                       // NTFS: /admin::$INDEX_ALLOCATION/users
		{doubleSlash | backslashes, stripAuthority}, // Node's new URL(req.url, base), Python's urlparse: //x/admin
		{parentheses, stripCookieless},              // ASP.NET's sessions without cookies: /(S(x))/admin
	}
	allFoldings = slices.Concat(decodings, foldings)
)

func decodeButForSlash(path string) string { return percentDecodeBut(path, '/') }

func turnBackslashes(path string) string { return strings.ReplaceAll(path, `\`, "/") }

func mergeSlashes(path string) string {
	for strings.Contains(path, "//") {
		path = strings.ReplaceAll(path, "//", "/")
	}
	return path
}

func stripParameters(path string) string {
	return mapSegments(path, ";", func(segment string) string {
		name, _, _ := strings.Cut(segment, ";")
		return name
	})
}

func trimEndings(path string) string { return mapSegments(path, ". ", trimEnding) }

func cutStreams(path string) string { return mapSegments(path, "$", cutStream) }

// trimEnding removes the dots and spaces that Windows ignores at the end of a
// file name.
func trimEnding(segment string) string { return strings.TrimRight(segment, ". ") }

// cutStream removes from a file name the type of a stream and, as NTFS does for
// the default ones, the name before it: dir:$I30:$INDEX_ALLOCATION is dir.
func cutStream(segment string) string {
	if stream := strings.Index(segment, ":$"); stream >= 0 {
		return strings.TrimRight(segment[:stream], ":")
	}
	return segment
}

// mapSegments applies change to the segments of a path that holds any of the
// characters.
func mapSegments(path, characters string, change func(string) string) string {
	if !strings.ContainsAny(path, characters) {
		return path
	}
	var changed strings.Builder
	changed.Grow(len(path))
	for segment := range strings.SplitAfterSeq(path, "/") {
		name, slash := strings.CutSuffix(segment, "/")
		changed.WriteString(change(name))
		if slash {
			changed.WriteByte('/')
		}
	}
	return changed.String()
}

func cutDecodedQuery(path string) string {
	if end := strings.IndexAny(path, "?#"); end > 0 {
		return path[:end]
	}
	return path
}

// stripAuthority reads a path with two slashes in front as a URL without a
// scheme (RFC 3986 §4.2). Browsers' parser takes more slashes, and backslashes,
// for two.
func stripAuthority(path string) string {
	rest := strings.TrimLeft(path, `/\`)
	if len(path)-len(rest) < 2 {
		return path
	}
	end := strings.IndexAny(rest, `/\?#`)
	switch {
	case end < 0:
		return "/"
	case rest[end] == '\\':
		end++
	}
	return Rooted(rest[end:])
}

// stripCookieless removes what ASP.NET takes for a session or a ticket in the
// path: one or more of a letter with a value in parentheses, all of it in
// parentheses, at the beginning of a segment.
func stripCookieless(path string) string {
	if !strings.Contains(path, "/(") {
		return path
	}
	var stripped strings.Builder
	for i := 0; i < len(path); {
		if path[i] == '/' {
			if length := cookielessLength(path[i+1:]); length > 0 {
				i += 1 + length
				continue
			}
		}
		stripped.WriteByte(path[i])
		i++
	}
	return Rooted(stripped.String())
}

// cookielessLength returns how much of text such a session takes up.
func cookielessLength(text string) int {
	if !strings.HasPrefix(text, "(") {
		return 0
	}
	for end := 1; end+1 < len(text) && isLetter(text[end]) && text[end+1] == '('; {
		closing := strings.IndexAny(text[end+2:], "()/")
		if closing < 0 || text[end+2+closing] != ')' {
			return 0
		}
		end += closing + 3
		if end < len(text) && text[end] == ')' {
			return end + 1
		}
	}
	return 0
}

func isLetter(c byte) bool { return 'a' <= c|0x20 && c|0x20 <= 'z' }

// Rooted puts a slash before a path that lacks it.
func Rooted(path string) string {
	if strings.HasPrefix(path, "/") {
		return path
	}
	return "/" + path
}
