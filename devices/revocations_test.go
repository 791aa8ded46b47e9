package devices_test

import (
	"bytes"
	"crypto"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/devices"
)

// published is a CA whose revocation lists stand in a file.
type published struct {
	*issuing
	path     string
	chain    []*x509.Certificate // of a device, up to the root
	known    []*x509.Certificate // CAs that are known beforehand
	warnings []string
	looked   error // what the last look at the file came to
}

func newPublished(t *testing.T) *published {
	t.Helper()
	a := newIssuing(t)
	_, leaf := a.issue(request(t, new(x509.CertificateRequest), ecKey(t, elliptic.P256())))
	return &published{issuing: a, path: filepath.Join(t.TempDir(), "ca.crl"), chain: []*x509.Certificate{leaf, a.intermediate, a.root}}
}

// list makes a list of a CA that is good for a week.
func (p *published) list(ca *x509.Certificate, key crypto.Signer, revoked ...*x509.Certificate) []byte {
	p.t.Helper()
	return p.listLike(x509.RevocationList{Number: big.NewInt(1), ThisUpdate: today, NextUpdate: today.AddDate(0, 0, 7)}, ca, key, revoked...)
}

func (p *published) listLike(template x509.RevocationList, ca *x509.Certificate, key crypto.Signer, revoked ...*x509.Certificate) []byte {
	p.t.Helper()
	for _, certificate := range revoked {
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries,
			x509.RevocationListEntry{SerialNumber: certificate.SerialNumber, RevocationTime: today})
	}
	der, err := x509.CreateRevocationList(rand.Reader, &template, ca, key)
	if err != nil {
		p.t.Fatal(err)
	}
	return der
}

// publish puts a file in the place of the one that is there, later than that.
func (p *published) publish(content []byte) {
	p.t.Helper()
	later := p.path + ".new"
	if err := errors.Join(os.WriteFile(later, content, 0o600), os.Chtimes(later, p.now, p.now), os.Rename(later, p.path)); err != nil {
		p.t.Fatal(err)
	}
}

func (p *published) open() (*devices.Revocations, error) {
	return devices.OpenRevocations(devices.RevocationFile{
		Path: p.path, CAs: p.known, Clock: func() time.Time { return p.now },
		Warn:   func(message string, err error) { p.warnings = append(p.warnings, message+": "+err.Error()) },
		Looked: func(err error) { p.looked = err },
	})
}

func (p *published) mustOpen(content []byte) *devices.Revocations {
	p.t.Helper()
	p.publish(content)
	r, err := p.open()
	if err != nil {
		p.t.Fatal(err)
	}
	return r
}

func TestRevocations(t *testing.T) {
	p := newPublished(t)
	leaf := p.chain[0]
	own := func(revoked ...*x509.Certificate) []byte { return p.list(p.intermediate, p.key, revoked...) }
	asText := func(lists ...[]byte) (text []byte) {
		for _, der := range lists {
			text = append(text, asPEM("X509 CRL", der)...)
		}
		return text
	}
	// A CA of the same name, with another key.
	stranger := ecKey(t, elliptic.P256())
	sameName := p.authority("Intermediate", time.Hour, stranger, p.root, p.rootKey)
	tests := []struct {
		name    string
		content []byte
		want    string // "": not revoked
	}{
		{"an empty list", own(), ""},
		{"an empty list as text", asText(own()), ""},
		{"revoked", own(p.root, leaf), "revoked"},
		{"revoked, as text with words around it", slices.Concat([]byte("issued today\n"), asText(own(leaf)), []byte("the end\n")), "revoked"},
		{"another of the CA's", own(p.root), ""},
		{"in the second of two lists", asText(own(), own(leaf)), "revoked"},
		{"in the list of another CA", asText(own(), p.list(p.root, p.rootKey, leaf)), ""},
		{"its CA is revoked", asText(own(), p.list(p.root, p.rootKey, p.intermediate)), "revoked"},
		{"no list of its CA", p.list(p.root, p.rootKey), "no revocation list"},
		{"a list that its CA didn't sign", p.list(sameName, stranger), "signature"},
		{"revoked in a list that its CA didn't sign", p.list(sameName, stranger, leaf), "signature"},
		{"that one beside its CA's", asText(p.list(sameName, stranger, leaf), own()), ""},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			err := p.mustOpen(test.content).Check(p.chain)
			switch {
			case (err == nil) != (test.want == ""), err != nil && !strings.Contains(err.Error(), test.want):
				t.Errorf("got %v", err)
			case errors.Is(err, devices.ErrRevoked) != (test.want == "revoked"):
				t.Errorf("told as revoked: %v", err)
			}
		})
	}
	for _, chain := range [][]*x509.Certificate{nil, p.chain[:1]} {
		if err := p.mustOpen(own()).Check(chain); err == nil || errors.Is(err, devices.ErrRevoked) {
			t.Errorf("a chain of %d: %v", len(chain), err)
		}
	}
}

