// Package netblock says which addresses one customer of a provider is likely to hold
// together, so that limits for strangers count those as one.
//
// It must not know what is limited.
package netblock

import "net/netip"

// Holder folds an address into what one customer of a provider holds: an IPv4
// address or an IPv6 /64. All that is malformed is one: "unknown".
func Holder(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return "unknown"
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return a.String()
	}
	return prefix(a, 64)
}

// Network returns the wider network that an address belongs to, which one customer
// may hold too: an IPv4 /24 or an IPv6 /48. Empty: the address is malformed.
func Network(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return prefix(a, 24)
	}
	return prefix(a, 48)
}

// Region returns the network that stands for a region of a provider: people who move
// about usually stay in it. It is an IPv4 /16 or an IPv6 /32. Empty: the address is
// malformed.
func Region(address string) string {
	a, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	if a = a.Unmap().WithZone(""); a.Is4() {
		return prefix(a, 16)
	}
	return prefix(a, 32)
}

func prefix(a netip.Addr, bits int) string {
	block, err := a.Prefix(bits)
	if err != nil {
		panic(err) // no address has less bits
	}
	return block.String()
}
