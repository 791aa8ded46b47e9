package devices_test

import (
	"context"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"fmt"
	"math/big"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
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
	p.now = today
	operators.Revocations = p.mustOpen(p.list(p.intermediate, p.key))
	if device, err = read(operators); err != nil {
		t.Fatal(err)
	}
	p.now = today.AddDate(0, 0, 9)
	if _, err := read(operators); !errors.Is(err, devices.Unverifiable) {
		t.Errorf("a day after the next list was due: %v", err)
	}
	if err := device.Vouched(); !errors.Is(err, devices.Unverifiable) {
		t.Errorf("of an open connection: %v", err)
	}
	p.now = today
	operators.Revocations = p.mustOpen(p.list(p.root, p.rootKey))
	if _, err := read(operators); !errors.Is(err, devices.Unverifiable) {
		t.Errorf("of a CA without a list: %v", err)
	}
	operators.Revocations = nil
	if device, err := read(operators); err != nil || device.Vouched != nil {
		t.Errorf("of a CA that says nothing: %v", err)
	}
}

// TestL01RefusalsAreRemembered has a stranger send requests over one connection:
// what they presented is checked once for all of them. The same device with a
// whole chain isn't held to it.
func TestL01RefusalsAreRemembered(t *testing.T) {
	p := newPublished(t)
	roots, asked := x509.NewCertPool(), 0
	roots.AddCert(p.root)
	r := devices.NewReader(devices.Trust{{Anchors: func() *x509.CertPool { asked++; return roots }}}, allKnown{}, nil, func() time.Time { return p.now })
	for _, step := range []struct {
		name      string
		presented []*x509.Certificate
		after     time.Duration
		want      error
		asked     int // until then
	}{
		{"without its CA", p.chain[:1], 0, devices.UnknownIssuer, 1},
		{"again", p.chain[:1], 9 * time.Second, devices.UnknownIssuer, 1},
		{"with its CA", p.chain[:2], 0, nil, 2},
		{"without, and known", p.chain[:1], time.Second, nil, 2},
		{"without, verified an hour ago", p.chain[:1], time.Hour, devices.UnknownIssuer, 3},
		{"a CA's own", p.chain[1:], 0, devices.IsAuthority, 4},
		{"later", p.chain[1:], 10 * time.Second, devices.IsAuthority, 5},
		{"the clock set back", p.chain[1:], -time.Second, devices.IsAuthority, 6},
	} {
		p.now = p.now.Add(step.after)
		if _, err := r.Read(t.Context(), step.presented, time.Minute); !errors.Is(err, step.want) || asked != step.asked {
			t.Errorf("%s: %v, checked %d times", step.name, err, asked)
		}
	}
}

// TestC02RememberedCertificatesEndWithTheirChain passes the end of a CA whose
// device was read shortly before.
func TestC02RememberedCertificatesEndWithTheirChain(t *testing.T) {
	p := newPublished(t)
	roots := x509.NewCertPool()
	roots.AddCert(p.root)
	r := devices.NewReader(devices.Trust{{Anchors: func() *x509.CertPool { return roots }}}, allKnown{}, nil, func() time.Time { return p.now })
	until := p.chain[0].NotAfter
	for _, above := range p.chain[1:] {
		if above.NotAfter.Before(until) {
			until = above.NotAfter
		}
	}
	for after, want := range map[time.Duration]error{-time.Minute: nil, time.Second: devices.Expired} {
		p.now = until.Add(-time.Minute)
		if _, err := r.Read(t.Context(), p.chain[:2], time.Minute); err != nil {
			t.Fatal(err)
		}
		p.now = until.Add(after)
		if _, err := r.Read(t.Context(), p.chain[:2], time.Minute); !errors.Is(err, want) {
			t.Errorf("%s after the end: %v", after, err)
		}
	}
}

// TestL01StrangersCertificatesAreCheap has a stranger show what costs much to
// write out.
func TestL01StrangersCertificatesAreCheap(t *testing.T) {
	made := template("stranger", false)
	made.SerialNumber = new(big.Int).Lsh(big.NewInt(1), 8*1000)
	for i := range 3000 {
		made.Subject.OrganizationalUnit = append(made.Subject.OrganizationalUnit, fmt.Sprintf("unit %d", i))
	}
	leaf := sprout(t, nil, made, ecKey(t, elliptic.P256())).certificate
	r := devices.NewReader(devices.Trust{}, allKnown{}, nil, func() time.Time { return today })
	if _, err := r.Read(t.Context(), []*x509.Certificate{leaf}, time.Minute); !errors.Is(err, devices.Malformed) {
		t.Errorf("%d bytes: %v", len(leaf.Raw), err)
	}
	_, fields := devices.Refused([]*x509.Certificate{leaf}, devices.Malformed)
	if issuer := fields[audit.Issuer]; issuer != "of too long a name" {
		t.Errorf("its issuer is %q", issuer)
	}
	if serial := fields[audit.Serial]; len(serial) == 0 || len(serial) > 256 {
		t.Errorf("its serial number has %d letters", len(serial))
	}
}
