package devices_test

import (
	"context"
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"testing"
	"time"

	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/session"
)

// adopting is a store without devices, and remembers to whom one would go.
type adopting struct{ owner devices.Owner }

func (a *adopting) LiveDevice(_ context.Context, l session.DeviceLookup) (session.LiveDevice, error) {
	if a.owner == (devices.Owner{}) {
		return session.LiveDevice{}, session.DeviceUnknown
	}
	return session.LiveDevice{ID: l.Certificate, Expires: today.AddDate(1, 0, 0)}, nil
}

func (a *adopting) Adopt(_ context.Context, _ []*x509.Certificate, owner devices.Owner) error {
	a.owner = owner
	return nil
}

// TestC01NameConstraints has a CA that may name certain addresses alone write
// others where constraints aren't looked for.
func TestC01NameConstraints(t *testing.T) {
	const text = cryptobyte_asn1.UTF8String
	root := sprout(t, nil, template("Root", true), ecKey(t, elliptic.P256()))
	under := func(change func(*x509.Certificate)) *branch {
		return sprout(t, root, changed(template("Narrow", true), change), ecKey(t, elliptic.P256()))
	}
	free := under(func(*x509.Certificate) {})
	host := under(func(c *x509.Certificate) { c.PermittedEmailAddresses = []string{"Example.com"} })
	below := under(func(c *x509.Certificate) { c.PermittedEmailAddresses = []string{".example.com"} })
	mailbox := under(func(c *x509.Certificate) { c.PermittedEmailAddresses = []string{"ada@example.com"} })
	excluded := under(func(c *x509.Certificate) { c.ExcludedEmailAddresses = []string{"example.com"} })
	hosts := under(func(c *x509.Certificate) { c.PermittedDNSDomains = []string{"example.com"} })
	for _, test := range []struct {
		name  string
		ca    *branch
		value string
		want  devices.Owner // zero: nobody
	}{
		{"without constraints", free, "bob@other.example", devices.Owner{Email: "bob@other.example"}},
		{"a sign-in name without constraints", free, "bob", devices.Owner{Name: "bob"}},
		{"of the host", host, "ada@EXAMPLE.com", devices.Owner{Email: "ada@example.com"}},
		{"of another host", host, "bob@other.example", devices.Owner{}},
		{"of a host below", host, "bob@sub.example.com", devices.Owner{}},
		{"of a host that ends alike", host, "bob@notexample.com", devices.Owner{}},
		{"a sign-in name", host, "bob", devices.Owner{}},
		{"below the domain", below, "ada@sub.example.com", devices.Owner{Email: "ada@sub.example.com"}},
		{"the domain itself", below, "bob@example.com", devices.Owner{}},
		{"the mailbox", mailbox, "ada@example.com", devices.Owner{Email: "ada@example.com"}},
		{"another mailbox", mailbox, "bob@example.com", devices.Owner{}},
		{"of an excluded host", excluded, "bob@example.com", devices.Owner{}},
		{"of one that isn't", excluded, "ada@other.example", devices.Owner{Email: "ada@other.example"}},
		{"a sign-in name where some are excluded", excluded, "bob", devices.Owner{}},
		{"an address where hosts are constrained", hosts, "ada@other.example", devices.Owner{Email: "ada@other.example"}},
		{"a sign-in name where hosts are", hosts, "bob", devices.Owner{}},
	} {
		for attribute, change := range map[string]func(*x509.Certificate){
			"upn": func(c *x509.Certificate) {
				c.ExtraExtensions = []pkix.Extension{alternativeNamesAfter(t, nil, otherName{principal, text, test.value})}
			},
			"subject CN": func(c *x509.Certificate) { c.Subject.CommonName = test.value },
		} {
			t.Run(test.name+" by "+attribute, func(t *testing.T) {
				leaf := sprout(t, test.ca, changed(template("laptop", false), change), ecKey(t, elliptic.P256()))
				rows := new(adopting)
				trust := devices.Trust{{
					Anchors: func() *x509.CertPool { return pool(root.certificate) }, Owners: mapping(t, attribute),
				}}
				reader := devices.NewReader(trust, rows, rows, func() time.Time { return today })
				_, err := reader.Read(t.Context(), []*x509.Certificate{leaf.certificate, test.ca.certificate}, time.Minute)
				if rows.owner != test.want || (err == nil) != (test.want != devices.Owner{}) || err != nil && !errors.Is(err, session.DeviceUnknown) {
					t.Errorf("it goes to %+v, %v", rows.owner, err)
				}
			})
		}
	}
}
