package devices

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// Lists are the revocation lists of a file.
type Lists struct {
	byIssuer map[string][]*list // by the name of the CA that they are of (DER)
}

// Name reports whether a list that bears the name of a device's issuer names the
// device, whoever signed the list: Check alone knows the CA of a certificate,
// and the CAs above it.
func (l *Lists) Name(d store.Device) bool {
	serial, err := hex.DecodeString(d.Serial)
	if err != nil {
		return false
	}
	for _, ofOne := range l.byIssuer {
		if slices.ContainsFunc(ofOne, func(one *list) bool { return one.issuer == d.Issuer && one.revoked[string(serial)] }) {
			return true
		}
	}
	return false
}

// list is one revocation list.
type list struct {
	*x509.RevocationList
	issuer  string          // IssuerName
	revoked map[string]bool // by serial number
	// signed remembers by which certificates of CAs the signature was found good
	// or bad: it is checked once for each.
	signed sync.Map // Fingerprint to error
	// signer is the first certificate of a CA by which the signature was found
	// good; nil: none yet, and the list may be anybody's.
	signer atomic.Pointer[x509.Certificate]
}

// parseLists reads what is in a file: at least one list, and nothing else.
func parseLists(content []byte) (*Lists, error) {
	all, err := encodedLists(content)
	if err != nil {
		return nil, err
	}
	read := &Lists{byIssuer: make(map[string][]*list)}
	for _, der := range all {
		one, err := parseList(der)
		if err != nil {
			return nil, err
		}
		read.byIssuer[string(one.RawIssuer)] = append(read.byIssuer[string(one.RawIssuer)], one)
	}
	return read, nil
}

// encodedLists takes the lists out of their PEM form, if they are in it.
func encodedLists(content []byte) ([][]byte, error) {
	begin := []byte("-----BEGIN")
	if !bytes.Contains(content, begin) {
		return [][]byte{content}, nil
	}
	var all [][]byte
	for {
		block, rest := pem.Decode(content)
		switch {
		case block == nil && bytes.Contains(content, begin):
			return nil, errors.New("it ends in the middle of a list")
		case block == nil:
			return all, nil
		case block.Type != "X509 CRL":
			return nil, fmt.Errorf("it contains a %s where revocation lists belong", block.Type)
		}
		all, content = append(all, block.Bytes), rest
	}
}

func parseList(der []byte) (*list, error) {
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("this isn't a revocation list: %w", err)
	}
	switch {
	case len(parsed.Raw) != len(der):
		return nil, errors.New("it doesn't contain just a revocation list: something follows the list")
	case parsed.NextUpdate.IsZero():
		return nil, fmt.Errorf("the list of %s doesn't say when the next one is due", parsed.Issuer)
	case !isSound(parsed.SignatureAlgorithm):
		return nil, fmt.Errorf("the list of %s is signed with %s, which can be forged", parsed.Issuer, parsed.SignatureAlgorithm)
	}
	if err := checkComplete(parsed); err != nil {
		return nil, err
	}
	one := &list{
		RevocationList: parsed, issuer: IssuerName(parsed.Issuer),
		revoked: make(map[string]bool, len(parsed.RevokedCertificateEntries)),
	}
	for _, entry := range parsed.RevokedCertificateEntries {
		one.revoked[string(entry.SerialNumber.Bytes())] = true
	}
	return one, nil
}

// partial are the extensions of lists that don't say of every certificate of one
// CA whether it is revoked, or say it in another way than by an entry for each:
// in RFC 5280 the delta indicator and the scope (§5.2.4, §5.2.5), and of an entry
// the CA that it is about (§5.3.3); in X.509 (2019) §9.5 their newer siblings.
var partial = []asn1.ObjectIdentifier{
	{2, 5, 29, 27}, // deltaCRLIndicator
	{2, 5, 29, 28}, // issuingDistributionPoint
	{2, 5, 29, 29}, // certificateIssuer
	{2, 5, 29, 44}, // cRLScope
	{2, 5, 29, 45}, // statusReferrals
	{2, 5, 29, 51}, // baseUpdateTime
	{2, 5, 29, 59}, // revokedGroups
}

// checkComplete refuses a list with an extension that is critical, which nobody
// here understands (RFC 5280 §5.2), or partial. The standards want the latter to
// be critical, but a CA may have forgotten that, and the list that it calls
// complete would readmit whoever it doesn't name.
func checkComplete(parsed *x509.RevocationList) error {
	extensions := slices.Clone(parsed.Extensions)
	for _, entry := range parsed.RevokedCertificateEntries {
		extensions = append(extensions, entry.Extensions...)
	}
	for _, extension := range extensions {
		if extension.Critical || slices.ContainsFunc(partial, extension.Id.Equal) {
			return fmt.Errorf("the list of %s has the extension %s: only complete lists of one CA's own certificates are understood", parsed.Issuer, extension.Id)
		}
	}
	return nil
}

// inDate tells of a list whose next one should be there.
func (l *Lists) inDate(now time.Time) error {
	for _, ofOne := range l.byIssuer {
		if newest := newestOf(ofOne); now.After(newest.NextUpdate) {
			return fmt.Errorf("%w: the next one of %s was due at %s", errOutdated, newest.Issuer, newest.NextUpdate.Format(time.RFC3339))
		}
	}
	return nil
}

