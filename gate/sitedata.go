package gate

import (
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/token"
)

const (
	// LastCookie tells who signed in last, by a digest. It outlives the session,
	// whose cookie goes at sign-out: what the app keeps in the browser stays.
	LastCookie = "__Host-mfa-last"
	// lastLifetime is how long that is known; browsers keep no cookie for longer
	// than 400 days.
	lastLifetime = 365 * 24 * time.Hour
	// atShared ends the cookie of somebody who signed in at a shared computer.
	atShared = ".shared"
)

// markOf returns what stands for a person at a host. A user's id is random with
// 256 bits, so one round of SHA-256 hides it, and two hosts can't compare marks.
func markOf(user, host string) string { return token.Hash(user + "@" + host) }

// remember leaves a mark of who signed in. It stays at a shared computer, too,
// where the next person is sure to be another.
func (g *Gate) remember(w http.ResponseWriter, host, user string, shared bool) {
	mark := markOf(user, host)
	if shared {
		mark += atShared
	}
	http.SetCookie(w, g.embeddable(cookie(LastCookie, mark, int(lastLifetime/time.Second))))
}

// arrive clears what the app left in the browser for somebody else, and notes
// whose the rest is from now on.
func (g *Gate) arrive(w http.ResponseWriter, r *request, signOn session.SignOn) {
	if g.wasAnother(r, signOn.UserID) {
		clearSiteData(w)
	}
	g.remember(w, r.host, signOn.UserID, signOn.Shared)
}

// wasAnother reports whether somebody else signed in here last, by their mark or
// by a session of theirs, be it over long since.
func (g *Gate) wasAnother(r *request, user string) bool {
	if last := strings.TrimSuffix(r.cookies.Last, atShared); last != "" && last != markOf(user, r.host) {
		return true
	}
	return slices.ContainsFunc(r.cookies.Sessions, func(value string) bool {
		s, ok := g.Sessions.Peek(value, r.host)
		return ok && s.User != user
	})
}

// leave clears what the app left in the browser where signing out is to do so:
// everywhere if that is set, and always at a shared computer. A session without
// a mark could be from one.
func (g *Gate) leave(w http.ResponseWriter, r *request) {
	shared := strings.HasSuffix(r.cookies.Last, atShared)
	if r.cookies.Last == "" {
		for _, value := range r.cookies.Sessions {
			if s, ok := g.Sessions.Peek(value, r.host); ok {
				shared = true
				g.remember(w, r.host, s.User, shared)
				break
			}
		}
	}
	if g.ClearAtSignOut || shared {
		clearSiteData(w)
	}
}

// clearSiteData has the browser forget what the app left in it (W3C Clear Site
// Data §3.1). Cookies stay, since "cookies" would take those of every host
// under the registrable domain.
func clearSiteData(w http.ResponseWriter) {
	w.Header().Set("Clear-Site-Data", `"cache", "storage"`)
}
