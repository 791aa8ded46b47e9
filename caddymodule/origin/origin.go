// Package origin knows the hosts, ports and schemes of a site, and so the
// origins (RFC 6454) at which browsers reach it.
//
// It must not know Caddy.
package origin

import (
	"fmt"
	"net"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/net/idna"
)

// Pattern is one host, or all hosts that differ in their first label.
type Pattern struct {
	Name   string   // lower-case ASCII; a wildcard begins with "*."
	Port   string   // a port named beside it, or empty
	Except []string // hosts of a wildcard that are served elsewhere
}

// ParsePattern reads HOST or HOST:PORT, where HOST may be a wildcard for
// its first label.
func ParsePattern(written string) (Pattern, error) {
	name, port, ok := SplitAuthority(written)
	if !ok {
		return Pattern{}, fmt.Errorf("%q isn't a host: write app.example.com or app.example.com:8443", written)
	}
	ascii, err := idna.ToASCII(name)
	if err != nil {
		return Pattern{}, fmt.Errorf("%q isn't a host: %w", written, err)
	}
	pattern := Pattern{Name: strings.ToLower(ascii), Port: port}
	return pattern, pattern.Check()
}

// Check refuses what is neither a host nor a wildcard for the first label.
func (p Pattern) Check() error {
	if _, err := netip.ParseAddr(p.Name); err == nil {
		return nil
	}
	name := strings.TrimPrefix(p.Name, "*.")
	for label := range strings.SplitSeq(name, ".") {
		if label == "" || len(label) > 63 || strings.ContainsFunc(label, isNotHostRune) {
			return fmt.Errorf("%q isn't a host: write a plain one such as app.example.com, or a wildcard for the first label such as *.example.com", p.Name)
		}
	}
	return nil
}

func isNotHostRune(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-' && r != '_'
}

// IsWildcard reports whether the pattern stands for all hosts that differ in
// their first label.
func (p Pattern) IsWildcard() bool { return strings.HasPrefix(p.Name, "*.") }

// Covers reports whether the host, in lower case, is meant. A wildcard covers
// exactly one label.
func (p Pattern) Covers(host string) bool {
	if !p.IsWildcard() {
		return host == p.Name
	}
	label, rest, found := strings.Cut(host, ".")
	return found && label != "" && rest == p.Name[2:] && !slices.Contains(p.Except, host)
}

// Site is where a gate is reached.
type Site struct {
	Hosts  []Pattern
	Ports  []string // on which the server listens
	Scheme string   // that the server speaks: http or https
}

// Origin returns the origin (RFC 6454) that name and port of a Host header
// stand for, and whether it belongs to the site. Both come in canonical form.
// The name must be covered by one of the site's patterns, and the port be the
// scheme's own or none, one at which browsers reach the server, or one named
// beside the host.
func (s Site) Origin(name, port string) (string, bool) {
	scheme := SchemeOf(s.Scheme, name)
	usual := port == "" || port == defaultPort(scheme) || slices.Contains(s.portsOf(name), port)
	for _, p := range s.Hosts {
		if p.Covers(name) && (usual || port == p.Port) {
			return scheme + "://" + Authority(scheme, name, port), true
		}
	}
	return "", false
}

// portsOf returns the ports at which browsers reach the server for a host. The
// ports of a TLS proxy in front aren't known.
func (s Site) portsOf(name string) []string {
	if SchemeOf(s.Scheme, name) != s.Scheme {
		return nil
	}
	return s.Ports
}

// PortFor returns the port under which browsers reach the host: one declared
// beside it, else that of the portal where it stands on the same server (then
// both are reached in the same way), else the scheme's own or the first on
// which the server listens.
func (s Site) PortFor(name, portalPort string, besidePortal bool) string {
	for _, p := range s.Hosts {
		if p.Port != "" && p.Covers(name) {
			return p.Port
		}
	}
	ports := s.portsOf(name)
	switch {
	case besidePortal:
		return portalPort
	case len(ports) == 0 || slices.Contains(ports, defaultPort(s.Scheme)):
		return ""
	}
	return ports[0]
}

// SchemeOf returns the scheme by which browsers reach a host of a server that
// speaks the given one. Off localhost they never use plain HTTP: a server that
// speaks it there stands behind a proxy that ends TLS.
func SchemeOf(spoken, host string) string {
	if spoken == "http" && !IsLocalhost(host) {
		return "https"
	}
	return spoken
}

// SplitAuthority takes HOST or HOST:PORT apart and strips an IPv6 address of
// its brackets. It refuses what has more than one reading.
func SplitAuthority(authority string) (name, port string, ok bool) {
	name = authority
	if colon := strings.LastIndexByte(authority, ':'); colon > strings.LastIndexByte(authority, ']') {
		name, port = authority[:colon], authority[colon+1:]
		if !isPort(port) {
			return "", "", false
		}
	}
	if inner, bracketed := strings.CutPrefix(name, "["); bracketed {
		inner, closed := strings.CutSuffix(inner, "]")
		address, err := netip.ParseAddr(inner)
		return inner, port, closed && err == nil && address.Is6()
	}
	return name, port, name != "" && !strings.ContainsAny(name, ":[]")
}

// isPort reports whether s is a port as browsers write it.
func isPort(s string) bool {
	n, err := strconv.ParseUint(s, 10, 16)
	return err == nil && n > 0 && strconv.FormatUint(n, 10) == s
}

// Authority joins host and port as they stand in a URL; the scheme's own port
// is left out.
func Authority(scheme, name, port string) string {
	if port == defaultPort(scheme) {
		port = ""
	}
	switch {
	case port != "":
		return net.JoinHostPort(name, port)
	case strings.Contains(name, ":"):
		return "[" + name + "]"
	}
	return name
}

func defaultPort(scheme string) string {
	if scheme == "http" {
		return "80"
	}
	return "443"
}

// IsLocalhost reports whether the host, or each that the wildcard covers, is
// this machine for every browser (RFC 6761 section 6.3).
func IsLocalhost(name string) bool {
	return name == "localhost" || strings.HasSuffix(name, ".localhost")
}
