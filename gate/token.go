package gate

import (
	"cmp"
	"encoding/base64"
	"errors"
	"net/http"
	"slices"
	"strings"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/session"
)

// ProgramHeader is the header that tells an app the name of the access token.
const ProgramHeader = "Remote-Program"

// tokenReader reads the access tokens of programs, in Authorization (RFC 9110
// §11.6.2), as a Bearer value (RFC 6750 §2.1) or the password of Basic (RFC 7617);
// or as a Bearer value in Proxy-Authorization, for apps that need Authorization
// themselves. Caddy's logs leave out no other header.
type tokenReader struct{ *Gate }

// noToken is what is kept of a credential that is meant to be one of ours and
// can't be.
const noToken = accesstoken.Prefix

var (
	errSeveralTokens = errors.New("several credentials, one of which is an access token")
	errTokenExposed  = errors.New("an access token in the query or in the referrer")
)

// take implements reader: no app sees anything that is meant to be a token of ours,
// well-formed or not.
func (tokenReader) take(r *request) error {
	if TokenInAddress(r.Request) != "" {
		return errTokenExposed
	}
	for _, name := range [...]string{"Authorization", "Proxy-Authorization"} {
		lines := r.Header[name]
		found, isBasic := "", false
		for _, line := range lines {
			if token, basic := tokenIn(line); token != "" {
				found, isBasic = token, basic
			}
		}
		if found == "" {
			continue
		}
		delete(r.Header, name)
		if len(lines) > 1 || r.handed != "" {
			return errSeveralTokens
		}
		switch {
		case isBasic && name != "Authorization":
			found = noToken
		case isBasic && isBrowser(r.Request):
			// Browsers keep such credentials and send them by themselves, which would
			// be a session without a second factor.
			continue
		}
		r.handed = found
	}
	return nil
}

// TokenInAddress returns an access token in the query of a request or in its Referer,
// which access logs contain, or "" if there is none.
func TokenInAddress(r *http.Request) string {
	return cmp.Or(accesstoken.FindEscaped(r.URL.RawQuery), accesstoken.FindEscaped(r.Referer()))
}

// tokenIn returns the token in a line of Authorization, noToken for what is meant to
// be one and can't be, or nothing; and whether it came as Basic.
func tokenIn(line string) (token string, isBasic bool) {
	const spaces = " \t"
	line = strings.Trim(line, spaces)
	scheme, value := line, ""
	if end := strings.IndexAny(line, spaces); end >= 0 {
		scheme, value = line[:end], strings.TrimLeft(line[end:], spaces)
	}
	isBasic = strings.EqualFold(scheme, "Basic")
	switch {
	case strings.EqualFold(scheme, "Bearer") && accesstoken.IsOurs(value):
		return value, false
	case isBasic:
		if name, password, ok := basicCredentials(value); ok && !accesstoken.IsOurs(name) && accesstoken.IsOurs(password) {
			return password, true
		}
	}
	if hidesToken(line) {
		return noToken, isBasic
	}
	return "", false
}

// basicCredentials decodes a value of Basic, with or without its padding.
func basicCredentials(value string) (name, password string, ok bool) {
	decoded, err := base64.RawStdEncoding.DecodeString(strings.TrimRight(value, "="))
	if err != nil {
		return "", "", false
	}
	return strings.Cut(string(decoded), ":")
}

// hidesToken reports whether an app could find a token of ours in a line of
// Authorization that isn't written as it should be: after a scheme of its own, in
// quotes, beyond a space outside ASCII, or in a value of Basic from which lenient
// decoders leave out what isn't base64 (as RFC 2045 §6.8 says).
func hidesToken(line string) bool {
	if holdsToken(line) {
		return true
	}
	begin := strings.IndexFunc(line, func(r rune) bool { return r < 'A' || r > 'z' })
	if begin < 0 || !strings.EqualFold(line[:begin], "Basic") {
		return false
	}
	digits := strings.Map(base64Digit, line[begin:])
	if len(digits)%4 == 1 {
		digits = digits[:len(digits)-1] // no byte comes of it
	}
	decoded, err := base64.RawStdEncoding.DecodeString(digits)
	return err == nil && holdsToken(string(decoded))
}

