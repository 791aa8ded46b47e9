package harness

import (
	"context"
	"crypto/tls"
	"fmt"
	"net"
	"net/http"
	"time"
)

// exchangeLimit bounds what a raw connection waits for.
const exchangeLimit = 30 * time.Second

// Target is where a raw client connects to. Raw clients send what they are
// told, however wrong, where curl and net/http would clean it up.
type Target struct {
	Addr string
	TLS  bool
	// SNI is the name in the TLS handshake, which may be another than the
	// request's host; "": none is sent.
	SNI string
	// Certificate is the client's, if any.
	Certificate *tls.Certificate
}

// Raw returns the named port as a target without TLS.
func (s *Server) Raw(port string) Target { return Target{Addr: s.Addr(port)} }

// RawTLS returns the named port as a target with TLS.
func (s *Server) RawTLS(port, sni string) Target {
	return Target{Addr: s.Addr(port), TLS: true, SNI: sni}
}

// Response is what came back on a raw connection.
type Response struct {
	Status  int // 0: none came
	Proto   string
	Header  http.Header
	Trailer http.Header
	Body    string
	// Err says why there is no response, or not a whole one. To be cut off
	// is an answer too, so it is for the test to judge.
	Err error
}

// dial connects, with TLS where the target has it, offering one protocol.
func (target Target) dial(protocol string) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), exchangeLimit)
	defer cancel()
	connection, err := new(net.Dialer).DialContext(ctx, "tcp", target.Addr)
	if err != nil {
		return nil, fmt.Errorf("connecting: %w", err)
	}
	if !target.TLS {
		return connection, nil
	}
	secured := tls.Client(connection, target.tlsConfig(protocol))
	if err := secured.HandshakeContext(ctx); err != nil {
		_ = connection.Close()
		return nil, fmt.Errorf("the TLS handshake: %w", err)
	}
	if agreed := secured.ConnectionState().NegotiatedProtocol; agreed != protocol && agreed != "" {
		_ = secured.Close()
		return nil, fmt.Errorf("the server agreed to %q, not to %q", agreed, protocol)
	}
	return secured, nil
}

// tlsConfig trusts every certificate: an attacker doesn't mind whom he talks to.
func (target Target) tlsConfig(protocol string) *tls.Config {
	config := &tls.Config{
		ServerName:         target.SNI,
		InsecureSkipVerify: true,
		NextProtos:         []string{protocol},
	}
	if target.Certificate != nil {
		config.Certificates = []tls.Certificate{*target.Certificate}
	}
	return config
}
