package caddymodule

import (
	"crypto/rand"
	"crypto/x509"
	"time"

	"github.com/portcullis-mfa/portcullis/boundedlog"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/enrolment"
	"github.com/portcullis-mfa/portcullis/est"
	"github.com/portcullis-mfa/portcullis/portal"
)

// makeEnrolment makes what machines enrol with, where certificates are issued.
func (s *service) makeEnrolment(a *App) {
	issuer := a.issuer()
	if issuer == nil {
		return
	}
	registrar := enrolment.New(enrolment.Settings{
		Store: s.store, Issuer: issuer, Audit: s.audit, Clock: time.Now, Random: rand.Reader,
	})
	s.desk.Enrolment, s.selfService.Enrolment = registrar, registrar
	authority, held := a.Certificate.authority, a.trust()[0]
	s.enrolment = est.New(est.Settings{
		Registrar: registrar,
		CAs:       func() []*x509.Certificate { return append(authority.Between(), authority.Root()) },
		Verify: func(presented []*x509.Certificate) error {
			anchors := devices.Anchors{Roots: held.Anchors(), Intermediates: held.Intermediates()}
			_, err := devices.Verify(presented, anchors, time.Now())
			return err
		},
		Confirm: a.portal.JoinPath(portal.TypedPath).String(),
		Nonces:  est.Nonces{Codec: s.keys.Codec("enrolment"), Clock: time.Now}, Address: clientAddress,
		Logger: boundedlog.New(a.logger.Named("enrolment")),
	})
}