// begun refuses lists whose time is still to come: one that is dated in the future would
// keep out those that follow.
func (l *Lists) begun(now time.Time) error {
	for _, ofOne := range l.byIssuer {
		for _, one := range ofOne {
			if one.ThisUpdate.After(now.Add(ahead)) {
				return fmt.Errorf("the list of %s is dated in the future, %s: compare the clocks of this machine and of the CA", one.Issuer, one.ThisUpdate.Format(time.RFC3339))
			}
		}
	}
	return nil
}

// signedBy returns an error for a list that bears the name of one of the CAs and
// the signature of none of them. Lists of other CAs, which may stand between
// those and the devices, are left to check.
func (l *Lists) signedBy(cas []*x509.Certificate) error {
	for name, ofOne := range l.byIssuer {
		called := slices.DeleteFunc(slices.Clone(cas), func(ca *x509.Certificate) bool { return string(ca.RawSubject) != name })
		for _, one := range ofOne {
			if len(called) > 0 && !slices.ContainsFunc(called, func(ca *x509.Certificate) bool { return one.signedBy(ca) == nil }) {
				return fmt.Errorf("the list of %s isn't signed by that CA", one.Issuer)
			}
		}
	}
	return nil
}

// signers are the certificates of CAs that are known to have signed a list.
func (l *Lists) signers() []*x509.Certificate {
	var all []*x509.Certificate
	if l == nil {
		return nil
	}
	for _, ofOne := range l.byIssuer {
		for _, one := range ofOne {
			if signer := one.signer.Load(); signer != nil {
				all = append(all, signer)
			}
		}
	}
	return all
}

// follow refuses lists that are older than those in force, or lack one of those
// that is in date: what they revoke would be let in again. What nobody is known
// to have signed binds no one: it may be a stranger's.
func (l *Lists) follow(inForce *Lists, now time.Time) error {
	if inForce == nil {
		return nil
	}
	for name, before := range inForce.byIssuer {
		for _, one := range before {
			if signer := one.signer.Load(); signer != nil {
				if err := followOne(signedOf(l.byIssuer[name], signer), one, now); err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// signedOf returns those of the lists that are signed by a CA.
func signedOf(lists []*list, ca *x509.Certificate) []*list {
	return slices.DeleteFunc(slices.Clone(lists), func(one *list) bool { return one.signedBy(ca) != nil })
}

// followOne is follow for one list, and those that its CA signed after it.
func followOne(lists []*list, before *list, now time.Time) error {
	switch {
	case len(lists) == 0 && now.After(before.NextUpdate):
		return nil
	case len(lists) == 0:
		return fmt.Errorf("the list of %s is missing, and the previous one is valid until %s", before.Issuer, before.NextUpdate.Format(time.RFC3339))
	case !slices.ContainsFunc(lists, func(one *list) bool { return !one.ThisUpdate.Before(before.ThisUpdate) }):
		return fmt.Errorf("the list of %s is older than the previous one, of %s", before.Issuer, before.ThisUpdate.Format(time.RFC3339))
	}
	return nil
}

func newestOf(ofOne []*list) *list {
	return slices.MaxFunc(ofOne, func(a, b *list) int { return a.NextUpdate.Compare(b.NextUpdate) })
}

// check looks for a certificate in the lists that its issuer signed.
func (l *Lists) check(certificate, issuer *x509.Certificate, now time.Time) error {
	var ofIssuer []*list
	unsigned := errNotListed
	for _, one := range l.byIssuer[string(certificate.RawIssuer)] {
		if err := one.signedBy(issuer); err != nil {
			unsigned = fmt.Errorf("checking the signature of a revocation list: %w", err)
			continue
		}
		if one.names(certificate) {
			return ErrRevoked
		}
		ofIssuer = append(ofIssuer, one)
	}
	if len(ofIssuer) == 0 {
		return unsigned
	}
	if newest := newestOf(ofIssuer); now.After(newest.NextUpdate.Add(overdue)) {
		return fmt.Errorf("%w: the next one of %s was due at %s", errOutdated, newest.Issuer, newest.NextUpdate.Format(time.RFC3339))
	}
	return nil
}

// checkUnsigned looks for a certificate whose issuer isn't known in the lists
// that bear the issuer's name. One that names it may be a stranger's.
func (l *Lists) checkUnsigned(certificate *x509.Certificate) error {
	for _, one := range l.byIssuer[string(certificate.RawIssuer)] {
		if one.names(certificate) {
			return fmt.Errorf("a list of %s names the certificate of %s, and the list's signature can't be checked: add the CA's certificate to trust_pool", one.Issuer, certificate.Subject)
		}
	}
	return nil
}

func (l *list) names(certificate *x509.Certificate) bool {
	return l.revoked[string(certificate.SerialNumber.Bytes())]
}

func (l *list) signedBy(issuer *x509.Certificate) error {
	id := Fingerprint(issuer)
	if known, found := l.signed.Load(id); found {
		err, _ := known.(error)
		return err
	}
	err := l.CheckSignatureFrom(issuer)
	if err == nil && !isStrong(issuer) {
		err = Weak
	}
	if err == nil {
		l.signer.CompareAndSwap(nil, issuer)
	}
	l.signed.Store(id, err)
	return err
}
