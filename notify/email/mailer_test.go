package email_test

import (
	"context"
	"errors"
	"mime"
	"net"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/emersion/go-smtp"

	"github.com/portcullis-mfa/portcullis/notify"
	"github.com/portcullis-mfa/portcullis/notify/email"
	"github.com/portcullis-mfa/portcullis/test/mailbox"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func configOf(t *testing.T, s *mailbox.Server) email.Config {
	t.Helper()
	host, port, err := net.SplitHostPort(s.Address)
	if err != nil {
		t.Fatal(err)
	}
	number, err := strconv.Atoi(port)
	if err != nil {
		t.Fatal(err)
	}
	return email.Config{
		Host: host, Port: number, Roots: s.Roots, Username: "portcullis", Password: "correct horse",
		From: "Example <login@example.com>", HELO: "login.example.com",
	}
}

func send(t *testing.T, ctx context.Context, c email.Config, to string) error {
	t.Helper()
	mailer, err := email.New(c)
	if err != nil {
		t.Fatal(err)
	}
	_, err = mailer.Send(ctx, email.Mail{
		ID: "0123456789abcdef", To: to, Subject: "Your code for Bücher", Text: "12345678\n", HTML: "<p>12345678</p>", At: noon,
	})
	return err
}

var asked = mailbox.Options{Username: "portcullis", Password: "correct horse"}

// TestSend hands an e-mail over in each way to protect the connection.
func TestSend(t *testing.T) {
	tests := map[string]struct {
		options mailbox.Options
		change  func(*email.Config)
	}{
		"STARTTLS":     {asked, func(*email.Config) {}},
		"implicit TLS": {mailbox.Options{Username: "portcullis", Password: "correct horse", Implicit: true}, func(c *email.Config) { c.Security = email.ImplicitTLS }},
		"plain":        {mailbox.Options{Username: "portcullis", Password: "correct horse", Plain: true}, func(c *email.Config) { c.Security = email.Plain }},
		"no account":   {mailbox.Options{}, func(c *email.Config) { c.Username = "" }},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := mailbox.Start(t, test.options)
			config := configOf(t, server)
			config.EnvelopeFrom, config.ReplyTo = "bounces@example.com", "it@example.com"
			test.change(&config)
			if err := send(t, t.Context(), config, "ada@example.org"); err != nil {
				t.Fatal(err)
			}
			inbox := server.Inbox()
			if len(inbox) != 1 {
				t.Fatalf("%d mails arrived", len(inbox))
			}
			got := inbox[0]
			if got.From != "bounces@example.com" || got.To != "ada@example.org" {
				t.Errorf("the envelope is from %s to %s", got.From, got.To)
			}
			want := map[string]string{
				"From": `"Example" <login@example.com>`, "To": "<ada@example.org>", "Reply-To": "<it@example.com>",
				"Message-ID": "<0123456789abcdef@example.com>", "Auto-Submitted": "auto-generated",
				"Date": "Sun, 01 Mar 2026 12:00:00 +0000", "User-Agent": "", "X-Mailer": "",
			}
			for field, value := range want {
				if got.Header(field) != value {
					t.Errorf("%s is %q, want %q", field, got.Header(field), value)
				}
			}
			if subject, err := new(mime.WordDecoder).DecodeHeader(got.Header("Subject")); err != nil || subject != "Your code for Bücher" {
				t.Errorf("the subject is %q, %v", subject, err)
			}
			if !strings.HasPrefix(got.Header("Content-Type"), "multipart/alternative") || !got.Contains("text/plain") || !got.Contains("text/html") {
				t.Errorf("its parts are not both there: %s", got.Raw)
			}
		})
	}
}

