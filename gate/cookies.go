package gate

import (
	"net/http"
	"strings"
)

// reservedCookies begins the names of all our cookies; no app may read or set
// one that begins so.
const reservedCookies = "__Host-mfa"

// The number of our own cookies whose values are looked at. A browser has one
// session for a host, and whoever sends more sends them at our cost.
const (
	maxSessionValues = 4
	maxStateValues   = 100
)

// Cookies are the values of our cookies that came with a request, as they
// came: nothing about them has been checked. They are not copied.
type Cookies struct {
	// Sessions holds the values of SessionCookie, 4 at most, in their order.
	Sessions []string
	room     [maxSessionValues]string // for Sessions
	// States holds the values of the cookies that begin with StateCookie, 100
	// at most, by name; of a name that came twice, the first.
	States map[string]string
	// Last is the value of LastCookie, if there is one, and Language that of
	// LanguageCookie.
	Last, Language string
}

// any reports whether there is one of our cookies.
func (c *Cookies) any() bool {
	return len(c.Sessions) > 0 || len(c.States) > 0 || c.Last != "" || c.Language != ""
}

// Take notes our cookies and removes them from h, so that no app reads them:
// every cookie whose name begins with that of our session, in upper or
// lower case, behind spaces, or without a name and with ours as its value. The
// other cookies stay byte for byte, well-formed or not.
//
// A cookie ends at a semicolon whatever quotes stand around it (RFC 6265 §5.4),
// so none of ours hides in the quoted value of another. It allocates nothing
// where none of ours is there.
func (c *Cookies) Take(h http.Header) {
	c.Sessions = c.room[:0]
	lines := h["Cookie"]
	emptied := 0
	for i, line := range lines {
		if !holdsOwnCookie(line) {
			continue
		}
		lines[i] = c.cut(line)
		if lines[i] == "" {
			emptied++
		}
	}
	if emptied > 0 {
		dropEmptyLines(h, lines)
	}
}

func dropEmptyLines(h http.Header, lines []string) {
	kept := lines[:0]
	for _, line := range lines {
		if line != "" {
			kept = append(kept, line)
		}
	}
	if len(kept) == 0 {
		delete(h, "Cookie")
		return
	}
	h["Cookie"] = kept
}

func holdsOwnCookie(line string) bool {
	for pair := range strings.SplitSeq(line, ";") {
		if isOwnCookie(pair) {
			return true
		}
	}
	return false
}

// cut notes our cookies in line and returns the line without them.
func (c *Cookies) cut(line string) string {
	others := remaining{length: len(line)}
	from, at := 0, 0 // where the others begin that come next, and the pair
	for pair := range strings.SplitSeq(line, ";") {
		if isOwnCookie(pair) {
			c.note(pair)
			others.add(line[from:at])
			from = at + len(pair) + len(";")
		}
		at += len(pair) + len(";")
	}
	others.add(line[min(from, len(line)):])
	return others.String()
}

// remaining is what stays of a line of cookies. Ours mostly come first or last,
// and what then stays in one piece is not copied.
type remaining struct {
	length int // of the line
	first  string
	all    strings.Builder // used from the second piece on
}

// add adds the next piece, which may end with the semicolon before ours.
func (r *remaining) add(piece string) {
	piece = strings.TrimSuffix(piece, ";")
	if r.first == "" {
		r.first = strings.TrimLeft(piece, "; \t")
		return
	}
	if piece == "" {
		return
	}
	if r.all.Len() == 0 {
		r.all.Grow(r.length)
		r.all.WriteString(r.first)
	}
	r.all.WriteByte(';')
	r.all.WriteString(piece)
}

// String implements fmt.Stringer.
func (r *remaining) String() string {
	if r.all.Len() == 0 {
		return r.first
	}
	return r.all.String()
}

// note keeps the value of a cookie that bears exactly one of our names.
func (c *Cookies) note(pair string) {
	name, value, ok := strings.Cut(pair, "=")
	if !ok {
		return
	}
	name, value = strings.Trim(name, " \t"), strings.Trim(value, " \t")
	switch {
	case name == SessionCookie:
		if len(c.Sessions) < maxSessionValues {
			c.Sessions = append(c.Sessions, value)
		}
	case name == LastCookie:
		c.Last = value
	case name == LanguageCookie:
		c.Language = value
	case strings.HasPrefix(name, StateCookie):
		if _, known := c.States[name]; known || len(c.States) >= maxStateValues {
			return
		}
		if c.States == nil {
			c.States = make(map[string]string)
		}
		c.States[name] = value
	}
}

// isOwnCookie reports whether a cookie, or a line of Set-Cookie, begins with
// one of our names. A cookie without a name has its value sent alone, so with
// "=__Host-mfa=x" it is ours as well.
func isOwnCookie(pair string) bool {
	for pair != "" && (pair[0] <= ' ' || pair[0] == '=' || pair[0] == 0x7f) {
		pair = pair[1:]
	}
	return len(pair) >= len(reservedCookies) && strings.EqualFold(pair[:len(reservedCookies)], reservedCookies)
}
