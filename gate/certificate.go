package gate

import (
	"context"
	"crypto/x509"
	"errors"
	"net/http"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/devices"
)

// CertificateMode says what the certificate of a device does at a rule.
type CertificateMode int

// The modes.
const (
	// CertificateOff: whether one was presented isn't even looked at.
	CertificateOff CertificateMode = iota
	// CertificateAccept: it says who asks, and counts beside a session.
	CertificateAccept
	// CertificateRequire: nobody passes without one.
	CertificateRequire
	// CertificateAndPassword: with one, the password is all that people are
	// asked for.
	CertificateAndPassword
)

// Devices tells by what a TLS client presented which device it is; package
// devices offers it.
type Devices interface {
	Read(ctx context.Context, presented []*x509.Certificate, maxStaleness time.Duration) (devices.Presented, error)
}

// misplaced says why a certificate, or its absence, says nothing about a
// request.
type misplaced string

const (
	// missing: none was presented where one is required.
	missing misplaced = "missing"
	// misdirected: TLS was made with another host than the request is for. Each
	// host asks for certificates by itself, and what was shown to one is never
	// carried to another.
	misdirected misplaced = "misdirected"
)

func (m misplaced) Error() string { return "certificate: " + string(m) }

// presented is a device that counts at this request, with room for what the
// person has proved beside it: a session seldom has more than three proofs.
type presented struct {
	devices.Presented
	room [4]assurance.Proof
}

func (p *presented) proof() assurance.Proof {
	return assurance.Proof{Factor: assurance.Certificate, At: p.Verified, Credential: p.ID}
}

// certificateReader reads the certificates that TLS clients present.
type certificateReader struct{ *Gate }

// take implements reader. A certificate is in no header, and no app sees it.
func (certificateReader) take(*request) error { return nil }

// read implements reader.
func (c certificateReader) read(r *request, rule *Rule) (claim, error) {
	device, err := c.readDevice(r, rule.Certificate)
	switch {
	case err != nil:
		return claim{}, err
	case device == nil && rule.Certificate == CertificateRequire:
		return claim{}, missing
	case device == nil:
		return claim{}, errAbsent
	}
	return claim{
		speaker: device.User, proofs: append(device.room[:0], device.proof()), sent: byConnection, expires: device.Expires,
		anchor: &device.LiveDevice, device: device,
	}, nil
}

// readDevice returns nothing where no certificate was presented, and where the
// rule doesn't look at any.
func (c certificateReader) readDevice(r *request, mode CertificateMode) (*presented, error) {
	if mode == CertificateOff || r.TLS == nil {
		return nil, nil
	}
	if !strings.EqualFold(r.TLS.ServerName, r.host) {
		return nil, misdirected
	}
	if len(r.TLS.PeerCertificates) == 0 {
		return nil, nil
	}
	device, err := c.Devices.Read(r.Context(), r.TLS.PeerCertificates, c.MaxStaleness)
	if err != nil {
		return nil, err
	}
	return &presented{Presented: device}, nil
}

// opensByDevice reports whether the certificate of a connection opens something
// here by itself, whoever has signed out.
func (g *Gate) opensByDevice(r *request) bool {
	return slices.ContainsFunc(g.Rules, func(rule Rule) bool {
		if rule.Open {
			return false
		}
		device, err := certificateReader{g}.read(r, &rule)
		if err != nil || !rule.Allows(device.speaker.User) {
			return false
		}
		return rule.ask(true).Missing(device.proofs, g.Clock(), g.Weights) == assurance.Nothing
	})
}

// ask returns what the rule asks of the person, beside a certificate of theirs
// or without one. The portal is asked for the same.
func (rule *Rule) ask(certified bool) assurance.Requirement {
	if !certified || rule.Certificate != CertificateAndPassword || rule.Require.Level > assurance.Multi {
		return rule.Require
	}
	return assurance.Requirement{
		Level: assurance.Single, MaxAge: rule.Require.MaxAge, Certificate: rule.Require.Certificate,
	}
}

// refusalOf returns the reason why a certificate was refused, as its texts have
// it, or false for an error that says no such thing.
func refusalOf(err error) (reason string, ok bool) {
	if place := misplaced(""); errors.As(err, &place) {
		return string(place), true
	}
	return devices.ReasonOf(err)
}

// refusedCertificate is the refusal of a certificate, or of its absence.
type refusedCertificate struct {
	reason string // as its texts have it
	error
}

func (c refusedCertificate) answer(g *Gate, w http.ResponseWriter, r *request) {
	g.refuseCertificate(w, r, c.reason, c.error)
}

// asRefusal makes a refusal of an error that says why a certificate was refused,
// and leaves others as they are.
func asRefusal(err error) error {
	if reason, refused := refusalOf(err); refused {
		return refusedCertificate{reason, err}
	}
	return err
}

// refuseCertificate tells somebody what is wrong with their certificate, and
// how to sign in without, where the rule allows that.
func (g *Gate) refuseCertificate(w http.ResponseWriter, r *request, reason string, err error) {
	g.noteRefusal(r, reason, err)
	p := problem{
		Key: "certificate.refused.", Text: "certificate.because." + reason, Values: map[string]any{"Host": r.host},
		ActionURL: r.againLink(), Framed: true,
	}
	status := http.StatusForbidden
	switch {
	case reason == string(missing):
		p.Key = "certificate.missing."
	case reason == string(misdirected):
		// The client then opens a connection to this host (RFC 9110 §15.5.20).
		p.Key, status = "certificate.misdirected.", http.StatusMisdirectedRequest
	case r.rule.Certificate == CertificateRequire:
		p.Key = "certificate.required."
	default:
		status = http.StatusUnauthorized
		p.Type, p.Required = typeSignIn, r.rule.Require
		to := r.again()
		if kindOf(r.Request) == framed {
			to = r.around()
		}
		p.ActionURL = signInPath(p.Required, to)
		p.SignIn = r.origin + signInPath(p.Required, "")
	}
	g.problemWith(w, r, status, p)
}

func (g *Gate) noteRefusal(r *request, reason string, err error) {
	var presented []*x509.Certificate
	if r.TLS != nil {
		presented = r.TLS.PeerCertificates
	}
	user, fields := devices.Refused(presented, err)
	fields[audit.App], fields[audit.Reason], fields[audit.Address] = r.origin, reason, g.Address(r.Request)
	g.Audit.Note(audit.DeviceRefused, user, fields)
}

var _ reader = certificateReader{}
