package portal

import (
	"net/url"
	"path"
	"strings"
)

// HoldsToken reports whether an address is that of an invitation, a setup link, a link of
// a reset or a link of a notice, however it is spelled: its token must be in no log, and no
// page that is shown there may pass it on. The token is still good where another spelling than
// the link's own leads nowhere.
func HoldsToken(u *url.URL) bool { return HoldsTokenAt(PlainPath(u), u.RawQuery) }

// HoldsTokenAt is HoldsToken for callers who know the PlainPath of the address.
func HoldsTokenAt(place, query string) bool {
	isLink := strings.HasPrefix(place, "/invitation") || strings.HasPrefix(place, "/setup") || strings.HasPrefix(place, resetPath) || strings.HasPrefix(place, undoPath)
	if !isLink {
		return false
	}
	return strings.Contains(place, "token") || strings.Contains(unescaped(query), "token")
}

// PlainPath returns an address's path in lower case, without anything escaped,
// and without empty elements, `.` and `..`.
func PlainPath(u *url.URL) string {
	place := unescaped(u.EscapedPath())
	if !strings.HasPrefix(place, "/") {
		place = "/" + place
	}
	return path.Clean(place)
}

// unescaped returns a text in lower case with all that it has escaped, several
// times over if need be. What doesn't parse is left as it is.
func unescaped(text string) string {
	for range 3 {
		plain, err := url.PathUnescape(text)
		if err != nil || plain == text {
			break
		}
		text = plain
	}
	return strings.ToLower(text)
}
