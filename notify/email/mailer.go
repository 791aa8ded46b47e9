// Package email hands e-mails over to an SMTP server (RFC 5321).
//
// The package must not know what e-mails are about, or when to send one again.
package email

import (
	"cmp"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/textproto"
	"regexp"
	"strconv"
	"strings"
	"time"

	"github.com/wneessen/go-mail"
	"github.com/wneessen/go-mail/smtp"

	"github.com/portcullis-mfa/portcullis/notify"
)

// patience bounds the connection to a server, its answer to each command
// included.
const patience = 5 * time.Second

// Security is how a connection is protected.
type Security int

// The ways to protect one.
const (
	// StartTLS upgrades the connection to TLS, and gives up if it can't (RFC 3207).
	StartTLS Security = iota
	// ImplicitTLS begins with TLS (RFC 8314 §3.3).
	ImplicitTLS
	// Plain is for servers on the same machine.
	Plain
)

// Config says how e-mails are sent.
type Config struct {
	Host     string
	Port     int
	Security Security
	// Roots are trusted to vouch for the server; nil: the system's are.
	Roots *x509.CertPool
	// Username and Password are for the server; empty: it needs none.
	Username, Password string
	// From is the sender, as in "Example <login@example.com>".
	From string
	// EnvelopeFrom is the address that servers report undeliverable mail to; empty:
	// the address of From.
	EnvelopeFrom string
	// ReplyTo is the address that replies go to; empty: From.
	ReplyTo string
	// HELO is the name that this machine gives to the server.
	HELO string
}

// Mail is one e-mail to one address.
type Mail struct {
	// ID is part of the Message-ID, so that recipients can recognize duplicates.
	ID      string
	To      string
	Subject string
	Text    string
	HTML    string
	At      time.Time
}

// Mailer hands e-mails over. It is safe for concurrent use.
type Mailer struct{ config Config }

// New returns a Mailer, or an error that says what to write instead.
func New(c Config) (*Mailer, error) {
	probe := mail.NewMsg()
	if err := probe.From(c.From); err != nil {
		return nil, fmt.Errorf("from %q: write an address such as login@example.com", c.From)
	}
	if c.EnvelopeFrom != "" && probe.EnvelopeFrom(c.EnvelopeFrom) != nil {
		return nil, fmt.Errorf("envelope_from %q: write an address such as bounces@example.com", c.EnvelopeFrom)
	}
	if c.ReplyTo != "" && probe.ReplyTo(c.ReplyTo) != nil {
		return nil, fmt.Errorf("reply_to %q: write an address such as it@example.com", c.ReplyTo)
	}
	return &Mailer{c}, nil
}

// Send hands an e-mail over and returns what the server answered, or a *notify.Failure.
func (m *Mailer) Send(ctx context.Context, one Mail) (answer string, err error) {
	message, err := m.message(one)
	if err != nil {
		return "", err
	}
	client, connection, err := m.dial(ctx)
	if err != nil {
		return "", err
	}
	defer func() { _ = connection.CloseWithSMTPClient(client) }() // QUIT; nothing depends on it
	if !isASCII(one.To) {
		if able, _ := client.Extension("SMTPUTF8"); !able {
			return "", &notify.Failure{Code: "address", Permanent: true, Err: errors.New("the server can't send to addresses beyond ASCII (RFC 6531)")}
		}
	}
	err = connection.SendWithSMTPClient(client, message)
	// An error after the server took it, such as of RSET, changes nothing.
	if err == nil || message.IsDelivered() {
		return message.ServerResponse(), nil
	}
	return "", failure(ctx, err)
}

// message puts an e-mail into the form of RFC 5322.
func (m *Mailer) message(one Mail) (*mail.Msg, error) {
	message := mail.NewMsg(mail.WithNoDefaultUserAgent())
	err := errors.Join(message.From(m.config.From), message.To(one.To))
	if m.config.EnvelopeFrom != "" {
		err = errors.Join(err, message.EnvelopeFrom(m.config.EnvelopeFrom))
	}
	if m.config.ReplyTo != "" {
		err = errors.Join(err, message.ReplyTo(m.config.ReplyTo))
	}
	if err != nil {
		return nil, &notify.Failure{Code: "address", Permanent: true, Err: errors.New("an address can't be written into an e-mail")}
	}
	message.SetMessageIDWithValue(one.ID + "@" + m.domain())
	message.SetDateWithValue(one.At)
	message.SetGenHeader("Auto-Submitted", "auto-generated") // RFC 3834 §5: nobody answers that by itself
	message.Subject(one.Subject)
	message.SetBodyString(mail.TypeTextPlain, one.Text)
	message.AddAlternativeString(mail.TypeTextHTML, one.HTML)
	return message, nil
}

// domain is the one that e-mails are from.
func (m *Mailer) domain() string {
	_, domain, _ := strings.Cut(m.config.From, "@")
	return strings.TrimRight(domain, "> ")
}