func TestC05RevocationListsThatAreRefused(t *testing.T) {
	p := newPublished(t)
	good := p.list(p.intermediate, p.key)
	critical := func(id asn1.ObjectIdentifier) []byte {
		return p.listLike(x509.RevocationList{
			Number: big.NewInt(1), ThisUpdate: today, NextUpdate: today.AddDate(0, 0, 7),
			ExtraExtensions: []pkix.Extension{{Id: id, Critical: true, Value: []byte{2, 1, 1}}},
		}, p.intermediate, p.key)
	}
	indirect := p.listLike(x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: today, NextUpdate: today.AddDate(0, 0, 7),
		RevokedCertificateEntries: []x509.RevocationListEntry{{
			SerialNumber: big.NewInt(7), RevocationTime: today,
			ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 29}, Critical: true, Value: []byte{0x30, 0}}},
		}},
	}, p.intermediate, p.key)
	overdue := p.listLike(x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: today.AddDate(0, 0, -7), NextUpdate: today.Add(-24*time.Hour - time.Second),
	}, p.intermediate, p.key)
	tests := map[string]struct {
		content []byte
		want    string
	}{
		"empty":                   {nil, "a revocation list"},
		"garbage":                 {[]byte("garbage"), "a revocation list"},
		"half":                    {good[:len(good)/2], "a revocation list"},
		"more behind it":          {append(slices.Clone(good), 0), "a revocation list"},
		"a certificate":           {asPEM("CERTIFICATE", p.root.Raw), "CERTIFICATE"},
		"a key beside it":         {append(asPEM("X509 CRL", good), asPEM("PRIVATE KEY", []byte("x"))...), "PRIVATE KEY"},
		"cut off":                 {append(asPEM("X509 CRL", good), []byte("-----BEGIN X509 CRL-----\nMIIB")...), "middle"},
		"a delta":                 {critical(asn1.ObjectIdentifier{2, 5, 29, 27}), "complete"},
		"for a part of them":      {critical(asn1.ObjectIdentifier{2, 5, 29, 28}), "complete"},
		"of other CAs' too":       {indirect, "complete"},
		"overdue":                 {overdue, "was due"},
		"one of two that is good": {append(asPEM("X509 CRL", good), asPEM("X509 CRL", []byte("x"))...), "a revocation list"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			p.publish(test.content)
			if r, err := p.open(); r != nil || err == nil || !strings.Contains(err.Error(), test.want) || !strings.Contains(err.Error(), p.path) {
				t.Errorf("got %v, %v", r, err)
			}
		})
	}
	if err := os.Remove(p.path); err != nil {
		t.Fatal(err)
	}
	if _, err := p.open(); !errors.Is(err, os.ErrNotExist) {
		t.Errorf("missing: %v", err)
	}
}

