// Package mailbox is an SMTP server for tests, whose inbox they read, and which
// fails in the ways that servers do.
package mailbox

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"io"
	"math/big"
	"mime"
	"mime/multipart"
	"net"
	"net/mail"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/emersion/go-sasl"
	"github.com/emersion/go-smtp"
)

// Where a server can fail.
const (
	AtConnect = "connect" // it takes no connection
	AtTLS     = "TLS"     // with a certificate of somebody else's
	AtHello   = "EHLO"
	AtAuth    = "AUTH"
	AtMail    = "MAIL"
	AtRcpt    = "RCPT"
	AtData    = "DATA"
	AtReset   = "RSET" // after it has taken the mail
)

// Failure is how a server fails from now on.
type Failure struct {
	At string
	// Code and Enhanced are what it answers; 0: nothing, for as long as the client
	// stays.
	Code     int
	Enhanced smtp.EnhancedCode
	// Cut has it close the connection instead.
	Cut bool
	// Slow has it take this long, and go on then.
	Slow time.Duration
}

// Mail is one that was taken.
type Mail struct {
	From, To string // of the envelope
	Message  *mail.Message
	Raw      []byte
}

// Server is one that listens.
type Server struct {
	// Address is host and port.
	Address string
	// Roots vouch for its certificate.
	Roots *x509.CertPool
	// Certificate is its own, in DER.
	Certificate []byte

	username, password string

	mu      sync.Mutex
	inbox   []Mail
	failure Failure
}

// Options say what a server is like.
type Options struct {
	Username, Password string // that it asks for; empty: it asks for none
	Implicit           bool   // TLS from the start
	Plain              bool   // no TLS at all
}

// Start has a server listen on the loopback until the test ends.
func Start(t *testing.T, o Options) *Server {
	t.Helper()
	certificate, der := newCertificate(t)
	parsed, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	s := &Server{
		Address: listener.Addr().String(), Roots: x509.NewCertPool(), Certificate: der,
		username: o.Username, password: o.Password,
	}
	s.Roots.AddCert(parsed)
	listener = &refusing{listener, s}
	server := smtp.NewServer(smtp.BackendFunc(func(c *smtp.Conn) (smtp.Session, error) {
		opened := &session{server: s, conn: c}
		return opened, opened.fail(AtHello)
	}))
	server.Domain, server.AllowInsecureAuth = "mx.example.test", o.Plain
	server.EnableSMTPUTF8 = false
	server.ErrorLog = silent{}
	foreign, _ := newCertificate(t)
	config := &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) {
		if _, failing := s.failing(AtTLS); failing {
			return &foreign, nil
		}
		return &certificate, nil
	}}
	switch {
	case o.Implicit:
		listener = tls.NewListener(listener, config)
	case !o.Plain:
		server.TLSConfig = config
	}
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		_ = server.Close()
		<-served
	})
	return s
}

// refusing is a listener that hangs up on whoever connects while its server is down.
type refusing struct {
	net.Listener
	server *Server
}

func (r *refusing) Accept() (net.Conn, error) {
	for {
		conn, err := r.Listener.Accept()
		if err != nil {
			return nil, err
		}
		if _, failing := r.server.failing(AtConnect); !failing {
			return conn, nil
		}
		_ = conn.Close()
	}
}

type silent struct{}

func (silent) Printf(string, ...any) {}
func (silent) Println(...any)        {}

// Fail has the server fail from now on; the zero Failure mends it.
func (s *Server) Fail(f Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = f
}

// Inbox returns what was taken, oldest first.
func (s *Server) Inbox() []Mail {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Mail(nil), s.inbox...)
}

// failing returns the failure at a command, if there is one.
func (s *Server) failing(at string) (Failure, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.failure, s.failure.At == at
}

// session is one connection.
type session struct {
	server   *Server
	conn     *smtp.Conn
	from, to string
	taken    bool
	signedIn bool
}

// fail does what the server is to do at a command.
func (s *session) fail(at string) error {
	f, failing := s.server.failing(at)
	switch {
	case !failing:
		return nil
	case f.Slow != 0:
		<-time.After(f.Slow)
		return nil
	case f.Cut:
		return errors.Join(s.conn.Conn().Close(), io.EOF)
	case f.Code != 0:
		return &smtp.SMTPError{Code: f.Code, EnhancedCode: f.Enhanced, Message: "not now, " + s.to}
	}
	// Says nothing until the client hangs up.
	_, err := s.conn.Conn().Read(make([]byte, 1))
	return err
}

func (s *session) AuthMechanisms() []string {
	if s.server.username == "" {
		return nil
	}
	return []string{sasl.Plain}
}

func (s *session) Auth(string) (sasl.Server, error) {
	return sasl.NewPlainServer(func(_, username, password string) error {
		if err := s.fail(AtAuth); err != nil {
			return err
		}
		if username != s.server.username || password != s.server.password {
			return smtp.ErrAuthFailed
		}
		s.signedIn = true
		return nil
	}), nil
}

func (s *session) Mail(from string, _ *smtp.MailOptions) error {
	if s.server.username != "" && !s.signedIn {
		return smtp.ErrAuthRequired
	}
	s.from = from
	return s.fail(AtMail)
}

func (s *session) Rcpt(to string, _ *smtp.RcptOptions) error {
	s.to = to
	return s.fail(AtRcpt)
}

func (s *session) Data(r io.Reader) error {
	raw, err := io.ReadAll(r)
	if err != nil {
		return err
	}
	if err := s.fail(AtData); err != nil {
		return err
	}
	message, err := mail.ReadMessage(bytes.NewReader(raw))
	if err != nil {
		return err
	}
	s.server.mu.Lock()
	defer s.server.mu.Unlock()
	s.server.inbox = append(s.server.inbox, Mail{From: s.from, To: s.to, Message: message, Raw: raw})
	s.taken = true
	return nil
}

func (s *session) Reset() {
	if s.taken {
		_ = s.fail(AtReset)
	}
}

func (s *session) Logout() error { return nil }

// newCertificate makes a certificate for the loopback that vouches for itself.
func newCertificate(t *testing.T) (tls.Certificate, []byte) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(24 * time.Hour),
		DNSNames: []string{"localhost", "mx.example.test"}, IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageDigitalSignature | x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		t.Fatal(err)
	}
	return tls.Certificate{Certificate: [][]byte{der}, PrivateKey: key}, der
}

// Header returns a field of the mail.
func (m Mail) Header(name string) string { return m.Message.Header.Get(name) }

// Contains reports whether the mail, as it was sent, contains a text.
func (m Mail) Contains(text string) bool { return strings.Contains(string(m.Raw), text) }

// Text returns the plain part of the mail, or nothing.
func (m Mail) Text() string { return m.part("text/plain") }

// HTML returns the part in HTML, or nothing.
func (m Mail) HTML() string { return m.part("text/html") }

// part returns what a part of a multipart mail says.
func (m Mail) part(kind string) string {
	whole, err := mail.ReadMessage(bytes.NewReader(m.Raw))
	if err != nil {
		return ""
	}
	_, parameters, err := mime.ParseMediaType(whole.Header.Get("Content-Type"))
	if err != nil {
		return ""
	}
	for parts := multipart.NewReader(whole.Body, parameters["boundary"]); ; {
		part, err := parts.NextPart() // decodes quoted-printable
		if err != nil {
			return ""
		}
		if got, _, err := mime.ParseMediaType(part.Header.Get("Content-Type")); err == nil && got == kind {
			content, err := io.ReadAll(part)
			if err != nil {
				return ""
			}
			return string(content)
		}
	}
}
