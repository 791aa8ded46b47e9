package portal

import (
	"net/http"
	"net/url"
	"path"
	"strings"
	"time"
)

const (
	languageCookie   = "__Host-mfa-language"
	languageLifetime = 365 * 24 * time.Hour
)

// words speaks the language that a request is answered in.
type words struct {
	pages    Pages
	language string
}

// words returns what speaks to the person who asks: in the language that they
// chose, else in one that their browser prefers.
func (p *Portal) words(r *http.Request) words {
	return words{pages: p.Pages, language: p.Pages.Match(chosenLanguage(r), r.Header.Get("Accept-Language"))}
}

// chosenLanguage is what the browser says that a person chose; empty: nothing.
func chosenLanguage(r *http.Request) string {
	cookie, err := r.Cookie(languageCookie)
	if err != nil {
		return ""
	}
	return cookie.Value
}

// say returns the text of a key, filled with pairs of a name and a value.
func (t words) say(key string, pairs ...any) string {
	values := make(map[string]any, len(pairs)/2)
	for i := 0; i+1 < len(pairs); i += 2 {
		values[pairs[i].(string)] = pairs[i+1]
	}
	return t.pages.Text(t.language, key, values)
}

// sayOr is say for a key that need not be there: then it is said in general
// terms.
func (t words) sayOr(general, key string, pairs ...any) string {
	if said := t.say(key, pairs...); said != key {
		return said
	}
	return t.say(general, pairs...)
}

// count returns the form of a text that suits the number n.
func (t words) count(key string, n int) string { return t.say(key, "Count", n) }

// chooseLanguage keeps the language that a person chose and goes back to where
// they were.
func (p *Portal) chooseLanguage(w http.ResponseWriter, r *http.Request) error {
	chosen := r.PostFormValue("language")
	for _, language := range p.Pages.Languages() {
		if language.Tag == chosen {
			setCookie(w, languageCookie, chosen, languageLifetime)
		}
	}
	p.redirect(w, ownPath(r.PostFormValue("to")))
	return nil
}

// ownPath returns a path of this portal as it is, and the first page for
// whatever a browser could take for the address of another site, or that
// would open a link anew.
func ownPath(to string) string {
	parsed, err := url.Parse(to)
	if err != nil || parsed.Scheme != "" || parsed.Host != "" || parsed.User != nil ||
		!strings.HasPrefix(to, "/") || strings.HasPrefix(to, "//") || !isPlain(to) ||
		path.Clean(parsed.Path) != parsed.Path || HoldsToken(parsed) {
		return "/"
	}
	return to
}

// isPlain reports whether text holds nothing that browsers read as something
// else in an address: backslashes, white space, control characters, and
// whatever isn't ASCII.
func isPlain(text string) bool {
	return !strings.ContainsFunc(text, func(c rune) bool { return c <= ' ' || c >= 0x7f || c == '\\' })
}
