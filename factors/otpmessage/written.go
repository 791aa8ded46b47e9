package otpmessage

import (
	"strings"
	"unicode/utf8"

	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/token"
)

// What codes look like.
const (
	digits = 8
	codes  = 100_000_000
)

// readCode returns a code as people type or paste it; false: it isn't one.
func readCode(typed string) (string, bool) { return token.ReadDigits(typed, digits) }

// parseEmail returns an address in its one form.
func parseEmail(written string) (string, bool) {
	address, err := identity.CanonicalEmail(token.Trimmed(written))
	return address, err == nil && address != ""
}

// foldEmail removes what mail servers ignore behind a plus sign.
func foldEmail(address string) string {
	local, domain, _ := strings.Cut(address, "@")
	local, _, _ = strings.Cut(local, "+")
	return local + "@" + domain
}

// maskEmail shows the first and the last letter of both parts, and what the
// domain ends in: "a…e@e….com".
func maskEmail(address string) string {
	local, domain, _ := strings.Cut(address, "@")
	name, suffix, found := strings.Cut(domain, ".")
	if i := strings.LastIndexByte(domain, '.'); found {
		name, suffix = domain[:i], domain[i:]
	}
	first, _ := utf8.DecodeRuneInString(name)
	return ends(local) + "@" + string(first) + "…" + suffix
}

// ends returns the first and last letter of a text, or the first alone of a short
// one.
func ends(text string) string {
	letters := []rune(text)
	if len(letters) < 4 {
		return string(letters[:1]) + "…"
	}
	return string(letters[0]) + "…" + string(letters[len(letters)-1])
}
