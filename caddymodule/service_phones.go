package caddymodule

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authenticator"
	"github.com/portcullis-mfa/portcullis/boundedlog"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors/push"
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
	bell := new(ceremony.Bell)
	s.unfollow = s.store.Follow(bell)
	s.authenticator, err = authenticator.NewApp(authenticator.AppSettings{
		Pages: s.pages, Brand: a.Name, Contact: a.Contact, Secure: a.Push.authenticator.Scheme == "https",
		API: authenticator.NewAPI(authenticator.APISettings{
			Companions: s.flows, Phones: phones, Nonces: s.keys.Codec("authenticator"), Bell: bell, Counters: s.store,
			Origin: a.Push.authenticator.String(), Clock: time.Now, Logger: boundedlog.New(a.logger.Named("authenticator")),
			Address: clientAddress, Ending: func() bool { return s.ending.Load() || caddy.Exiting() },
		}),
	})
	return err
}
