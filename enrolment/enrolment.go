// Package enrolment is how machines get their certificates by themselves: by a token for
// one enrolment or for a fleet, or by what somebody confirmed in a browser, and later by the
// certificate that they have.
//
//	fleet token ── Enrol ──▶ pending ── Enrol by a code, or an administrator ──▶ active
//	token or code ── Enrol ──▶ active ── Renew ──▶ active
//	                             │ an earlier certificate is renewed once more
//	                             ▼
//	                         suspended ── an administrator decides ──▶ active
//
// Of what a machine sends, only its key counts. What it says about itself is kept for
// people to read. The package must not know HTTP, or how certificates are encoded.
package enrolment

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"time"
	"unicode/utf8"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/store"
)

// The definite refusals. Texts for people are made at the edge.
var (
	// ErrRefused says that a token or a code doesn't count: it is unknown, expired, or
	// has been used for another key.
	ErrRefused = errors.New("the enrolment token doesn't count")
	// ErrKeyTaken says that the key has another certificate already.
	ErrKeyTaken = errors.New("another device has this key")
	// ErrInactive says that a device, or its user, may not get certificates at present.
	ErrInactive = errors.New("the device, or its user, isn't active")
	// ErrRevoked says that a device was revoked, or isn't known any more.
	ErrRevoked = errors.New("the device was revoked")
	// ErrExpired says that a certificate has expired, so it can't be renewed.
	ErrExpired = errors.New("the certificate has expired")
	// ErrClone says that two machines have the keys of one device, so it was suspended.
	ErrClone = errors.New("an earlier certificate of this device was renewed again: the device has been suspended")
)

// Issuer makes certificates; *devices.Authority does.
type Issuer interface {
	Issue(d store.Device, request []byte) (store.Device, []*x509.Certificate, error)
}

// Store is what this package needs of the store.
type Store interface {
	GetRecord(ctx context.Context, namespace, key string, now time.Time) (store.Record, error)
	Atomically(ctx context.Context, fn func(tx store.Tx) error) error
}

// Settings are what a Registrar is made of. All fields are needed.
type Settings struct {
	Store  Store
	Issuer Issuer
	Audit  *audit.Log
	Clock  func() time.Time
	Random io.Reader
}

// Registrar enrols machines and renews their certificates. It is safe for concurrent
// use.
type Registrar struct{ Settings }

// New returns a Registrar.
func New(s Settings) *Registrar { return &Registrar{s} }

// Claims are what a machine says about itself. Except for Former, they are shown and
// never relied on.
type Claims struct {
	Name, Machine, System, Agent, Protection string
	Address                                  string // of the client
	// Former is the Fingerprint of a certificate, expired or not, whose key the machine
	// has shown to have; empty: it has shown none. It can be relied on.
	Former string
}

// maxClaim bounds each claim, in characters.
const maxClaim = 64

// describe writes the claims into a device. Those that can't be shown are left out.
func (c Claims) describe(d *store.Device) {
	for _, claim := range []struct {
		from string
		to   *string
	}{{c.Machine, &d.Machine}, {c.System, &d.System}, {c.Agent, &d.Agent}, {c.Protection, &d.Protection}} {
		if text := shown(claim.from); text != "" {
			*claim.to = text
		}
	}
}

// shown returns a claim as people may see it; empty: they may not.
func shown(claim string) string {
	text, err := identity.CheckDisplayName(claim)
	if err != nil || utf8.RuneCountInString(text) > maxClaim {
		return ""
	}
	return text
}

// Issued is what a machine gets.
type Issued struct {
	Device store.Device
	// Certificate is the device's own.
	Certificate *x509.Certificate
}

// again returns the certificate that a device got before.
func again(d store.Device) (Issued, error) {
	certificate, err := x509.ParseCertificate(d.DER)
	if err != nil {
		return Issued{}, fmt.Errorf("reading a certificate that was issued before: %w", err)
	}
	return Issued{d, certificate}, nil
}

// keep remembers what is between a certificate and the anchor, for devices that don't
// send it.
func keep(ctx context.Context, tx store.Tx, chain []*x509.Certificate) error {
	for _, above := range chain[1:] {
		if err := tx.KeepIssuer(ctx, devices.IssuerRow(above)); err != nil {
			return err
		}
	}
	return nil
}