// dial connects, protects the connection and signs in. The connection ends with
// the context, whatever the server does.
func (m *Mailer) dial(ctx context.Context) (*smtp.Client, *mail.Client, error) {
	c := m.config
	options := []mail.Option{
		mail.WithPort(c.Port), mail.WithTimeout(patience), mail.WithHELO(c.HELO), mail.WithoutNoop(),
		mail.WithDialContextFunc(func(dialing context.Context, network, address string) (net.Conn, error) {
			return m.connect(ctx, dialing, network, address)
		}),
		mail.WithTLSConfig(m.tlsConfig()), mail.WithTLSPolicy(c.tlsPolicy()),
	}
	if c.Username != "" {
		options = append(options, mail.WithUsername(c.Username), mail.WithPassword(c.Password), mail.WithSMTPAuth(c.authentication()))
	}
	client, err := mail.NewClient(c.Host, options...)
	if err != nil {
		return nil, nil, &notify.Failure{Code: "connect", Err: err}
	}
	connected, err := client.DialToSMTPClientWithContext(ctx)
	if err != nil {
		return nil, nil, dialFailure(err)
	}
	return connected, client, nil
}

// connect opens a connection that is closed as the context of the whole attempt
// ends: the library looks at its own context no more once it is connected.
func (m *Mailer) connect(whole, dialing context.Context, network, address string) (net.Conn, error) {
	raw, err := new(net.Dialer).DialContext(dialing, network, address)
	if err != nil {
		return nil, err
	}
	context.AfterFunc(whole, func() { _ = raw.Close() })
	if m.config.Security != ImplicitTLS {
		return raw, nil
	}
	protected := tls.Client(raw, m.tlsConfig())
	if err := protected.HandshakeContext(dialing); err != nil {
		return nil, errors.Join(err, raw.Close())
	}
	return protected, nil
}

func (m *Mailer) tlsConfig() *tls.Config {
	return &tls.Config{ServerName: m.config.Host, RootCAs: m.config.Roots, MinVersion: tls.VersionTLS12}
}

func (c Config) tlsPolicy() mail.TLSPolicy {
	switch c.Security {
	case StartTLS:
		return mail.TLSMandatory
	case ImplicitTLS:
		return mail.TLSOpportunistic // has the library see that there is TLS
	default:
		return mail.NoTLS
	}
}

func (c Config) authentication() mail.SMTPAuthType {
	if c.Security == Plain {
		return mail.SMTPAuthPlainNoEnc
	}
	return mail.SMTPAuthAutoDiscover
}

// enhanced matches the enhanced status code that a reply begins with (RFC 2034 §4).
var enhanced = regexp.MustCompile(`^[245]\.[0-9]{1,3}\.[0-9]{1,3}\b`)

// dialFailure is why no connection came about. What the server said may hold what
// was sent to it, so its codes alone are kept.
func dialFailure(err error) *notify.Failure {
	var answer *textproto.Error
	var verification *tls.CertificateVerificationError
	f := &notify.Failure{Code: "connect"}
	if errors.As(err, &answer) {
		f.Code, f.Status = "greeting", strings.TrimSpace(strconv.Itoa(answer.Code)+" "+enhanced.FindString(answer.Msg))
	}
	switch {
	case errors.As(err, &verification):
		f.Code, f.Err = "tls", verification
	case strings.Contains(err.Error(), "STARTTLS"):
		f.Code, f.Err = "tls", errors.New("the server doesn't offer STARTTLS")
	case strings.Contains(err.Error(), "AUTH"):
		f.Code = "auth"
	case f.Status == "":
		f.Err = err
	}
	return f
}

// failure is why a server didn't take an e-mail.
func failure(ctx context.Context, err error) *notify.Failure {
	var sent *mail.SendError
	if !errors.As(err, &sent) {
		return &notify.Failure{Code: notify.Unknown, Err: cmp.Or(context.Cause(ctx), errors.New("the connection broke"))}
	}
	code := map[mail.SendErrReason]string{
		mail.ErrSMTPMailFrom: "sender", mail.ErrSMTPRcptTo: "recipient", mail.ErrSMTPData: "data",
		mail.ErrWriteContent: "content", mail.ErrSMTPDataClose: "content",
	}[sent.Reason]
	if answer := sent.ErrorCode(); answer > 0 {
		return &notify.Failure{
			Code: cmp.Or(code, "server"), Permanent: answer >= 500,
			Status: strings.TrimSpace(strconv.Itoa(answer) + " " + sent.EnhancedStatusCode()),
		}
	}
	// Without an answer to the end of the content, nobody knows.
	if sent.Reason == mail.ErrSMTPDataClose {
		code = notify.Unknown
	}
	return &notify.Failure{Code: cmp.Or(code, "connect"), Err: errors.New("the server gave no answer")}
}

func isASCII(s string) bool {
	return !strings.ContainsFunc(s, func(r rune) bool { return r >= 0x80 })
}
