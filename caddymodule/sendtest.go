package caddymodule

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/notify"
	"github.com/portcullis-mfa/portcullis/templates"
)

// testPatience is how long a test message may take, like each attempt of the outbox.
const testPatience = 20 * time.Second

// sendTest hands a test message over at once. It goes past the outbox, whose answer
// nobody could wait for, and past the limits on messages, which are for strangers.
func (s *service) sendTest(ctx context.Context, to string) (adminapi.HandedOver, error) {
	kind, address, err := s.recipientOf(to)
	if err != nil {
		return adminapi.HandedOver{}, err
	}
	id, err := notify.NewID(rand.Reader)
	if err != nil {
		return adminapi.HandedOver{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, testPatience)
	defer cancel()
	answer, err := s.writers[kind].Write(ctx, id, factors.Letter{To: address, Template: "test", Language: templates.English, Content: templates.TestMail{}})
	return adminapi.HandedOver{ID: id, Answer: answer}, err
}

// recipientOf returns the kind of message that an address is for, and the address in
// its one form.
func (s *service) recipientOf(to string) (assurance.Factor, string, error) {
	kind, address := assurance.Email, ""
	var err error
	if strings.HasPrefix(to, "+") {
		kind = assurance.SMS
		if e164.MatchString(to) {
			address = to
		}
	} else {
		address, err = identity.CanonicalEmail(to)
	}
	if err != nil || address == "" {
		return "", "", caddy.APIError{
			HTTPStatus: http.StatusUnprocessableEntity,
			Err:        errors.New("this is neither an e-mail address nor a phone number: write one such as alice@example.com or +491701234567"),
		}
	}
	if _, configured := s.writers[kind]; !configured {
		return "", "", caddy.APIError{
			HTTPStatus: http.StatusConflict, Err: fmt.Errorf("the configuration doesn't say how to send there: add the option %s", kind),
		}
	}
	return kind, address, nil
}

// e164 matches a number as it is handed over.
var e164 = regexp.MustCompile(`^\+[1-9][0-9]{6,14}$`)
