package caddymodule

import (
	"cmp"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/url"
	"os"
	"strconv"
	"strings"
	"unicode"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
	"github.com/portcullis-mfa/portcullis/notify/email"
)

// Email has e-mails sent: codes that people use as their second factor, notices,
// invitations, and links to choose a new password. A code protects less than an app or a
// key: anyone who can read the mailbox has the code.
type Email struct {
	// SMTP is the server that accepts the mail: smtp://HOST or smtp://HOST:PORT,
	// which requires STARTTLS and uses port 587 by default, or smtps://HOST, which
	// uses TLS from the start, and port 465 by default. A server on this machine
	// (localhost, 127.0.0.1 or ::1) is reached without TLS and at port 25 by
	// default, unless ca is set. Required.
	SMTP string `json:"smtp,omitempty"`
	// Username is the user name for the server. Default: none, and no password.
	Username string `json:"username,omitempty"`
	// Password is the password for the server. To keep it out of the configuration,
	// use a placeholder such as {env.SMTP_PASSWORD} or {file./etc/portcullis/smtp}.
	// Required with a username.
	Password string `json:"password,omitempty"`
	// CA is a PEM file with the CA certificates that vouch for the server. Default:
	// the system's.
	CA string `json:"ca,omitempty"`
	// From is the sender: an address, or "Name <address>". Required.
	From string `json:"from,omitempty"`
	// EnvelopeFrom is the address that servers report undeliverable mail to.
	// Default: that of From.
	EnvelopeFrom string `json:"envelope_from,omitempty"`
	// ReplyTo is the address that replies go to. Default: that of From.
	ReplyTo string `json:"reply_to,omitempty"`
	// HELO is the name that Portcullis gives when it connects to the mail server.
	// Default: the portal's host.
	HELO string `json:"helo,omitempty"`
	// Codes says whether people can use codes by e-mail as their second factor. If not,
	// addresses that people added for codes don't count. Default: true.
	Codes *bool `json:"codes,omitempty"`
	// Notices says whether people are told by e-mail what happens to their account,
	// such as a new way to sign in or a new password. Default: true.
	Notices *bool `json:"notices,omitempty"`
	// Limit is how many codes may be sent in an hour, to all people together. 30 % of them
	// are reserved for known browsers. Default: 2000.
	Limit int `json:"limit,omitempty"`

	Platforms
}

// resolve completes and checks the settings, and returns the Mailer for them.
func (e *Email) resolve(portalHost string) (*email.Mailer, error) {
	server, err := expand("smtp", e.SMTP)
	if err != nil {
		return nil, err
	}
	config, err := parseSMTP(server)
	if err != nil {
		return nil, err
	}
	for setting, field := range map[string]struct {
		written string
		to      *string
	}{
		"username": {e.Username, &config.Username}, "password": {e.Password, &config.Password},
		"from": {e.From, &config.From}, "envelope_from": {e.EnvelopeFrom, &config.EnvelopeFrom},
		"reply_to": {e.ReplyTo, &config.ReplyTo}, "helo": {e.HELO, &config.HELO},
	} {
		if *field.to, err = expand(setting, field.written); err != nil {
			return nil, err
		}
	}
	if strings.ContainsFunc(config.HELO, func(r rune) bool { return unicode.IsSpace(r) || unicode.IsControl(r) }) {
		return nil, fmt.Errorf("helo %q: write the name of this host, such as login.example.com", config.HELO)
	}
	config.HELO = cmp.Or(config.HELO, portalHost)
	for _, setting := range []**bool{&e.Codes, &e.Notices} {
		if *setting == nil {
			*setting = new(true)
		}
	}
	if e.Limit = cmp.Or(e.Limit, 2000); e.Limit < 0 {
		return nil, fmt.Errorf("limit %d: write how many codes may be sent in an hour, such as 2000", e.Limit)
	}
	if config.From == "" {
		return nil, errNoFrom
	}
	if (config.Username == "") != (config.Password == "") {
		return nil, errHalfLogin
	}
	if config.Roots, err = e.readCA(); err != nil {
		return nil, err
	}
	if config.Security == email.Plain && config.Roots != nil {
		config.Security = email.StartTLS
	}
	if err := e.Platforms.check(); err != nil {
		return nil, err
	}
	return email.New(config)
}

