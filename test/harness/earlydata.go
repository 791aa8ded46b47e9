package harness

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"sync/atomic"

	"github.com/quic-go/quic-go"
	"github.com/quic-go/quic-go/http3"
)

// EarlyData sends a request without a body over HTTP/3 in TLS early data, as
// somebody who replays what they recorded: the handshake never completes. It
// returns the response without its body.
func (target Target) EarlyData(request *http.Request) Response {
	ctx, cancel := context.WithTimeout(request.Context(), exchangeLimit)
	defer cancel()
	response, err := target.sendEarly(ctx, request)
	if err != nil {
		return Response{Err: err}
	}
	return Response{Status: response.StatusCode, Proto: response.Proto, Header: response.Header}
}

func (target Target) sendEarly(ctx context.Context, request *http.Request) (*http.Response, error) {
	tickets := &ticketCache{ClientSessionCache: tls.NewLRUClientSessionCache(1), filled: make(chan struct{}, 1)}
	config := target.tlsConfig(http3.NextProtoH3)
	config.ClientSessionCache = tickets
	config.CurvePreferences = []tls.CurveID{tls.X25519} // the ClientHello fits into one datagram
	options := &quic.Config{TokenStore: quic.NewLRUTokenStore(1, 1)}

	first, err := quic.DialAddr(ctx, target.Addr, config, options)
	if err != nil {
		return nil, fmt.Errorf("connecting for a session ticket: %w", err)
	}
	defer func() { _ = first.CloseWithError(0, "") }()
	if err := await(ctx, tickets.filled); err != nil {
		return nil, fmt.Errorf("waiting for a session ticket: %w", err)
	}

	address, err := net.ResolveUDPAddr("udp", target.Addr)
	if err != nil {
		return nil, fmt.Errorf("reading the address: %w", err)
	}
	socket, err := new(net.ListenConfig).ListenPacket(ctx, "udp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("opening a socket: %w", err)
	}
	line := &earlyLine{PacketConn: socket, begun: make(chan struct{}, 1), early: make(chan struct{}, 1), sent: make(chan struct{})}
	defer func() { _ = line.Close() }()
	connection, err := quic.DialEarly(ctx, line, address, config, options)
	if err != nil {
		return nil, fmt.Errorf("connecting with early data: %w", err)
	}
	defer func() { _ = connection.CloseWithError(0, "") }()
	stream, err := line.send(ctx, connection, request)
	if err != nil {
		return nil, err
	}
	response, err := stream.ReadResponse()
	if err != nil {
		return nil, fmt.Errorf("reading the response: %w", err)
	}
	if !connection.ConnectionState().Used0RTT {
		return nil, fmt.Errorf("answered %d, but the server took no early data", response.StatusCode)
	}
	return response, nil
}

// send has the request leave the socket in early data. QUIC would put whatever
// it sends together into one datagram, so each part waits for the one before.
func (l *earlyLine) send(ctx context.Context, connection *quic.Conn, request *http.Request) (*http3.RequestStream, error) {
	defer close(l.sent)
	if err := await(ctx, l.begun); err != nil {
		return nil, fmt.Errorf("sending the ClientHello: %w", err)
	}
	client := new(http3.Transport).NewClientConn(connection)
	if err := await(ctx, l.early); err != nil {
		return nil, fmt.Errorf("sending HTTP/3 settings: %w", err)
	}
	stream, err := client.OpenRequestStream(ctx)
	if err != nil {
		return nil, fmt.Errorf("opening a stream: %w", err)
	}
	if err := stream.SendRequestHeader(request); err != nil {
		return nil, fmt.Errorf("sending the request: %w", err)
	}
	if err := stream.Close(); err != nil {
		return nil, fmt.Errorf("ending the request: %w", err)
	}
	if err := await(ctx, l.early); err != nil {
		return nil, fmt.Errorf("waiting until the request is sent: %w", err)
	}
	return stream, nil
}

// earlyLine is a socket that receives nothing until the request was sent, and
// sends nothing from then on. So everything that is sent is early data, and the
// server can't see the handshake complete.
type earlyLine struct {
	net.PacketConn
	begun, early chan struct{} // a first datagram, and one of early data, left
	sent         chan struct{}
	received     atomic.Bool
}

func (l *earlyLine) ReadFrom(b []byte) (int, net.Addr, error) {
	<-l.sent
	l.received.Store(true)
	return l.PacketConn.ReadFrom(b)
}

func (l *earlyLine) WriteTo(b []byte, to net.Addr) (int, error) {
	if l.received.Load() {
		return len(b), nil
	}
	n, err := l.PacketConn.WriteTo(b, to)
	left := l.begun
	if b[0]>>4 == 0b1101 { // a 0-RTT packet of QUIC 1 (RFC 9000 §17.2.3)
		left = l.early
	}
	select {
	case left <- struct{}{}:
	default:
	}
	return n, err
}

// ticketCache tells when it was given a session ticket.
type ticketCache struct {
	tls.ClientSessionCache
	filled chan struct{}
}

func (c *ticketCache) Put(key string, state *tls.ClientSessionState) {
	c.ClientSessionCache.Put(key, state)
	select {
	case c.filled <- struct{}{}:
	default:
	}
}

func await(ctx context.Context, event <-chan struct{}) error {
	select {
	case <-event:
		return nil
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}
