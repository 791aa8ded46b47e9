package adminapi

import (
	"context"
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/portcullis-mfa/portcullis/notify"
)

// testMessage hands a test message over while the command waits, and returns what the
// server answered.
func testMessage(ctx context.Context, s *Server, r *http.Request) (any, error) {
	var in TestMessage
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	handed, err := s.SendTest(ctx, in.To)
	var failed *notify.Failure
	if errors.As(err, &failed) {
		text := failed.Error()
		if advice := advices[failed.Code]; advice != "" {
			text += ". " + advice
		}
		return nil, caddy.APIError{HTTPStatus: http.StatusBadGateway, Err: errors.New(text)}
	}
	return handed, err
}

// advices say what to do about a failure, by its code.
var advices = map[string]string{
	"connect":   "Check the address of the server in the configuration, and whether a firewall lets this machine reach it",
	"greeting":  "The server refuses to talk to this machine. Ask the people who run it whether this machine may send through it",
	"tls":       "Check that smtp names the host that is in the server's certificate. If the certificate is from a CA of your own, name the CA's certificate with ca",
	"auth":      "Check username and password. Some providers require a separate password for this (an app password), or have to allow the account to send by SMTP first",
	"sender":    "The server doesn't accept the sender. Write an address in from (and envelope_from) that the account may send from",
	"recipient": "The server doesn't accept the recipient. Check the address. If it's right, the account may not be allowed to send there, or the server wants you to try again later",
	"address":   "Check the address",
	"data":      "The server accepted the sender and the recipient, but not the message. Its own log says why",
	"gateway":   "Compare the option gateway (or twilio) with the gateway's documentation. The gateway's own log says why it refused the message",
	"redirect":  "Write the address that the gateway redirects to",
	"content":   "The server read the message and refused it. Its own log says why, such as a spam filter or a size limit",
	notify.Unknown: "The server may have accepted the message anyway. " +
		"Check the mailbox before you try again",
}

type (
	// TestMessage asks for a message that shows whether messages can be sent.
	TestMessage struct {
		To string `json:"to"`
	}
	// HandedOver is the response when a server accepted a message.
	HandedOver struct {
		ID     string `json:"id"` // of the message; for e-mail, part of its Message-ID
		Answer string `json:"answer,omitempty"`
	}
)
