package gate

import (
	"net/http"
	"net/url"
	"slices"
	"strings"

	"github.com/portcullis-mfa/portcullis/gate/canonical"
)

// ErrTargetElsewhere says that a header names a second target that is no path
// of this site.
const ErrTargetElsewhere canonical.TargetError = "second target that is not of this site"

// maxTargets bounds how many targets one request may name beside its own, each
// method counted.
const maxTargets = 8

// destinationHeader names what a method of WebDAV writes (RFC 4918 §10.3).
const destinationHeader = "Destination"

// target is what a request asks for, and how.
type target struct {
	method, host         string
	path, rawPath, query string
}

func targetOf(r *http.Request) target {
	return target{r.Method, r.Host, r.URL.Path, r.URL.RawPath, r.URL.RawQuery}
}

func (t target) putInto(r *http.Request) {
	r.Method, r.Host = t.method, t.host
	r.URL.Path, r.URL.RawPath, r.URL.RawQuery = t.path, t.rawPath, t.query
}

// at returns the target with the path and query of u.
func (t target) at(u *url.URL) target {
	t.path, t.rawPath, t.query = u.Path, u.RawPath, u.RawQuery
	return t
}

func (t target) as(method string) target {
	t.method = method
	return t
}

func (t target) asking(query string) target {
	t.query = query
	return t
}

func (t target) read(path string) target {
	t.path, t.rawPath = path, ""
	return t
}

// placeDestination brings Destination into the one form in which it is decided
// on and forwarded. It must name a path of the site that the request is for.
func (g *Gate) placeDestination(r *request) error {
	values, named := r.Header[destinationHeader]
	if !named {
		return nil
	}
	if len(values) != 1 {
		return ErrTargetElsewhere
	}
	u, err := g.ownURL(r, values[0])
	if err != nil {
		return err
	}
	canonical := u.RequestURI()
	if !strings.HasPrefix(values[0], "/") {
		canonical = r.origin + canonical
	}
	if canonical != values[0] {
		r.Header[destinationHeader] = []string{canonical}
	}
	return nil
}

// ownURL reads a URL of this site, whole or from its path on, in the canonical
// form of a request's own.
func (g *Gate) ownURL(r *request, written string) (*url.URL, error) {
	u, err := url.Parse(strings.Trim(written, " \t"))
	if err != nil {
		return nil, ErrTargetElsewhere
	}
	if u.Host != "" || u.Scheme != "" {
		name, port, err := canonical.Host(u.Host)
		if err != nil {
			return nil, ErrTargetElsewhere
		}
		origin, ok := g.Origin(name, port)
		if !ok || origin != r.origin || !strings.HasPrefix(origin, u.Scheme+"://") {
			return nil, ErrTargetElsewhere
		}
	} else if !strings.HasPrefix(u.Path, "/") {
		return nil, ErrTargetElsewhere
	}
	read := http.Request{Method: http.MethodGet, Host: u.Host, URL: u}
	if err := canonical.Target(&read); err != nil {
		return nil, err
	}
	return u, nil
}

// Headers of a second target, folded, by what some app or other does with it.
var (
	// replacingHeaders take the place of the target: IIS's rewrites, as Symfony,
	// Zend and others read them, and what proxies tell the apps behind them.
	replacingHeaders = []string{
		"x-original-url", "x-original-uri", "x-original-path", "x-rewrite-url", "x-rewrite-uri", "x-rewrite-path",
		"x-forwarded-uri", "x-forwarded-url", "x-forwarded-path", "x-request-uri", "x-request-url", "x-request-path",
		"x-override-url", "x-override-uri", "x-override-path", "x-http-path-override", "x-http-destinationurl",
		"x-envoy-original-path", "x-envoy-original-url", "x-proxy-url", "x-proxy-uri",
	}
	// prefixHeaders are taken off the beginning of the path.
	prefixHeaders = []string{"x-script-name", "x-forwarded-prefix", "x-forwarded-script-name", "x-forwarded-context"}
	// sourceHeaders name what a store of objects reads to write the target, as
	// the ends of names such as x-amz-copy-source, and takes away in the case of
	// movedHeaders. Swift has one of its own.
	sourceHeaders = []string{"-copy-source", "-move-source", "-rename-source", "-copy-from"}
	movedHeaders  = sourceHeaders[1:3]
)

// otherTargets returns what the headers of a request name beside its own target,
// with the methods that are used there. It returns an error where that can't be
// told.
func (g *Gate) otherTargets(r *request) (named []target, err error) {
	for _, method := range g.impliedMethods(r.Method) {
		named = append(named, targetOf(r.Request).as(method))
	}
	for name, values := range r.Header {
		switch {
		case name == destinationHeader:
			named, err = g.appendTargets(named, r, values, r.Method, http.MethodPut)
		case name == "" || name[0] != 'X': // names are in canonical form
		case canonical.FoldsToAny(name, replacingHeaders):
			named, err = g.appendTargets(named, r, values, r.Method)
		case endsIn(name, movedHeaders):
			named, err = g.appendTargets(named, r, rootedSources(values), r.Method, http.MethodGet, http.MethodDelete)
		case endsIn(name, sourceHeaders):
			named, err = g.appendTargets(named, r, rootedSources(values), r.Method, http.MethodGet)
		case canonical.FoldsToAny(name, prefixHeaders):
			named, err = appendStripped(named, r.Request, values)
		}
		if err != nil {
			return nil, err
		}
	}
	return named, nil
}

// endsIn reports whether a name ends in any of these, folded.
func endsIn(name string, ends []string) bool {
	return slices.ContainsFunc(ends, func(end string) bool {
		return len(name) > len(end) && canonical.FoldsTo(name[len(name)-len(end):], end)
	})
}

func (g *Gate) appendTargets(to []target, r *request, values []string, methods ...string) ([]target, error) {
	for _, value := range values {
		u, err := g.ownURL(r, value)
		if err != nil {
			return nil, err
		}
		for _, method := range methods {
			to = append(to, targetOf(r.Request).at(u).as(method))
		}
		if len(to) > maxTargets {
			return nil, errAmbiguous
		}
	}
	return to, nil
}

// rootedSources returns sources of copies, which may lack the slash in front, as
// paths.
func rootedSources(values []string) []string {
	paths := make([]string, len(values))
	for i, value := range values {
		paths[i] = value
		if !strings.Contains(value, "://") {
			paths[i] = "/" + strings.TrimLeft(value, "/")
		}
	}
	return paths
}

// appendStripped adds what is left of a path without the prefixes. A path that
// begins in another way is left alone by apps, too.
func appendStripped(to []target, r *http.Request, values []string) ([]target, error) {
	for _, value := range values {
		for prefix := range strings.SplitSeq(value, ",") {
			prefix = "/" + strings.Trim(prefix, " \t/")
			rest, begins := strings.CutPrefix(r.URL.Path, prefix)
			if !begins || prefix == "/" {
				continue
			}
			if len(to) > maxTargets {
				return nil, errAmbiguous
			}
			rest = canonical.Rooted(rest)
			if err := canonical.CheckPath(rest); err != nil {
				return nil, err
			}
			to = append(to, targetOf(r).read(rest))
		}
	}
	return to, nil
}
