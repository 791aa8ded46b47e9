package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authenticator"
	"github.com/portcullis-mfa/portcullis/boundedlog"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors/push"
	"github.com/portcullis-mfa/portcullis/notify"
	"github.com/portcullis-mfa/portcullis/notify/webpush"
	"github.com/portcullis-mfa/portcullis/stream"
)

// makeAuthenticator makes what serves the phone's app, unless push is off.
func (s *service) makeAuthenticator(a *App) error {
	if a.Push.Off {
		return nil
	}
	factor, err := s.factors.Get(assurance.Push)
	if err != nil {
		return fmt.Errorf("setting up the authenticator: %w", err)
	}
	phones, ok := factor.(*push.Factor)
	if !ok {
		return fmt.Errorf("setting up the authenticator: phones are a %T", factor)
	}
	key, err := webpush.PublicKey(s.pushKey)
	if err != nil {
		return err
	}
	s.authenticator, err = authenticator.NewApp(authenticator.AppSettings{
		Pages: s.pages, Brand: a.Name, Contact: a.Contact, Secure: a.Push.authenticator.Scheme == "https",
		API: authenticator.NewAPI(authenticator.APISettings{
			Companions: s.flows, Kind: assurance.Push, Phones: phones, Nonces: s.keys.Codec("authenticator"), Bell: s.bell, Counters: s.store, Incarnation: s.store.Incarnation,
			Origin: a.Push.authenticator.String(), Key: key, Clock: time.Now, Logger: boundedlog.New(a.logger.Named("authenticator")),
			Address: clientAddress, Ending: s.isEnding, Streams: &stream.Room{Each: mostOfPhone, All: mostStreams},
		}),
	})
	return err
}

// What streams are bounded by: an app has a stream for each account and window, and browsers
// open six connections to a host.
const (
	mostStreams   = 10_000
	mostOfPhone   = 4
	mostOfBrowser = 8
)

// isEnding reports whether streams have to end, be it for a new configuration alone.
func (s *service) isEnding() bool { return s.ending.Load() || caddy.Exiting() }

// makePushWriter makes what notifies phones of requests.
func (s *service) makePushWriter(a *App) notify.Writer {
	return webpush.New(webpush.Settings{
		Key: s.pushKey, Subject: a.Push.Subject, Allowed: webpush.Allows(a.Push.Services), Proxy: a.Push.proxy,
		Text: s.pages.Text, Clock: time.Now, Drop: s.dropSubscription,
	})
}

// dropSubscription forgets where a phone could be notified, since its push service
// doesn't know it any more, unless it has subscribed elsewhere by now.
func (s *service) dropSubscription(ctx context.Context, gone push.Phone) error {
	companion, err := s.flows.Companion(ctx, assurance.Push, gone.Thumbprint)
	if errors.Is(err, credentials.ErrUnknown) {
		return nil
	}
	if err != nil {
		return err
	}
	phone, err := push.ReadPhone(companion.Credential.Secret)
	if err != nil || phone.Endpoint() != gone.Endpoint() {
		return err
	}
	phone.Subscription = nil
	secret, err := phone.Secret()
	if err != nil {
		return err
	}
	return s.flows.LoseTouch(ctx, companion, secret)
}
