package devices

import (
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"fmt"
	"maps"
	"slices"
	"strings"
	"unicode/utf8"

	"golang.org/x/crypto/cryptobyte"
	cryptobyte_asn1 "golang.org/x/crypto/cryptobyte/asn1"

	"github.com/portcullis-mfa/portcullis/identity"
)

// ErrNobody says that a certificate doesn't name one user in the way that its
// CA is mapped: none, or different ones.
var ErrNobody = errors.New("the certificate doesn't name one user")

// Owner is whom a certificate names, in the canonical form under which the
// store knows them: by the sign-in name or by the e-mail address, never both.
type Owner struct{ Name, Email string }

// Mapping says what in a certificate names its user. The first that is there
// decides.
type Mapping []Attribute

// Attribute is a part of a certificate that can name its user.
type Attribute struct {
	name   string
	values func(*x509.Certificate) ([]string, error)
}

// subjectAttributes are the attributes of a subject that can name a user (RFC
// 4519 §2).
var subjectAttributes = map[string]asn1.ObjectIdentifier{
	"CN":           {2, 5, 4, 3},
	"UID":          {0, 9, 2342, 19200300, 100, 1, 1},
	"serialNumber": {2, 5, 4, 5},
}

// ParseAttribute reads what a configuration calls an attribute: "email", "upn",
// or "subject" and the name of one of the subject's.
func ParseAttribute(written string) (Attribute, error) {
	name, of, _ := strings.Cut(written, " ")
	switch {
	case written == "email":
		return Attribute{written, addresses}, nil
	case written == "upn":
		return Attribute{written, principalNames}, nil
	case name == "subject" && subjectAttributes[of] != nil:
		return Attribute{written, func(c *x509.Certificate) ([]string, error) {
			return subjectValues(c.Subject, subjectAttributes[of]), nil
		}}, nil
	}
	return Attribute{}, fmt.Errorf("map %q: write email, upn or subject with one of %s", written,
		strings.Join(slices.Sorted(maps.Keys(subjectAttributes)), ", "))
}

// String returns what ParseAttribute reads.
func (a Attribute) String() string { return a.name }

// Owner returns whom a certificate names. A value with an @ is an e-mail
// address, any other a sign-in name. ErrNobody where it names no one, several,
// or one whom nobody could be called.
func (m Mapping) Owner(certificate *x509.Certificate) (Owner, error) {
	for _, attribute := range m {
		values, err := attribute.values(certificate)
		if err != nil {
			return Owner{}, fmt.Errorf("%w: reading its %s: %w", ErrNobody, attribute, err)
		}
		if len(values) > 0 {
			return oneOwner(attribute, values)
		}
	}
	return Owner{}, ErrNobody
}

func oneOwner(attribute Attribute, values []string) (Owner, error) {
	var owner Owner
	for i, value := range values {
		named, err := ownerCalled(value)
		if err != nil {
			return Owner{}, fmt.Errorf("%w: its %s: %w", ErrNobody, attribute, err)
		}
		if i > 0 && named != owner {
			return Owner{}, fmt.Errorf("%w: its %s names several", ErrNobody, attribute)
		}
		owner = named
	}
	return owner, nil
}

func ownerCalled(value string) (owner Owner, err error) {
	if strings.Contains(value, "@") {
		owner.Email, err = identity.CanonicalEmail(value)
	} else {
		owner.Name, err = identity.CanonicalName(value)
	}
	return owner, err
}

var errNoAddress = errors.New("what should be an e-mail address has no @")

// addresses returns the e-mail addresses among the alternative names. A CA that
// lets people choose those checks addresses, not sign-in names, so none may pass
// for one.
func addresses(certificate *x509.Certificate) ([]string, error) {
	for _, address := range certificate.EmailAddresses {
		if !strings.Contains(address, "@") {
			return nil, errNoAddress
		}
	}
	return certificate.EmailAddresses, nil
}

func subjectValues(subject pkix.Name, kind asn1.ObjectIdentifier) []string {
	var values []string
	for _, attribute := range subject.Names {
		if value, ok := attribute.Value.(string); ok && attribute.Type.Equal(kind) {
			values = append(values, value)
		}
	}
	return values
}

var (
	subjectAlternativeName = asn1.ObjectIdentifier{2, 5, 29, 17}
	nameConstraints        = asn1.ObjectIdentifier{2, 5, 29, 30}
	// principalName is the user principal name of Active Directory, as an
	// otherName of the subject's alternative names.
	principalName = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 311, 20, 2, 3}
	errNames      = errors.New("its alternative names are malformed")
)

// principalNames reads the otherNames of the subject's alternative names (RFC
// 5280 §4.2.1.6), which crypto/x509 leaves out.
func principalNames(certificate *x509.Certificate) ([]string, error) {
	i := slices.IndexFunc(certificate.Extensions, func(e pkix.Extension) bool { return e.Id.Equal(subjectAlternativeName) })
	if i < 0 {
		return nil, nil
	}
	extension := cryptobyte.String(certificate.Extensions[i].Value)
	var all cryptobyte.String
	if !extension.ReadASN1(&all, cryptobyte_asn1.SEQUENCE) || !extension.Empty() {
		return nil, errNames
	}
	var names []string
	for !all.Empty() {
		var one cryptobyte.String
		var tag cryptobyte_asn1.Tag
		if !all.ReadAnyASN1(&one, &tag) {
			return nil, errNames
		}
		if tag != cryptobyte_asn1.Tag(0).ContextSpecific().Constructed() {
			continue // not an otherName
		}
		name, is, err := readPrincipalName(one)
		if err != nil {
			return nil, err
		}
		if is {
			names = append(names, name)
		}
	}
	return names, nil
}

// readPrincipalName reads an otherName, and returns false where it is of
// another type.
func readPrincipalName(other cryptobyte.String) (name string, is bool, err error) {
	var kind asn1.ObjectIdentifier
	var wrapped, value cryptobyte.String
	if !other.ReadASN1ObjectIdentifier(&kind) ||
		!other.ReadASN1(&wrapped, cryptobyte_asn1.Tag(0).ContextSpecific().Constructed()) || !other.Empty() {
		return "", false, errNames
	}
	if !kind.Equal(principalName) {
		return "", false, nil
	}
	if !wrapped.ReadASN1(&value, cryptobyte_asn1.UTF8String) || !wrapped.Empty() || !utf8.Valid(value) {
		return "", false, errNames
	}
	return string(value), true, nil
}