// readCA returns the certificates that vouch for the server; nil: the system's.
func (e *Email) readCA() (*x509.CertPool, error) {
	file, err := expand("ca", e.CA)
	if err != nil || file == "" {
		return nil, err
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("ca: %w", err)
	}
	roots := x509.NewCertPool()
	if !roots.AppendCertsFromPEM(content) {
		return nil, fmt.Errorf("ca %s: it contains no certificate: name a PEM file", file)
	}
	return roots, nil
}

const smtpExample = "write smtp://mail.example.com or smtps://mail.example.com"

var (
	errNoSMTP    = errors.New("smtp is missing: " + smtpExample)
	errNoFrom    = errors.New("from is missing: write the address that the mail is from, such as from login@example.com")
	errHalfLogin = errors.New("username and password go together: write both, or neither")
)

// parseSMTP reads the address of a server.
func parseSMTP(written string) (c email.Config, err error) {
	u, err := url.Parse(written)
	switch {
	case written == "":
		return c, errNoSMTP
	case err != nil || u.Hostname() == "" || u.Path != "" || u.RawQuery != "" || u.Fragment != "":
		return c, errors.New("smtp: this isn't the address of a server: " + smtpExample)
	case u.User != nil:
		return c, errors.New("smtp: the address contains a user name: write username and password as separate options")
	}
	c.Host = u.Hostname()
	switch u.Scheme {
	case "smtps":
		c.Security, c.Port = email.ImplicitTLS, 465
	case "smtp":
		c.Security, c.Port = email.StartTLS, 587
		if isThisMachine(c.Host) {
			c.Security, c.Port = email.Plain, 25
		}
	default:
		return c, errors.New("smtp: " + smtpExample)
	}
	if u.Port() != "" {
		if c.Port, err = strconv.Atoi(u.Port()); err != nil || c.Port < 1 || c.Port > 65535 {
			return c, fmt.Errorf("smtp: there is no port %s: write a number from 1 to 65535", u.Port())
		}
	}
	return c, nil
}

func isThisMachine(host string) bool {
	ip := net.ParseIP(host)
	return origin.IsLocalhost(host) || ip != nil && ip.IsLoopback()
}

func (a *App) unmarshalEmail(d *caddyfile.Dispenser) error {
	if a.Email != nil {
		return givenTwice(d, "email")
	}
	a.Email = new(Email)
	const example = "email { smtp smtp://mail.example.com; from login@example.com }, each option on a line of its own"
	return readBlock(d, example, func() error { return a.Email.unmarshalOption(d) }, func() error {
		if a.Email.SMTP == "" {
			return errNoSMTP
		}
		if a.Email.From == "" {
			return errNoFrom
		}
		if (a.Email.Username == "") != (a.Email.Password == "") {
			return errHalfLogin
		}
		return nil
	})
}

func (e *Email) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "smtp":
		if err := oneArgument(d, &e.SMTP); err != nil || !isPlain(e.SMTP) {
			return err
		}
		if _, err := parseSMTP(e.SMTP); err != nil {
			return d.WrapErr(err)
		}
		return nil
	case "username":
		return oneArgument(d, &e.Username)
	case "password":
		return oneArgument(d, &e.Password)
	case "ca":
		return oneArgument(d, &e.CA)
	case "from":
		return oneArgument(d, &e.From)
	case "envelope_from":
		return oneArgument(d, &e.EnvelopeFrom)
	case "reply_to":
		return oneArgument(d, &e.ReplyTo)
	case "helo":
		return oneArgument(d, &e.HELO)
	case "codes":
		return onOrOff(d, &e.Codes)
	case "notices":
		return onOrOff(d, &e.Notices)
	case "limit":
		return number(d, &e.Limit, "a number such as 2000")
	case "only_on", "not_on":
		return e.unmarshalPlatforms(d)
	}
	return unknownOption(d, "email", "the options are smtp, username, password, ca, from, envelope_from, reply_to, helo, codes, notices, limit, only_on and not_on")
}