// holdsToken reports whether one of a text's words begins as our tokens do, or it has
// a whole one anywhere.
func holdsToken(text string) bool {
	if !strings.Contains(text, accesstoken.Prefix) {
		return false
	}
	betweenWords := func(r rune) bool { return r > '~' || strings.ContainsRune(" \t\"',:;=<>()[]{}", r) }
	return slices.ContainsFunc(strings.FieldsFunc(text, betweenWords), accesstoken.IsOurs) || accesstoken.Find(text) != ""
}

// base64Digit returns the digit that a letter stands for in either alphabet (RFC 4648
// §4 and §5), or a negative number to leave it out.
func base64Digit(r rune) rune {
	switch {
	case r == '-':
		return '+'
	case r == '_':
		return '/'
	case r == '+' || r == '/' || '0' <= r && r <= '9' || 'A' <= r && r <= 'Z' || 'a' <= r && r <= 'z':
		return r
	}
	return -1
}

// isBrowser reports whether a browser sent a request, as far as that can be told.
func isBrowser(r *http.Request) bool {
	return r.Header.Get("Sec-Fetch-Site") != "" || r.Header.Get("Sec-Fetch-Mode") != "" || kindOf(r).seen()
}

// read implements reader.
func (t tokenReader) read(r *request, rule *Rule) (claim, error) {
	if r.handed == "" || !rule.takes(r.handed) {
		return claim{}, errAbsent
	}
	live, err := t.SignOns.LiveAccessToken(r.Context(), session.AccessTokenLookup{Token: r.handed, MaxStaleness: t.MaxStaleness})
	switch {
	case errors.Is(err, session.ErrEnded):
		return claim{}, refuseToken(err)
	case err != nil:
		return claim{}, err
	case !live.Scope.IsFor(r.host):
		return claim{}, refuseLive(&live, tokenElsewhere, errElsewhere)
	}
	if live.IsPersonal {
		// What the app password opens ends with it, as the rule has it.
		if limit := live.Created.Add(rule.AppPasswords.Longest); limit.Before(live.Expires) {
			live.Expires = limit
		}
		if !t.Clock().Before(live.Expires) {
			return claim{}, refuseLive(&live, tokenTooOld, errTooOld)
		}
	}
	return claim{
		speaker: live.User, scope: tokenScope{live.Scope, live.Scope.IsFrom(t.Address(r.Request))}, sent: byHand,
		expires: live.Expires, anchor: &live, program: &live,
	}, nil
}

var (
	errElsewhere = errors.New("the access token is for another host")
	errTooOld    = errors.New("the app password is older than the rule allows")
)

// takes reports whether access tokens of the kind count at the rule.
func (rule *Rule) takes(token string) bool {
	if accesstoken.IsPersonal(token) {
		return rule.AppPasswords != nil
	}
	return rule.ServiceTokens
}

// challenges reports whether a request that is refused is told to bring HTTP basic
// authentication (RFC 7617 §2), without which git and many others never send the
// credential that they hold. Nothing of a browser is told so: it would ask people for a
// password in a dialog of its own.
func (g *Gate) challenges(r *request) bool {
	if !g.Basic || r.rule == nil || !r.rule.ServiceTokens && r.rule.AppPasswords == nil {
		return false
	}
	return !isBrowser(r.Request) && r.Header.Get("Origin") == "" && r.Header.Get("X-Requested-With") == "" && !r.cookies.any()
}

// tokenScope is what a token is good for, from where it came.
type tokenScope struct {
	*accesstoken.Scope
	isFrom bool
}

// covers implements scope.
func (s tokenScope) covers(r *http.Request) bool { return s.isFrom && s.Covers(r) }

// isWhole implements scope.
func (s tokenScope) isWhole() bool { return len(s.Paths) == 0 && len(s.Methods) == 0 }

var (
	_ reader = tokenReader{}
	_ scope  = tokenScope{}
)
