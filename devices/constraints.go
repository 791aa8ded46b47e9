package devices

import (
	"crypto/x509"
	"fmt"
	"slices"
	"strings"
)

// checkConstraints returns ErrNobody where a CA of a verified chain may not vouch
// for an owner. RFC 5280 §4.2.1.10 has name constraints hold for alternative names
// of their own kind; what names the user here may stand elsewhere in a
// certificate, and is held to those on e-mail addresses all the same. No
// constraint can be compared with a sign-in name, so no constrained CA may give one.
func checkConstraints(chain []*x509.Certificate, owner Owner) error {
	for _, ca := range chain[1:] {
		switch {
		case owner.Email == "" && isConstrained(ca):
			return fmt.Errorf("%w: %s has name constraints and gave a sign-in name", ErrNobody, ca.Subject)
		case owner.Email != "" && !permits(ca, owner.Email):
			return fmt.Errorf("%w: %s may not name that address", ErrNobody, ca.Subject)
		}
	}
	return nil
}

// isConstrained reports whether a CA has name constraints of any kind, those that
// crypto/x509 doesn't read included.
func isConstrained(ca *x509.Certificate) bool {
	for _, extension := range ca.Extensions {
		if extension.Id.Equal(nameConstraints) {
			return true
		}
	}
	return false
}

// permits reports whether a CA's constraints let it name an address.
func permits(ca *x509.Certificate, address string) bool {
	within := func(constraint string) bool { return isWithinConstraint(address, constraint) }
	if slices.ContainsFunc(ca.ExcludedEmailAddresses, within) {
		return false
	}
	return len(ca.PermittedEmailAddresses) == 0 || slices.ContainsFunc(ca.PermittedEmailAddresses, within)
}

// isWithinConstraint reports whether a constraint covers an address: it is a
// mailbox, a host, or with a dot in front all hosts below a domain. An empty one
// covers all. Case counts nowhere here, since it doesn't in the store.
func isWithinConstraint(address, constraint string) bool {
	address, constraint = strings.ToLower(address), strings.ToLower(constraint)
	host := address[strings.LastIndexByte(address, '@')+1:]
	switch {
	case constraint == "":
		return true
	case strings.Contains(constraint, "@"):
		return address == constraint
	case strings.HasPrefix(constraint, "."):
		return strings.HasSuffix(host, constraint)
	}
	return host == constraint
}
