package devices_test

import (
	"context"
	"crypto/elliptic"
	"crypto/x509"
	"errors"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// issuerRows is where issuers are kept, in memory.
type issuerRows struct{ kept []store.Issuer }

func (r *issuerRows) KeepIssuer(_ context.Context, i store.Issuer) error {
	r.kept = append(r.kept, i)
	return nil
}

func (r *issuerRows) ListIssuers(context.Context) ([]store.Issuer, error) { return r.kept, nil }

// renewed gives the CA another intermediate of the same name.
func (a *issuing) renewed() {
	a.key = ecKey(a.t, elliptic.P256())
	a.intermediate = a.authority("Intermediate", 365*24*time.Hour, a.key, a.root, a.rootKey)
}

// heldHere is the CA as the gate reads its certificates, with all its issuers
// that are known.
func (a *issuing) heldHere(issuers *devices.Issuers, superior *devices.Revocations) devices.Trust {
	return devices.Trust{{
		Anchors:       func() *x509.CertPool { return pool(a.root) },
		Intermediates: func() []*x509.Certificate { return issuers.With(a.Between()) },
		Superior:      superior,
	}}
}

func (a *issuing) reads(trust devices.Trust, presented ...*x509.Certificate) error {
	reader := devices.NewReader(trust, allKnown{}, nil, func() time.Time { return a.now })
	_, err := reader.Read(a.t.Context(), presented, time.Minute)
	return err
}

// TestRenewedIssuers has devices show their own certificate alone after the CA
// renewed its intermediate, twice, the second time unseen by this process.
func TestRenewedIssuers(t *testing.T) {
	a := newIssuing(t)
	request := request(t, &x509.CertificateRequest{}, ecKey(t, elliptic.P256()))
	issued := func() *x509.Certificate {
		_, chain, err := a.Issue(laptop, request)
		if err != nil {
			t.Fatal(err)
		}
		return chain[0]
	}
	var here devices.Issuers
	rows := new(issuerRows)
	refresh := func(issuers *devices.Issuers) {
		t.Helper()
		if err := issuers.Refresh(t.Context(), rows, a.Between(), a.now); err != nil {
			t.Fatal(err)
		}
	}
	refresh(&here)
	first := issued()
	a.renewed()
	second := issued()
	if err := a.reads(a.heldHere(&here, nil), second); err != nil {
		t.Errorf("of the renewed one, before the store was read again: %v", err)
	}
	refresh(new(devices.Issuers)) // on another node
	a.renewed()
	var anew devices.Issuers
	refresh(&anew)
	for name, known := range map[string]*devices.Issuers{"that saw each": &here, "that read the store": &anew} {
		for _, leaf := range []*x509.Certificate{first, second, issued()} {
			if err := a.reads(a.heldHere(known, nil), leaf); err != nil {
				t.Errorf("in a process %s: %v", name, err)
			}
		}
	}
	if len(rows.kept) != 3 {
		t.Errorf("%d issuers are kept", len(rows.kept))
	}
	a.now = a.intermediate.NotAfter.Add(time.Second)
	refresh(&anew)
	if left := len(anew.Known()); left != 0 {
		t.Errorf("%d are known after they expired", left)
	}
}

// TestC05KeptIssuersAreNoAnchors has issuers kept whose CA isn't trusted any more.
func TestC05KeptIssuersAreNoAnchors(t *testing.T) {
	old, present := newIssuing(t), newIssuing(t)
	_, chain, err := old.Issue(laptop, request(t, &x509.CertificateRequest{}, ecKey(t, elliptic.P256())))
	if err != nil {
		t.Fatal(err)
	}
	rows := new(issuerRows)
	for _, certificate := range []*x509.Certificate{old.intermediate, old.root} {
		rows.kept = append(rows.kept, devices.IssuerRow(certificate))
	}
	var issuers devices.Issuers
	if err := issuers.Refresh(t.Context(), rows, present.Between(), present.now); err != nil {
		t.Fatal(err)
	}
	for _, presented := range [][]*x509.Certificate{chain[:1], chain} {
		if err := present.reads(present.heldHere(&issuers, nil), presented...); !errors.Is(err, devices.UnknownIssuer) {
			t.Errorf("%d certificates: %v", len(presented), err)
		}
	}
}

// TestC02RevokedIssuers has the CA above take an intermediate back from which
// devices were issued here.
func TestC02RevokedIssuers(t *testing.T) {
	p := newPublished(t)
	a := &issuing{t: t, root: p.root, rootKey: p.rootKey, intermediate: p.intermediate, key: p.key, now: p.now}
	var issuers devices.Issuers
	issuers.With([]*x509.Certificate{p.intermediate})
	a.Authority = &devices.Authority{Signer: p.Signer, Root: p.Root}
	for name, test := range map[string]struct {
		lists *devices.Revocations
		want  error
	}{
		"of other intermediates": {p.mustOpen(p.list(p.root, p.rootKey)), nil},
		"of nothing above":       {p.mustOpen(p.list(p.intermediate, p.key)), nil},
		"of this one":            {p.mustOpen(p.list(p.root, p.rootKey, p.intermediate)), session.DeviceRevoked},
	} {
		for _, presented := range [][]*x509.Certificate{p.chain[:1], p.chain[:2]} {
			if err := a.reads(a.heldHere(&issuers, test.lists), presented...); !errors.Is(err, test.want) {
				t.Errorf("a list %s, %d certificates: %v", name, len(presented), err)
			}
		}
	}
}

// TestUnreadableIssuersHideNoOthers has a row in the store that is damaged.
func TestUnreadableIssuersHideNoOthers(t *testing.T) {
	a := newIssuing(t)
	rows := &issuerRows{[]store.Issuer{{Fingerprint: "damaged", Certificate: []byte("damaged")}, devices.IssuerRow(a.intermediate)}}
	var issuers devices.Issuers
	if err := issuers.Refresh(t.Context(), rows, nil, a.now); err == nil {
		t.Error("nobody is told of it")
	}
	if !slices.ContainsFunc(issuers.Known(), a.intermediate.Equal) {
		t.Error("the other one isn't known")
	}
}
