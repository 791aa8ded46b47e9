package gate

import (
	"net/http"
	"time"
)

const (
	// LanguageCookie contains the language that somebody chose at the portal, for
	// the gate's own pages.
	LanguageCookie = "__Host-mfa-language"
	// languageLifetime is how long browsers keep it; none keeps a cookie for
	// longer than 400 days.
	languageLifetime = 365 * 24 * time.Hour
)

// language returns the language of the gate's own pages: the one that was chosen
// at the portal, else one that the browser prefers.
func (g *Gate) language(r *request) string {
	preferred := r.Header.Values("Accept-Language")
	if chosen := r.cookies.Language; chosen != "" {
		preferred = append([]string{chosen}, preferred...)
	}
	return g.Pages.Match(preferred...)
}

// keepLanguage keeps what the portal says was chosen there, if there is such a
// language.
func (g *Gate) keepLanguage(w http.ResponseWriter, r *request, chosen string) {
	if chosen != "" && chosen != r.cookies.Language && g.Pages.Match(chosen) == chosen {
		http.SetCookie(w, cookie(LanguageCookie, chosen, int(languageLifetime/time.Second)))
	}
}
