package guess

import "net/netip"

// addressKey folds an address into what one customer of a provider holds: an
// IPv4 address or an IPv6 /64.
func addressKey(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return "unknown"
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a.String()
	}
	return prefixKey(a, 64)
}

// networkKey is the wider network that an address belongs to, which one
// customer may hold too: an IPv4 /24 or an IPv6 /48. Empty: it isn't known.
func networkKey(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return prefixKey(a, 24)
	}
	return prefixKey(a, 48)
}

func prefixKey(a netip.Addr, bits int) string {
	prefix, err := a.Prefix(bits)
	if err != nil {
		panic(err) // no address has less bits
	}
	return prefix.String()
}
