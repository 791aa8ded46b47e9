package canonical

import (
	"net/netip"
	"strconv"
	"strings"
)

// HostError says why a Host header is refused. It is the client's fault and is
// answered with 400; the text holds nothing of the request.
type HostError string

// The reasons why a host is refused.
const (
	// ErrHostName: not a DNS name in ASCII, nor an address.
	ErrHostName HostError = "neither a name nor an address"
	// ErrHostPort: not a number from 1 to 65535 in its shortest form.
	ErrHostPort HostError = "port that is no port"
	// ErrHostTwice: a Host header that is not the host of the request.
	ErrHostTwice HostError = "another host in a header"
)

// Error returns the reason.
func (e HostError) Error() string { return "host: " + string(e) }

// Host splits the value of a Host header, or of :authority, and brings
// the name into the one form in which hosts are compared: lower case, without
// the dot of the root at its end; an IPv6 address without brackets, as RFC
// 5952 writes it. The port is empty where none was given.
//
// It takes no more than what can be in a configuration: letters, digits,
// hyphens and underscores in labels of at most 63 bytes (RFC 1035 §2.3.4),
// IPv4 as four decimal numbers, no zone, no user name, no escapes.
func Host(host string) (name, port string, err error) {
	if rest, ok := strings.CutPrefix(host, "["); ok {
		return canonicalIPv6(rest)
	}
	name, port, hasPort := strings.Cut(host, ":")
	if hasPort && !isPort(port) {
		return "", "", ErrHostPort
	}
	name = strings.TrimSuffix(name, ".")
	if !isHostName(name) {
		return "", "", ErrHostName
	}
	return strings.ToLower(name), port, nil
}

// canonicalIPv6 reads what follows the opening bracket.
func canonicalIPv6(rest string) (name, port string, err error) {
	literal, after, ok := strings.Cut(rest, "]")
	address, parseErr := netip.ParseAddr(literal)
	if !ok || parseErr != nil || !address.Is6() || address.Zone() != "" {
		return "", "", ErrHostName
	}
	if after == "" {
		return address.String(), "", nil
	}
	port, ok = strings.CutPrefix(after, ":")
	if !ok || !isPort(port) {
		return "", "", ErrHostPort
	}
	return address.String(), port, nil
}

// isPort takes the shortest form only, so that ports can be compared as text.
func isPort(port string) bool {
	number, err := strconv.ParseUint(port, 10, 16)
	return err == nil && number > 0 && port[0] != '0' && port[0] != '+'
}

// isHostName reports whether name is made of labels, and is an IPv4 address in
// the common form if its last label is a number: 127.1 and 0x7f.1 are
// addresses too to some resolvers (URL Standard, "ends in a number").
func isHostName(name string) bool {
	if name == "" || len(name) > 253 {
		return false
	}
	label := 0
	for i := range len(name) {
		switch c := name[i]; {
		case c == '.':
			if label == 0 {
				return false
			}
			label = 0
			continue
		case !unreservedCharacters[c] || c == '~':
			return false
		}
		if label++; label > 63 {
			return false
		}
	}
	if label == 0 {
		return false
	}
	last := name[len(name)-label:]
	if !isNumber(last) {
		return true
	}
	address, err := netip.ParseAddr(name)
	return err == nil && address.Is4()
}

// isNumber reports whether a resolver could take the label for a part of an
// IPv4 address: digits, or hexadecimal behind 0x.
func isNumber(label string) bool {
	if len(label) >= 2 && label[0] == '0' && label[1]|0x20 == 'x' {
		return strings.Trim(label[2:], "0123456789abcdefABCDEF") == ""
	}
	return strings.Trim(label, "0123456789") == ""
}
