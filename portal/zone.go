package portal

import (
	"net/http"
	"net/url"
	"time"
)

// longestZone bounds what a browser may call its time zone.
const longestZone = 64

// zoneOf returns the time zone that a browser says it is in, if there is such a zone;
// empty: it doesn't say.
func zoneOf(r *http.Request) string {
	cookie, err := r.Cookie(zoneCookie)
	if err != nil {
		return ""
	}
	name, err := url.PathUnescape(cookie.Value)
	if err != nil || len(name) > longestZone || name == "Local" {
		return ""
	}
	if _, err := time.LoadLocation(name); err != nil {
		return ""
	}
	return name
}
