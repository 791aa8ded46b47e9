package caddymodule

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"
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
	address, err := identity.CanonicalEmail(to)
	if err != nil || address == "" {
		return adminapi.HandedOver{}, caddy.APIError{
			HTTPStatus: http.StatusUnprocessableEntity, Err: errors.New("this isn't an e-mail address: write one such as alice@example.com"),
		}
	}
	writer, configured := s.writers[assurance.Email]
	if !configured {
		return adminapi.HandedOver{}, caddy.APIError{
			HTTPStatus: http.StatusConflict, Err: errors.New("the configuration names no mail server: add the option email"),
		}
	}
	id, err := notify.NewID(rand.Reader)
	if err != nil {
		return adminapi.HandedOver{}, err
	}
	ctx, cancel := context.WithTimeout(ctx, testPatience)
	defer cancel()
	answer, err := writer.Write(ctx, id, factors.Letter{To: address, Template: "test", Language: templates.English, Content: templates.TestMail{}})
	return adminapi.HandedOver{ID: id, Answer: answer}, err
}
