package gate

import (
	"context"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/session"
)

// needed returns the device without which a claim would not pass; nil: it would,
// by the session alone.
func (g *Gate) needed(r *request, c *claim) *session.LiveDevice {
	if c.sent == byConnection {
		return &c.device.LiveDevice
	}
	device, ok := c.beside.(*session.LiveDevice)
	if !ok || r.rule.Certificate == CertificateRequire {
		return device
	}
	if r.rule.Require.Missing(r.rule.counted(c.session.Proofs), g.Clock(), g.Weights) == assurance.Nothing {
		return nil
	}
	return device
}

// noteAdmission writes down, once an hour for each, that a device opened the app
// for somebody, by itself or beside a session that wouldn't have sufficed. Where
// the store is slow the request doesn't wait for it for long.
func (g *Gate) noteAdmission(r *request, c *claim, device *session.LiveDevice) {
	key, now := admission{device.ID, c.speaker.ID, r.origin}, g.Clock()
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
		audit.User: c.speaker.Name, audit.Device: device.Name, audit.App: r.origin, audit.Address: g.Address(r.Request),
	}
	if device.User.ID != c.speaker.ID {
		fields[audit.Owner] = device.User.Name
	}
	if signOn := c.signOn(); signOn != "" {
		fields[audit.SignOn] = audit.ShortID(signOn)
	}
	g.Audit.Record(ctx, audit.DeviceAdmitted, c.speaker.ID, fields)
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
