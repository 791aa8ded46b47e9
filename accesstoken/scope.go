package accesstoken

import (
	"fmt"
	"net/http"
	"net/netip"
	"regexp"
	"slices"
	"strings"
	"time"
)

// Scope says which requests a token is for. The zero value allows none.
type Scope struct {
	// Hosts are the apps' host names, canonical and without ports.
	Hosts []string `json:"hosts"`
	// Paths are paths of the apps, each including everything below it; none: all.
	Paths []string `json:"paths,omitempty"`
	// Methods are HTTP methods, or Upgrade for WebSockets and the like, which have
	// no method of their own; none: all. A request that asks for an upgrade by
	// another method than GET needs that method too.
	Methods []string `json:"methods,omitempty"`
	// From are the networks from which the token works; none: all.
	From []netip.Prefix `json:"from,omitempty"`
}

// Upgrade, among methods, means requests that take over their connection.
const Upgrade = "UPGRADE"

// MaxLifetime is the longest time for which a token may work.
const MaxLifetime = 366 * 24 * time.Hour

// ScopeError says what is wrong with a scope, and what to write instead.
type ScopeError string

func (e ScopeError) Error() string { return string(e) }

// Text returns the error as operators see it.
func (e ScopeError) Text() string { return string(e) }

var (
	hostName   = regexp.MustCompile(`^[a-z0-9]([a-z0-9.-]*[a-z0-9])?$`)
	methodName = regexp.MustCompile(`^[A-Z]{1,32}$`)
)

// Checked returns the scope in the form in which Covers expects it, or a
// ScopeError.
func (s Scope) Checked() (Scope, error) {
	if len(s.Hosts) == 0 {
		return Scope{}, ScopeError("A token needs at least one host: write --host wiki.example.com.")
	}
	s.Hosts, s.Methods = slices.Clone(s.Hosts), slices.Clone(s.Methods)
	for i, host := range s.Hosts {
		s.Hosts[i] = strings.ToLower(strings.TrimSuffix(host, "."))
		if !hostName.MatchString(s.Hosts[i]) {
			return Scope{}, ScopeError(fmt.Sprintf("%q isn't a host name: write it like wiki.example.com, without a scheme, port or wildcard.", host))
		}
	}
	for _, path := range s.Paths {
		if !strings.HasPrefix(path, "/") || strings.ContainsAny(path, "?#%*\\;") || strings.Contains(path, "//") || strings.Contains(path+"/", "/../") || strings.Contains(path+"/", "/./") {
			return Scope{}, ScopeError(fmt.Sprintf("%q isn't a path: write it like /api, without a query or wildcards. It includes everything below it.", path))
		}
	}
	for i, method := range s.Methods {
		s.Methods[i] = strings.ToUpper(method)
		if !methodName.MatchString(s.Methods[i]) {
			return Scope{}, ScopeError(fmt.Sprintf("%q isn't a method: write it like GET.", method))
		}
	}
	for _, network := range s.From {
		if network != network.Masked() {
			return Scope{}, ScopeError(fmt.Sprintf("%s isn't a network: write it as %s.", network, network.Masked()))
		}
	}
	return s, nil
}

// IsFor reports whether the token works for a host at all.
func (s *Scope) IsFor(host string) bool { return slices.Contains(s.Hosts, host) }

// IsFrom reports whether the token works from an address, which may be malformed.
func (s *Scope) IsFrom(address string) bool {
	if len(s.From) == 0 {
		return true
	}
	from, err := netip.ParseAddr(address)
	return err == nil && slices.ContainsFunc(s.From, func(network netip.Prefix) bool { return network.Contains(from.Unmap()) })
}

// Covers reports whether the method and path of a request are within the scope.
func (s *Scope) Covers(r *http.Request) bool {
	return (len(s.Methods) == 0 || s.coversMethod(r)) &&
		(len(s.Paths) == 0 || slices.ContainsFunc(s.Paths, func(path string) bool { return isBelow(r.URL.Path, path) }))
}

// coversMethod reports whether the method of a request is within the scope. An app
// that knows nothing of the upgrade does what the method says: to upgrade by GET
// reads at most, and anything else could be done by every method.
func (s *Scope) coversMethod(r *http.Request) bool {
	upgrades := r.Method == http.MethodConnect || r.Header.Get("Upgrade") != ""
	if upgrades && !slices.Contains(s.Methods, Upgrade) {
		return false
	}
	isHandshake := upgrades && (r.Method == http.MethodGet || r.Method == http.MethodConnect)
	return isHandshake || slices.Contains(s.Methods, r.Method)
}

// isBelow reports whether a path is another one or below it, by whole segments.
func isBelow(path, above string) bool {
	above = strings.TrimSuffix(above, "/")
	rest, ok := strings.CutPrefix(path, above)
	return ok && (rest == "" || rest[0] == '/')
}

// maxName is how long the name of a token may be.
const maxName = 64

// CheckName returns the name of a service token, or an error whose text says what
// to write instead. A name can't contain @, by which apps tell services from people.
func CheckName(written string) (string, error) {
	if !serviceName.MatchString(written) || len(written) > maxName {
		return "", ScopeError("Name the token with letters, digits, dots, hyphens and underscores, 64 at most: ci, backup-nas.")
	}
	return strings.ToLower(written), nil
}

var serviceName = regexp.MustCompile(`^[A-Za-z0-9]([A-Za-z0-9._-]*[A-Za-z0-9])?$`)

// Speaker returns the user name that apps see for a service token.
func Speaker(name string) string { return name + "@token" }
