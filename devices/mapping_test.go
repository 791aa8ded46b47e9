package devices_test

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"testing"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/portcullis-mfa/portcullis/devices"
)

// otherName is one otherName of a certificate's alternative names.
type otherName struct {
	kind  asn1.ObjectIdentifier
	tag   cryptobyte_asn1.Tag
	value string
}

var principal = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}

// alternativeNames makes the extension, with an e-mail address before others.
func alternativeNames(t testing.TB, names ...otherName) pkix.Extension {
	t.Helper()
	return alternativeNamesAfter(t, []string{"mail@example.com"}, names...)
}

func alternativeNamesAfter(t testing.TB, addresses []string, names ...otherName) pkix.Extension {
	t.Helper()
	var b cryptobyte.Builder
	b.AddASN1(cryptobyte_asn1.SEQUENCE, func(b *cryptobyte.Builder) {
		for _, address := range addresses {
			b.AddASN1(cryptobyte_asn1.Tag(1).ContextSpecific(), func(b *cryptobyte.Builder) { b.AddBytes([]byte(address)) })
		}
		for _, name := range names {
			b.AddASN1(cryptobyte_asn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
				b.AddASN1ObjectIdentifier(name.kind)
				b.AddASN1(cryptobyte_asn1.Tag(0).ContextSpecific().Constructed(), func(b *cryptobyte.Builder) {
					b.AddASN1(name.tag, func(b *cryptobyte.Builder) { b.AddBytes([]byte(name.value)) })
				})
			})
		}
	})
	der, err := b.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	return pkix.Extension{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}
}

func mapping(t testing.TB, written ...string) devices.Mapping {
	t.Helper()
	var m devices.Mapping
	for _, one := range written {
		attribute, err := devices.ParseAttribute(one)
		if err != nil {
			t.Fatal(err)
		}
		if attribute.String() != one {
			t.Errorf("%q is called %q", one, attribute)
		}
		m = append(m, attribute)
	}
	return m
}

func TestOwners(t *testing.T) {
	const text = cryptobyte_asn1.UTF8String
	subject := func(kind asn1.ObjectIdentifier, values ...any) *x509.Certificate {
		c := new(x509.Certificate)
		for _, value := range values {
			c.Subject.Names = append(c.Subject.Names, pkix.AttributeTypeAndValue{Type: kind, Value: value})
		}
		return c
	}
	upn := func(names ...otherName) *x509.Certificate {
		return &x509.Certificate{Extensions: []pkix.Extension{alternativeNames(t, names...)}}
	}
	emails := func(addresses ...string) *x509.Certificate { return &x509.Certificate{EmailAddresses: addresses} }
	malformed := &x509.Certificate{Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: []byte{0x30, 5, 0xa0}}}}
	cn, uid := asn1.ObjectIdentifier{2, 5, 4, 3}, asn1.ObjectIdentifier{0, 9, 2342, 19200300, 100, 1, 1}
	ada := devices.Owner{Email: "ada@example.com"}
	tests := []struct {
		name        string
		mapping     []string
		certificate *x509.Certificate
		want        devices.Owner // zero: nobody
	}{
		{"an e-mail address", []string{"email"}, emails("ada@example.com"), ada},
		{"in another case", []string{"email"}, emails("Ada@EXAMPLE.com"), ada},
		{"twice the same", []string{"email"}, emails("ada@example.com", "ADA@example.com"), ada},
		{"two different ones", []string{"email"}, emails("ada@example.com", "bob@example.com"), devices.Owner{}},
		{"one that can't be", []string{"email"}, emails("ada@example.com", "@"), devices.Owner{}},
		{"one without an @", []string{"email"}, emails("ada"), devices.Owner{}},
		{"one without an @ beside another", []string{"email", "subject CN"}, emails("ada@example.com", "ada"), devices.Owner{}},
		{"none", []string{"email"}, emails(), devices.Owner{}},
		{"the next attribute", []string{"upn", "email"}, emails("ada@example.com"), ada},
		{"the first decides", []string{"email", "subject CN"}, &x509.Certificate{
			EmailAddresses: []string{"not an address"}, Subject: subject(cn, "ada").Subject,
		}, devices.Owner{}},
		{"a principal name", []string{"upn"}, upn(otherName{principal, text, "ada@example.com"}), ada},
		{"a principal name that is a sign-in name", []string{"upn"}, upn(otherName{principal, text, "Ada"}), devices.Owner{Name: "ada"}},
		{"beside other names", []string{"upn"}, upn(otherName{asn1.ObjectIdentifier{1, 2, 3}, text, "bob"}, otherName{principal, text, "ada"}), devices.Owner{Name: "ada"}},
		{"two principal names", []string{"upn"}, upn(otherName{principal, text, "ada"}, otherName{principal, text, "bob"}), devices.Owner{}},
		{"an address isn't one", []string{"upn"}, upn(), devices.Owner{}},
		{"in another form of text", []string{"upn"}, upn(otherName{principal, cryptobyte_asn1.IA5String, "ada"}), devices.Owner{}},
		{"not UTF-8", []string{"upn"}, upn(otherName{principal, text, "ad\xff"}), devices.Owner{}},
		{"with NUL", []string{"upn"}, upn(otherName{principal, text, "ada\x00bob"}), devices.Owner{}},
		{"malformed", []string{"upn", "email"}, malformed, devices.Owner{}},
		{"a common name", []string{"subject CN"}, subject(cn, "Ada"), devices.Owner{Name: "ada"}},
		{"two common names", []string{"subject CN"}, subject(cn, "ada", "bob"), devices.Owner{}},
		{"a common name that is no text", []string{"subject CN"}, subject(cn, 7), devices.Owner{}},
		{"an id", []string{"subject UID"}, subject(uid, "ada"), devices.Owner{Name: "ada"}},
		{"another attribute", []string{"subject UID"}, subject(cn, "ada"), devices.Owner{}},
		{"no mapping", nil, emails("ada@example.com"), devices.Owner{}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			got, err := mapping(t, test.mapping...).Owner(test.certificate)
			if got != test.want || (err == nil) != (test.want != devices.Owner{}) || err != nil && !errors.Is(err, devices.ErrNobody) {
				t.Errorf("got %+v, %v", got, err)
			}
		})
	}
}

func TestAttributesThatAreNone(t *testing.T) {
	for _, written := range []string{"", "mail", "EMAIL", "email ", "email CN", "upn x", "subject", "subject ", "subject O", "subject cn", "subject CN UID"} {
		if attribute, err := devices.ParseAttribute(written); err == nil {
			t.Errorf("%q is taken for %q", written, attribute)
		}
	}
}

func FuzzAlternativeNames(f *testing.F) {
	f.Add(alternativeNames(f, otherName{principal, cryptobyte_asn1.UTF8String, "ada"}).Value)
	f.Add(alternativeNames(f).Value)
	f.Add([]byte{0x30, 0})
	f.Fuzz(func(t *testing.T, der []byte) {
		certificate := &x509.Certificate{Extensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, 17}, Value: der}}}
		owner, err := mapping(t, "upn").Owner(certificate)
		if (err == nil) == (owner == devices.Owner{}) {
			t.Errorf("%+v, %v", owner, err)
		}
	})
}
