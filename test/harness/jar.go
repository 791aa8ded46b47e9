package harness

import (
	"cmp"
	"maps"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"time"

	"golang.org/x/net/publicsuffix"
)

// longestCookie is what browsers take of a name and a value together
// (RFC 6265bis, 5.6).
const longestCookie = 4096

// cookieID is what makes two cookies the same one (RFC 6265bis, 5.7).
type cookieID struct{ name, domain, path string }

// storedCookie is a cookie as the jar keeps it.
type storedCookie struct {
	http.Cookie
	hostOnly bool
	created  time.Time
}

// jar keeps cookies as Chromium does, where Go's own differs: it takes Secure
// cookies from http on localhost and its subdomains, enforces the __Host- and
// __Secure- prefixes and heeds SameSite. Ports don't part cookies, there as
// here. Safe for concurrent use.
type jar struct {
	mu      sync.Mutex
	cookies map[cookieID]storedCookie
	blocked bool
}

func newJar() *jar { return &jar{cookies: map[cookieID]storedCookie{}} }

func (j *jar) clone() *jar {
	j.mu.Lock()
	defer j.mu.Unlock()
	return &jar{cookies: maps.Clone(j.cookies), blocked: j.blocked}
}

func (j *jar) block(blocked bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.blocked = blocked
	if blocked {
		clear(j.cookies)
	}
}

func (j *jar) clear() {
	j.mu.Lock()
	defer j.mu.Unlock()
	clear(j.cookies)
}

// set takes the cookies of a response from u.
func (j *jar) set(u *url.URL, cookies []*http.Cookie) {
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.blocked {
		return
	}
	for _, cookie := range cookies {
		stored, ok := accept(u, *cookie, now)
		if !ok {
			continue
		}
		id := cookieID{stored.Name, stored.Domain, stored.Path}
		if gone(stored.Cookie, now) {
			delete(j.cookies, id)
			continue
		}
		if before, known := j.cookies[id]; known {
			stored.created = before.created
		}
		j.cookies[id] = stored
	}
}

// accept decides whether a browser would take the cookie, and fills in what
// it leaves out.
func accept(u *url.URL, cookie http.Cookie, now time.Time) (storedCookie, bool) {
	host := hostOf(u)
	stored := storedCookie{Cookie: cookie, hostOnly: cookie.Domain == "", created: now}
	stored.Domain = strings.ToLower(strings.TrimPrefix(cookie.Domain, "."))
	if stored.hostOnly {
		stored.Domain = host
	}
	if !strings.HasPrefix(stored.Path, "/") {
		stored.Path = defaultPath(u)
	}
	if cookie.MaxAge > 0 {
		stored.Expires = now.Add(time.Duration(cookie.MaxAge) * time.Second)
	}
	prefix := strings.ToLower(cookie.Name)
	switch {
	case len(cookie.Name)+len(cookie.Value) > longestCookie:
	case !stored.hostOnly && !domainAllowed(host, stored.Domain):
	case cookie.Secure && !trustworthy(u):
	case cookie.SameSite == http.SameSiteNoneMode && !cookie.Secure:
	case strings.HasPrefix(prefix, "__secure-") && !cookie.Secure:
	case strings.HasPrefix(prefix, "__host-") && (!cookie.Secure || !stored.hostOnly || cookie.Path != "/"):
	default:
		return stored, true
	}
	return storedCookie{}, false
}

// gone reports whether the cookie is there to delete one, or has expired.
func gone(cookie http.Cookie, now time.Time) bool {
	return cookie.MaxAge < 0 || !cookie.Expires.IsZero() && !cookie.Expires.After(now)
}

// circumstances are what SameSite asks about a request.
type circumstances struct {
	sameSite bool
	// topLevel says that it is a navigation, and safe that its method is.
	topLevel, safe bool
}

