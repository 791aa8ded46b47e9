package devices_test

import (
	"context"
	"crypto/x509"
	"errors"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/session"
)

// allKnown is a store in which each certificate is of a device that counts.
type allKnown struct{}

func (allKnown) LiveDevice(_ context.Context, l session.DeviceLookup) (session.LiveDevice, error) {
	return session.LiveDevice{ID: l.Certificate, Expires: today.AddDate(1, 0, 0)}, nil
}

// TestC02WhatIsReadCanBeAskedAboutLater has the operator's CA take a certificate
// back after it was read, and wants open connections to hear of it.
func TestC02WhatIsReadCanBeAskedAboutLater(t *testing.T) {
	p := newPublished(t)
	roots := x509.NewCertPool()
	roots.AddCert(p.root)
	operators := devices.Authorised{
		Anchors: func() *x509.CertPool { return roots }, Owners: devices.Mapping{},
		Revocations: p.mustOpen(p.list(p.intermediate, p.key)),
	}
	read := func(ca devices.Authorised) (devices.Presented, error) {
		return devices.NewReader(devices.Trust{ca}, allKnown{}, nil, func() time.Time { return p.now }).Read(t.Context(), p.chain[:2], time.Minute)
	}
	device, err := read(operators)
	if err != nil || device.Vouched() != nil {
		t.Fatalf("%v, %v", err, device.Vouched())
	}
	if device.Expires.After(p.chain[0].NotAfter) {
		t.Errorf("counts until %v", device.Expires)
	}
	p.now = p.now.Add(2 * time.Second)
	p.publish(p.list(p.intermediate, p.key, p.chain[0]))
	if err := device.Vouched(); !errors.Is(err, session.DeviceRevoked) {
		t.Errorf("afterwards: %v", err)
	}
	if _, err := read(operators); !errors.Is(err, session.DeviceRevoked) {
		t.Errorf("read again: %v", err)
	}
	operators.Revocations = nil
	if device, err := read(operators); err != nil || device.Vouched != nil {
		t.Errorf("of a CA that says nothing: %v", err)
	}
}
