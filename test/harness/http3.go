package harness

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// HTTP3 returns another tab of the same browser that speaks HTTP/3 alone, over a
// connection of its own.
func (c *Client) HTTP3() *Client {
	over3 := &http3.Transport{
		TLSClientConfig: &tls.Config{RootCAs: c.transport.TLSClientConfig.RootCAs},
		Dial: func(ctx context.Context, address string, secured *tls.Config, config *quic.Config) (*quic.Conn, error) {
			_, port, err := net.SplitHostPort(address)
			if err != nil {
				return nil, fmt.Errorf("reading the address: %w", err)
			}
			return quic.DialAddr(ctx, net.JoinHostPort("127.0.0.1", port), secured, config) // every name is here
		},
	}
	c.t.Cleanup(func() { _ = over3.Close() })
	return &Client{t: c.t, transport: c.transport, over3: over3, jar: c.jar}
}