func TestListsAreHeldAgainstTheCAsThatAreKnown(t *testing.T) {
	p := newPublished(t)
	stranger := ecKey(t, elliptic.P256())
	sameName := p.authority("Root", time.Hour, stranger, nil, stranger)
	p.known = []*x509.Certificate{p.root}
	for name, test := range map[string]struct {
		content []byte
		fine    bool
	}{
		"its own":                 {p.list(p.root, p.rootKey), true},
		"of a CA below":           {p.list(p.intermediate, p.key), true},
		"of one of the same name": {p.list(sameName, stranger), false},
	} {
		t.Run(name, func(t *testing.T) {
			p.publish(test.content)
			if _, err := p.open(); (err == nil) != test.fine {
				t.Errorf("got %v", err)
			}
		})
	}
}

// TestC05ChangedRevocationLists changes the file while it is in use.
func TestC05ChangedRevocationLists(t *testing.T) {
	p := newPublished(t)
	r := p.mustOpen(p.list(p.intermediate, p.key))
	leaf := p.chain[0]
	steps := []struct {
		name    string
		after   time.Duration
		change  func()
		revoked bool
		told    int // warnings until then
	}{
		{"as opened", 0, nil, false, 0},
		{"within the second", 0, func() { p.publish(p.list(p.intermediate, p.key, leaf)) }, false, 0},
		{"after it", 2 * time.Second, nil, true, 0},
		{"garbage", time.Minute, func() { p.publish([]byte("garbage")) }, true, 1},
		{"garbage still", time.Minute, nil, true, 1},
		{"gone, an hour later", time.Hour, func() {
			if err := os.Remove(p.path); err != nil {
				t.Fatal(err)
			}
		}, true, 2},
		{"an older one, an hour later", time.Hour, func() {
			p.publish(p.listLike(x509.RevocationList{
				Number: big.NewInt(1), ThisUpdate: today.Add(-time.Second), NextUpdate: today.AddDate(0, 0, 14),
			}, p.intermediate, p.key))
		}, true, 3},
		{"of another CA alone, an hour later", time.Hour, func() { p.publish(p.list(p.root, p.rootKey)) }, true, 4},
		{"mended", time.Minute, func() { p.publish(p.list(p.intermediate, p.key)) }, false, 4},
	}
	for _, step := range steps {
		p.now = p.now.Add(step.after)
		if step.change != nil {
			step.change()
		}
		err := r.Check(p.chain)
		if errors.Is(err, devices.ErrRevoked) != step.revoked || err != nil && !step.revoked {
			t.Errorf("%s: %v", step.name, err)
		}
		if len(p.warnings) != step.told {
			t.Errorf("%s: warned of %q", step.name, p.warnings)
		}
	}
}

// TestRefusedListsAreReadNowAndThen has a file that can't be put in force lie
// there for a while, and then another in its place that looks like it.
func TestRefusedListsAreReadNowAndThen(t *testing.T) {
	p := newPublished(t)
	r := p.mustOpen(p.list(p.intermediate, p.key))
	before := r.Current()
	better := p.listLike(x509.RevocationList{Number: big.NewInt(2), ThisUpdate: today, NextUpdate: today.AddDate(0, 0, 7)}, p.intermediate, p.key)
	p.now = p.now.Add(time.Hour)
	p.publish(bytes.Repeat([]byte("x"), len(better)))
	changed := p.now
	if r.Current() != before || len(p.warnings) != 1 {
		t.Fatalf("warnings: %q", p.warnings)
	}
	p.publish(better)
	p.now = changed.Add(30 * time.Second)
	if r.Current() != before {
		t.Error("it was read again within a minute")
	}
	p.now = changed.Add(time.Minute)
	if r.Current() == before {
		t.Error("it wasn't read again after a minute")
	}
}

