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
	"github.com/portcullis-mfa/portcullis/session"
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

// byCertificate asks the certificate who this is. It returns nothing where none
// was presented, and where the rule doesn't look.
func (g *Gate) byCertificate(r *request, mode CertificateMode) (*presented, error) {
	if mode == CertificateOff || r.TLS == nil {
		return nil, nil
	}
	if !strings.EqualFold(r.TLS.ServerName, r.host) {
		return nil, misdirected
	}
	if len(r.TLS.PeerCertificates) == 0 {
		return nil, nil
	}
	device, err := g.Devices.Read(r.Context(), r.TLS.PeerCertificates, g.MaxStaleness)
	if err != nil {
		return nil, err
	}
	return &presented{Presented: device}, nil
}

// identify asks certificate and session who this is, as a rule has it. Proofs
// of one person add up. Where the two name different people the session
// decides, and the certificate counts only where one is required.
//
// A certificate that doesn't count takes nothing away from a session: it is as
// if there were none, unless the rule requires one. Without a session it is
// what the error tells of. So whoever was told of it, and signed in, passes with
// the same certificate in the browser.
func (g *Gate) identify(r *request, rule *Rule) (visit, error) {
	device, refusal := g.byCertificate(r, rule.Certificate)
	if device == nil && rule.Certificate == CertificateRequire {
		if refusal == nil {
			refusal = missing
		}
		return visit{}, refusal
	}
	v, err := g.bySession(r)
	switch {
	case err == nil:
		v.proofs = rule.counted(v.session.Proofs)
		if device != nil {
			r.addTo(&v, device, rule.Certificate)
		}
		return v, nil
	case !errors.Is(err, errNobody):
		return visit{}, err
	case refusal != nil:
		return visit{}, refusal
	case device == nil:
		return visit{}, errNobody
	}
	r.connection.Terms = session.Terms{Anchor: &device.LiveDevice, MaxStaleness: g.MaxStaleness}
	return visit{user: device.User, device: device, proofs: append(device.room[:0], device.proof())}, nil
}

// opensByDevice reports whether the certificate of a connection opens something
// here by itself, whoever has signed out.
func (g *Gate) opensByDevice(r *request) bool {
	return slices.ContainsFunc(g.Rules, func(rule Rule) bool {
		if rule.Open || rule.Certificate == CertificateOff {
			return false
		}
		device, err := g.byCertificate(r, rule.Certificate)
		if err != nil || device == nil || !rule.Allows(device.User.User) {
			return false
		}
		return rule.ask(true).Missing([]assurance.Proof{device.proof()}, g.Clock(), g.Enabled) == assurance.Nothing
	})
}

// addTo lets a device count beside a session.
func (r *request) addTo(v *visit, device *presented, mode CertificateMode) {
	own := device.User.ID == v.session.User
	if own {
		v.device = device
		v.proofs = append(device.room[:0], device.proof())
		for _, p := range v.session.Proofs {
			if p.Factor != assurance.Certificate {
				v.proofs = append(v.proofs, p)
			}
		}
	}
	if own || mode == CertificateRequire {
		r.connection.Beside = &device.LiveDevice
	}
}

// counted returns, of what a session proves, what counts at the rule: no
// certificate by which the portal was entered, where the rule ignores them.
func (rule *Rule) counted(proofs []assurance.Proof) []assurance.Proof {
	if rule.Require.Certificate != assurance.CertificateIgnored {
		return proofs
	}
	for i, p := range proofs {
		if p.Factor == assurance.Certificate {
			kept := append([]assurance.Proof(nil), proofs[:i]...)
			return append(kept, proofs[i+1:]...)
		}
	}
	return proofs
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

// isForgedByDevice is isForged for a request that a certificate alone speaks
// for. A browser shows it whoever's page asks, so the gate does what
// SameSite=Lax does for a session: of what another site's page sends, only
// going to a page passes. A WebSocket has to come from the app's own origin,
// since no browser asks whether another's may open one.
func (g *Gate) isForgedByDevice(r *request) bool {
	if origin := r.Header.Get("Origin"); opensSocket(r.Request) {
		return origin != "" && origin != r.origin || r.fromAnotherSite()
	}
	if g.SameSite == http.SameSiteNoneMode {
		return g.isForged(r)
	}
	return r.fromAnotherSite() && (kindOf(r.Request) != navigation || r.Header.Get("Origin") != "")
}

// opensSocket reports whether a request asks for a WebSocket.
func opensSocket(r *http.Request) bool {
	return r.Header.Get("Upgrade") != "" || r.Method == http.MethodConnect
}

// refusalOf returns the reason why a certificate was refused, as its texts have
// it, or false for an error that says no such thing.
func refusalOf(err error) (reason string, ok bool) {
	if place := misplaced(""); errors.As(err, &place) {
		return string(place), true
	}
	return devices.ReasonOf(err)
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

// needed returns the device without which a visit would not pass; nil: it would,
// by the session alone.
func (g *Gate) needed(r *request, v visit) *session.LiveDevice {
	if v.session == nil {
		return &v.device.LiveDevice
	}
	device, _ := r.connection.Beside.(*session.LiveDevice)
	if device == nil || r.rule.Certificate == CertificateRequire {
		return device
	}
	if r.rule.Require.Missing(r.rule.counted(v.session.Proofs), g.Clock(), g.Enabled) == assurance.Nothing {
		return nil
	}
	return device
}

// noteAdmission writes down, once an hour for each, that a device opened the app
// for somebody, by itself or beside a session that wouldn't have sufficed. Where
// the store is slow the request doesn't wait for it for long.
func (g *Gate) noteAdmission(r *request, v visit, device *session.LiveDevice) {
	key, now := admission{device.ID, v.user.ID, r.origin}, g.Clock()
	if noted, ok := g.admissions.GetIfPresent(key); ok {
		if now.Sub(noted) < admissionsApart {
			return
		}
		g.admissions.Invalidate(key)
	}
	if _, first := g.admissions.SetIfAbsent(key, now); !first {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), auditTimeout)
	defer cancel()
	fields := audit.Fields{
		audit.User: v.user.Name, audit.Device: device.Name, audit.App: r.origin, audit.Address: g.Address(r.Request),
	}
	if device.User.ID != v.user.ID {
		fields[audit.Owner] = device.User.Name
	}
	if v.session != nil {
		fields[audit.SignOn] = audit.ShortID(v.session.SignOn)
	}
	g.Audit.Record(ctx, audit.DeviceAdmitted, v.user.ID, fields)
}

const (
	// admissionsApart is how long after one admission of a device to an app the
	// next one is written down, and maxAdmissions how many are remembered.
	admissionsApart = time.Hour
	maxAdmissions   = 50_000
	auditTimeout    = 2 * time.Second
)

// admission is a device's being let into an app for a user.
type admission struct{ device, user, app string }
