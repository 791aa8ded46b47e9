package webpush

import (
	"fmt"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"syscall"
	"time"
)

// notPublic are networks that netip doesn't tell apart, and in which no push service
// is: what a subscription names is up to whoever has a phone's key.
var notPublic = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"), netip.MustParsePrefix("100.64.0.0/10"), netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("192.0.2.0/24"), netip.MustParsePrefix("198.18.0.0/15"), netip.MustParsePrefix("198.51.100.0/24"),
	netip.MustParsePrefix("203.0.113.0/24"), netip.MustParsePrefix("240.0.0.0/4"),
	netip.MustParsePrefix("64:ff9b::/96"), netip.MustParsePrefix("64:ff9b:1::/48"), netip.MustParsePrefix("2001::/23"),
	netip.MustParsePrefix("2001:db8::/32"), netip.MustParsePrefix("2002::/16"), netip.MustParsePrefix("fec0::/10"),
}

// isPublic reports whether an address may be a push service's.
func isPublic(ip netip.Addr) bool {
	ip = ip.Unmap()
	if !ip.IsGlobalUnicast() || ip.IsPrivate() || ip.IsLoopback() || ip.IsLinkLocalUnicast() {
		return false
	}
	for _, network := range notPublic {
		if network.Contains(ip) {
			return false
		}
	}
	return true
}

// guard refuses to connect to what isn't public. It looks at the address that is
// connected to: what a name resolved to before may have changed.
func guard(_, address string, _ syscall.RawConn) error {
	at, err := netip.ParseAddrPort(address)
	if err != nil || !isPublic(at.Addr()) {
		return fmt.Errorf("%s isn't a public address", address)
	}
	return nil
}

// How long a push service has to take a connection, and then to answer.
const (
	connectWithin = 5 * time.Second
	answerWithin  = 10 * time.Second
)

// newDialer returns a dialer whose connections the guard checks.
func newDialer() *net.Dialer { return &net.Dialer{Timeout: connectWithin, Control: guard} }

// newClient returns a client for push services, which connects with a dialer. It follows no
// redirects. If there is a proxy, the proxy connects, and the dialer isn't used.
func newClient(proxy *url.URL, dialer *net.Dialer) *http.Client {
	transport := &http.Transport{
		DialContext: dialer.DialContext, TLSHandshakeTimeout: connectWithin, ResponseHeaderTimeout: answerWithin,
		MaxResponseHeaderBytes: 16 << 10, IdleConnTimeout: time.Minute, MaxIdleConnsPerHost: 2, ForceAttemptHTTP2: true,
	}
	if proxy != nil {
		transport.Proxy, transport.DialContext = http.ProxyURL(proxy), (&net.Dialer{Timeout: connectWithin}).DialContext
	}
	return &http.Client{
		Transport:     transport,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}
}
