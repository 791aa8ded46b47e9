package gate

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/gate/canonical"
	"github.com/portcullis-mfa/portcullis/session"
)

// HeaderValues says how identity headers are filled in. The zero value sends
// all groups, and what is beyond ASCII percent-encoded.
type HeaderValues struct {
	// UTF8 sends text beyond ASCII as it is, to apps that read headers as UTF-8.
	UTF8 bool
	// Groups are patterns of the groups that the app is told of, in which a star
	// stands for any text; nil: all groups.
	Groups []string
}

// Tells reports whether the app is told that somebody is in a group.
func (v HeaderValues) Tells(group string) bool {
	return v.Groups == nil || slices.ContainsFunc(v.Groups, func(pattern string) bool { return matchesStars(pattern, group) })
}

// of returns the values for somebody: user, name, e-mail address and groups.
func (v HeaderValues) of(who *session.Profile) [4]string {
	values := [4]string{who.Name, who.DisplayName, who.Email, who.GroupList}
	if v.Groups != nil {
		told := slices.DeleteFunc(slices.Clone(who.Groups), func(group string) bool { return !v.Tells(group) })
		values[3] = strings.Join(told, ",")
	}
	for i, value := range values {
		values[i] = v.encoded(value)
	}
	return values
}

// encoded returns a value in the form in which apps are told it.
func (v HeaderValues) encoded(value string) string {
	if v.UTF8 {
		return value
	}
	return percentEncode(value)
}

// percentEncode writes text in ASCII alone (RFC 9110 §5.5 lets no more be
// relied upon): each byte of UTF-8 beyond, each control character and the
// percent sign as a triplet, so that no two texts become one. It doesn't
// allocate where nothing is to be encoded.
func percentEncode(text string) string {
	plain := func(c byte) bool { return ' ' <= c && c < 0x7f && c != '%' }
	first := 0
	for first < len(text) && plain(text[first]) {
		first++
	}
	if first == len(text) {
		return text
	}
	encoded := make([]byte, first, len(text)+2*(len(text)-first))
	copy(encoded, text)
	for _, c := range []byte(text[first:]) {
		if plain(c) {
			encoded = append(encoded, c)
		} else {
			encoded = canonical.AppendTriplet(encoded, c)
		}
	}
	return string(encoded)
}

// matchesStars matches text against a pattern in which each star stands for any
// text, in time proportional to their lengths' product at most.
func matchesStars(pattern, text string) bool {
	parts := strings.Split(pattern, "*")
	last := len(parts) - 1
	if last == 0 {
		return text == pattern
	}
	rest, begins := strings.CutPrefix(text, parts[0])
	if !begins {
		return false
	}
	for _, part := range parts[1:last] {
		at := strings.Index(rest, part)
		if at < 0 {
			return false
		}
		rest = rest[at+len(part):]
	}
	return strings.HasSuffix(rest, parts[last])
}

// CheckGroupPattern refuses a pattern that no group could match.
func CheckGroupPattern(pattern string) error {
	if pattern == "" || strings.Contains(pattern, ",") {
		return fmt.Errorf("groups only %q: no group has such a name: write names of groups, with a * for any text", pattern)
	}
	return nil
}

const (
	// roomyHeader is how long a header may be that apps take without asking.
	// Many servers take 8 KiB for all headers together.
	roomyHeader = 4 << 10
	// betweenWarnings is how often a gate warns of longer ones.
	betweenWarnings = time.Hour
)

// warnOfLength warns of headers so long that the app may refuse them.
func (g *Gate) warnOfLength(r *request, user string, assertion int) {
	longest := max(len(r.identity.values[3]), assertion)
	if longest <= roomyHeader {
		return
	}
	now, warned := g.Clock().UnixNano(), g.warned.Load()
	if age := now - warned; warned != 0 && age >= 0 && age < int64(betweenWarnings) || !g.warned.CompareAndSwap(warned, now) {
		return
	}
	g.Logger.Warn("a user's groups make a header longer than many apps accept: in mfa's block headers, write groups only PATTERN with the groups that the app needs",
		zap.String("user", user), zap.String("host", r.host), zap.Int("bytes", longest))
}