// TestOverdueLists passes the time when the next list was due: a warning, and a
// day later no certificate counts, until there is one. A restart changes
// nothing of that but that the day has to be kept to.
func TestOverdueLists(t *testing.T) {
	p := newPublished(t)
	r := p.mustOpen(p.list(p.intermediate, p.key))
	due := today.AddDate(0, 0, 7)
	for _, step := range []struct {
		at     time.Time
		passes bool
		told   int
	}{
		{due, true, 0},
		{due.Add(2 * time.Second), true, 1},
		{due.Add(24 * time.Hour), true, 2},
		{due.Add(24*time.Hour + time.Second), false, 3},
		{due.Add(24*time.Hour + 3*time.Second), false, 3},
		{due.Add(25*time.Hour + 5*time.Second), false, 5},
	} {
		p.now = step.at
		err := r.Check(p.chain)
		if (err == nil) != step.passes || errors.Is(err, devices.ErrRevoked) || len(p.warnings) != step.told {
			t.Errorf("%s: %v, warned of %q", step.at, err, p.warnings)
		}
	}
	for at, want := range map[time.Time]int{due: 0, due.Add(time.Second): 1, due.Add(24 * time.Hour): 1} {
		p.now, p.warnings = at, nil
		if _, err := p.open(); err != nil || len(p.warnings) != want {
			t.Errorf("started at %s: %v, warned of %q", at, err, p.warnings)
		}
	}
	p.now = due.Add(26 * time.Hour)
	if _, err := p.open(); err == nil || !strings.Contains(err.Error(), "was due") {
		t.Errorf("started too late: %v", err)
	}
	p.now, p.warnings = p.now.Add(time.Minute), nil
	p.publish(p.listLike(x509.RevocationList{
		Number: big.NewInt(1), ThisUpdate: p.now, NextUpdate: p.now.AddDate(0, 0, 7),
	}, p.root, p.rootKey))
	if err := r.Check(p.chain); err == nil || len(p.warnings) != 1 || !strings.Contains(p.warnings[0], "no revocation list") {
		t.Errorf("with a list of another CA in place of the one that is over: %v, warned of %q", err, p.warnings)
	}
	p.now = p.now.Add(time.Minute)
	p.publish(p.listLike(x509.RevocationList{
		Number: big.NewInt(2), ThisUpdate: p.now, NextUpdate: p.now.AddDate(0, 0, 7),
	}, p.intermediate, p.key))
	if err := r.Check(p.chain); err != nil {
		t.Errorf("with a new list: %v", err)
	}
}

// TestListsNameDevices looks devices up that the store alone knows.
func TestListsNameDevices(t *testing.T) {
	p := newPublished(t)
	device := devices.Describe(p.chain[0])
	device.Issuer = devices.IssuerName(p.intermediate.Subject)
	r := p.mustOpen(p.list(p.intermediate, p.key))
	before := r.Current()
	if before.Name(device) || r.Current() != before {
		t.Error("an empty list names it, or changes by itself")
	}
	p.now = p.now.Add(2 * time.Second)
	p.publish(p.list(p.intermediate, p.key, p.chain[0]))
	after := r.Current()
	if after == before || !after.Name(device) || after.Name(devices.Describe(p.root)) {
		t.Error("the changed list names another, or isn't there")
	}
	another := device
	another.Issuer = devices.IssuerName(p.root.Subject)
	if after.Name(another) {
		t.Error("one with the same number of another CA is named")
	}
	device.Serial = "no number"
	if after.Name(device) {
		t.Error("what is no number is named")
	}
}

func FuzzRevocationLists(f *testing.F) {
	f.Add([]byte("garbage"))
	f.Add([]byte("-----BEGIN X509 CRL-----\nMIIB"))
	f.Add(bytes.Repeat([]byte{0x30, 0x80}, 20))
	f.Fuzz(func(t *testing.T, content []byte) {
		path := filepath.Join(t.TempDir(), "ca.crl")
		if err := os.WriteFile(path, content, 0o600); err != nil {
			t.Fatal(err)
		}
		if r, err := devices.OpenRevocations(devices.RevocationFile{Path: path, Clock: time.Now, Warn: func(string, error) {}}); (r == nil) == (err == nil) {
			t.Errorf("%v, %v", r, err)
		}
	})
}