// TestFailures has servers fail, and wants each told apart, and told without the
// address.
func TestFailures(t *testing.T) {
	tests := map[string]struct {
		failure mailbox.Failure
		options mailbox.Options
		change  func(*email.Config)
		to      string
		want    notify.Failure
	}{
		"a wrong password":       {change: func(c *email.Config) { c.Password = "wrong" }, want: notify.Failure{Code: "auth", Status: "535 5.7.8"}},
		"a stranger's server":    {change: func(c *email.Config) { c.Roots = nil }, want: notify.Failure{Code: "tls"}},
		"no STARTTLS":            {options: mailbox.Options{Plain: true}, want: notify.Failure{Code: "tls"}},
		"nobody listens":         {change: func(c *email.Config) { c.Port = 1 }, want: notify.Failure{Code: "connect"}},
		"greylisting":            {failure: mailbox.Failure{At: mailbox.AtRcpt, Code: 450, Enhanced: smtp.EnhancedCode{4, 2, 0}}, want: notify.Failure{Code: "recipient", Status: "450 4.2.0"}},
		"a full mailbox":         {failure: mailbox.Failure{At: mailbox.AtRcpt, Code: 552, Enhanced: smtp.EnhancedCode{5, 2, 2}}, want: notify.Failure{Code: "recipient", Status: "552 5.2.2", Permanent: true}},
		"a sender refused":       {failure: mailbox.Failure{At: mailbox.AtMail, Code: 550, Enhanced: smtp.EnhancedCode{5, 7, 1}}, want: notify.Failure{Code: "sender", Status: "550 5.7.1", Permanent: true}},
		"content refused":        {failure: mailbox.Failure{At: mailbox.AtData, Code: 554, Enhanced: smtp.EnhancedCode{5, 7, 1}}, want: notify.Failure{Code: "content", Status: "554 5.7.1", Permanent: true}},
		"gone at MAIL":           {failure: mailbox.Failure{At: mailbox.AtMail, Cut: true}, want: notify.Failure{Code: "sender"}},
		"gone at the end":        {failure: mailbox.Failure{At: mailbox.AtData, Cut: true}, want: notify.Failure{Code: notify.Unknown}},
		"an address that is odd": {to: "zoë@example.org", want: notify.Failure{Code: "address", Permanent: true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			options := test.options
			if options == (mailbox.Options{}) {
				options = asked
			}
			server := mailbox.Start(t, options)
			server.Fail(test.failure)
			config := configOf(t, server)
			if test.change != nil {
				test.change(&config)
			}
			to := test.to
			if to == "" {
				to = "ada.private@example.org"
			}
			expectFailure(t, send(t, t.Context(), config, to), test.want)
			if n := len(server.Inbox()); n != 0 {
				t.Errorf("%d mails arrived", n)
			}
		})
	}
}

func expectFailure(t *testing.T, err error, want notify.Failure) {
	t.Helper()
	var got *notify.Failure
	if !errors.As(err, &got) {
		t.Fatalf("the error is %v", err)
	}
	if got.Code != want.Code || got.Status != want.Status || got.Permanent != want.Permanent {
		t.Errorf("the failure is %+v, want %+v", *got, want)
	}
	for _, secret := range []string{"ada.private", "correct horse", "12345678", "not now"} {
		if strings.Contains(err.Error(), secret) {
			t.Errorf("the error tells %q: %v", secret, err)
		}
	}
}

// TestServersThatHang wants an attempt to end with its context, at whichever
// command the server falls silent.
func TestServersThatHang(t *testing.T) {
	for at, want := range map[string]string{mailbox.AtMail: "sender", mailbox.AtRcpt: "recipient", mailbox.AtData: notify.Unknown} {
		t.Run(at, func(t *testing.T) {
			server := mailbox.Start(t, asked)
			server.Fail(mailbox.Failure{At: at})
			ctx, cancel := context.WithCancel(t.Context())
			timer := time.AfterFunc(200*time.Millisecond, cancel)
			defer timer.Stop()
			expectFailure(t, send(t, ctx, configOf(t, server), "ada@example.org"), notify.Failure{Code: want})
		})
	}
}

// TestTakenAllTheSame has a server break the connection after it took the mail.
func TestTakenAllTheSame(t *testing.T) {
	server := mailbox.Start(t, asked)
	server.Fail(mailbox.Failure{At: mailbox.AtReset, Cut: true})
	if err := send(t, t.Context(), configOf(t, server), "ada@example.org"); err != nil {
		t.Error(err)
	}
	if n := len(server.Inbox()); n != 1 {
		t.Errorf("%d mails arrived", n)
	}
}

// TestConfigurationsThatAreWrong wants each refused with what to write instead.
func TestConfigurationsThatAreWrong(t *testing.T) {
	for want, config := range map[string]email.Config{
		`from "nobody"`:               {From: "nobody"},
		`envelope_from "a b"`:         {From: "a@example.com", EnvelopeFrom: "a b"},
		`reply_to "x\r\nBcc: evil@x"`: {From: "a@example.com", ReplyTo: "x\r\nBcc: evil@x"},
	} {
		if _, err := email.New(config); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
}
