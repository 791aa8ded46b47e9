package webpush

import (
	"context"
	"crypto/tls"
	"encoding/binary"
	"errors"
	"io"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/net/dns/dnsmessage"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/push"
	"github.com/portcullis-mfa/portcullis/notify"
)

// names is a name server that answers every question with one address.
type names struct {
	address atomic.Pointer[netip.Addr]
	asked   atomic.Int64
}

// resolver asks the name server.
func (n *names) resolver() *net.Resolver {
	return &net.Resolver{PreferGo: true, Dial: func(context.Context, string, string) (net.Conn, error) {
		here, there := net.Pipe()
		go n.serve(there)
		return here, nil
	}}
}

// serve answers questions over a stream, RFC 1035 §4.2.2.
func (n *names) serve(c net.Conn) {
	defer c.Close()
	var size [2]byte
	if _, err := io.ReadFull(c, size[:]); err != nil {
		return
	}
	raw := make([]byte, binary.BigEndian.Uint16(size[:]))
	if _, err := io.ReadFull(c, raw); err != nil {
		return
	}
	var m dnsmessage.Message
	if m.Unpack(raw) != nil {
		return
	}
	m.Response = true
	m.Additionals = nil
	if question := m.Questions[0]; question.Type == dnsmessage.TypeA {
		n.asked.Add(1)
		m.Answers = []dnsmessage.Resource{{
			Header: dnsmessage.ResourceHeader{Name: question.Name, Type: question.Type, Class: question.Class},
			Body:   &dnsmessage.AResource{A: n.address.Load().As4()},
		}}
	}
	if packed, err := m.Pack(); err == nil {
		_, _ = c.Write(append(binary.BigEndian.AppendUint16(nil, uint16(len(packed))), packed...))
	}
}

// subscribedAt has the phone of a letter be subscribed at another host.
func subscribedAt(letter factors.Letter, host string) {
	subscription := letter.Content.(push.Notification).Phones["c1"].Subscription
	endpoint, err := url.Parse(subscription.Endpoint)
	if err != nil {
		panic(err) // httptest wrote it
	}
	endpoint.Host = net.JoinHostPort(host, endpoint.Port())
	subscription.Endpoint = endpoint.String()
}

// U05: a name that led outside when a phone subscribed may lead inside later, and is
// looked up anew for each connection.
func TestNamesThatLeadInsideLater(t *testing.T) {
	var sent atomic.Int64
	s, letter, _ := service(t, func(w http.ResponseWriter, _ *http.Request) {
		sent.Add(1)
		w.WriteHeader(http.StatusCreated)
	})
	subscribedAt(letter, "push.example.com")
	outside, inside, server := netip.MustParseAddr("127.0.0.1"), netip.MustParseAddr("127.0.0.2"), new(names)
	dialer := newDialer()
	dialer.Resolver = server.resolver()
	dialer.Control = func(network, address string, c syscall.RawConn) error {
		if at, err := netip.ParseAddrPort(address); err == nil && at.Addr() == outside {
			return nil // it stands for a public address, of which a test has none
		}
		return guard(network, address, c)
	}
	trusted := s.client.Transport.(*http.Transport).TLSClientConfig
	s.client = newClient(nil, dialer)
	s.client.Transport.(*http.Transport).TLSClientConfig = &tls.Config{RootCAs: trusted.RootCAs, ServerName: "example.com"}

	server.address.Store(&outside)
	if _, err := s.Write(t.Context(), "", letter); err != nil {
		t.Fatalf("while the name leads outside: %v", err)
	}
	s.client.CloseIdleConnections()
	server.address.Store(&inside)
	if _, err := s.Write(t.Context(), "", letter); err == nil || !strings.Contains(err.Error(), "isn't a public address") {
		t.Errorf("once the name leads inside: %v", err)
	}
	if sent.Load() != 1 || server.asked.Load() != 2 {
		t.Errorf("%d notifications were sent, and the name was looked up %d times", sent.Load(), server.asked.Load())
	}
}

// A service that takes a notification and never answers is given up, and asked again later.
func TestServicesThatNeverAnswer(t *testing.T) {
	s, letter, _ := service(t, nil)
	synctest.Test(t, func(t *testing.T) {
		transport := newClient(nil, newDialer()).Transport.(*http.Transport)
		transport.DialTLSContext = func(context.Context, string, string) (net.Conn, error) {
			here, there := net.Pipe()
			go func() { _, _ = io.Copy(io.Discard, there) }()
			return here, nil
		}
		s.client.Transport = transport
		began := time.Now()
		_, err := s.Write(t.Context(), "", letter)
		failure := new(notify.Failure)
		if took := time.Since(began); !errors.As(err, &failure) || failure.Permanent || took > answerWithin {
			t.Errorf("after %s: %v", took, err)
		}
	})
}