// get returns the cookies that a browser sends to u, longest path first.
func (j *jar) get(u *url.URL, how circumstances) []http.Cookie {
	now := time.Now()
	j.mu.Lock()
	defer j.mu.Unlock()
	var chosen []storedCookie
	for _, stored := range j.cookies {
		if !gone(http.Cookie{Expires: stored.Expires}, now) && stored.matches(u) && stored.allowed(how, now) {
			chosen = append(chosen, stored)
		}
	}
	slices.SortFunc(chosen, func(a, b storedCookie) int {
		return cmp.Or(cmp.Compare(len(b.Path), len(a.Path)), a.created.Compare(b.created), strings.Compare(a.Name, b.Name))
	})
	cookies := make([]http.Cookie, len(chosen))
	for i, stored := range chosen {
		cookies[i] = stored.Cookie
	}
	return cookies
}

func (c storedCookie) matches(u *url.URL) bool {
	host := hostOf(u)
	hostMatches := host == c.Domain || !c.hostOnly && strings.HasSuffix(host, "."+c.Domain)
	return hostMatches && pathMatches(u.EscapedPath(), c.Path) && (!c.Secure || trustworthy(u))
}

// laxFor is how long a cookie that says nothing of SameSite is let through to
// forms of other sites; after that it is Lax.
const laxFor = 2 * time.Minute

// allowed heeds SameSite.
func (c storedCookie) allowed(how circumstances, now time.Time) bool {
	switch c.SameSite {
	case http.SameSiteNoneMode:
		return true
	case http.SameSiteStrictMode:
		return how.sameSite
	case http.SameSiteLaxMode:
		return how.sameSite || how.topLevel && how.safe
	default:
		return how.sameSite || how.topLevel && (how.safe || now.Sub(c.created) < laxFor)
	}
}

// pathMatches is RFC 6265bis, 5.1.4.
func pathMatches(requested, path string) bool {
	if requested == "" {
		requested = "/"
	}
	return requested == path ||
		strings.HasPrefix(requested, path) && (strings.HasSuffix(path, "/") || requested[len(path)] == '/')
}

// defaultPath is RFC 6265bis, 5.1.4.
func defaultPath(u *url.URL) string {
	path := u.EscapedPath()
	last := strings.LastIndexByte(path, '/')
	if last <= 0 {
		return "/"
	}
	return path[:last]
}

// domainAllowed reports whether a host may set cookies for the domain.
func domainAllowed(host, domain string) bool {
	if net.ParseIP(host) != nil {
		return host == domain
	}
	suffix, _ := publicsuffix.PublicSuffix(domain)
	return suffix != domain && (host == domain || strings.HasSuffix(host, "."+domain))
}

// hostOf is the URL's host without its port, in lower case.
func hostOf(u *url.URL) string { return strings.ToLower(u.Hostname()) }

// trustworthy reports whether browsers treat the origin as safe from
// eavesdroppers: https, or this very machine.
func trustworthy(u *url.URL) bool {
	host := hostOf(u)
	if u.Scheme == "https" || host == "localhost" || strings.HasSuffix(host, ".localhost") {
		return true
	}
	ip := net.ParseIP(host)
	return ip != nil && ip.IsLoopback()
}

// origin is the URL's origin as browsers write it.
func origin(u *url.URL) string {
	port := u.Port()
	if u.Scheme == "http" && port == "80" || u.Scheme == "https" && port == "443" {
		port = ""
	}
	host := hostOf(u)
	if port != "" {
		host = net.JoinHostPort(host, port)
	}
	return u.Scheme + "://" + host
}

// sameSite compares scheme and registrable domain. By the public suffix list
// every name directly under localhost is a site of its own.
func sameSite(a, b *url.URL) bool { return a.Scheme == b.Scheme && siteHost(a) == siteHost(b) }

func siteHost(u *url.URL) string {
	host := hostOf(u)
	if net.ParseIP(host) != nil {
		return host
	}
	site, err := publicsuffix.EffectiveTLDPlusOne(host)
	if err != nil {
		return host
	}
	return site
}
