package devices

import (
	"crypto/x509"
	"encoding/asn1"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/publickey"
)

// Refusal says why a certificate doesn't count. It is a definite no; texts for
// people are made at the edge.
type Refusal string

// The reasons for which a certificate is refused.
const (
	// Expired: it, or its CA, is over its time.
	Expired Refusal = "expired"
	// NotYetValid: its time is still to come.
	NotYetValid Refusal = "not_yet_valid"
	// UnknownIssuer: no chain leads from it to a CA that is trusted here, or the
	// CA may not vouch for such a certificate.
	UnknownIssuer Refusal = "unknown_issuer"
	// WrongUsage: it isn't for signing in as a TLS client (RFC 5280 §4.2.1.3,
	// §4.2.1.12). One that names no usage isn't either.
	WrongUsage Refusal = "wrong_usage"
	// IsAuthority: it is a CA's own.
	IsAuthority Refusal = "is_authority"
	// Weak: it, or its CA, has a key by which others could sign, or a signature
	// that can be forged.
	Weak Refusal = "weak"
	// UnknownExtension: it has a critical extension that nobody here
	// understands (RFC 5280 §4.2).
	UnknownExtension Refusal = "unknown_extension"
	// Unverifiable: nothing tells whether its CA took it back. The CA's
	// revocation list is missing, or a day overdue.
	Unverifiable Refusal = "unverifiable"
	// Malformed: it can't be read, or costs too much to check.
	Malformed Refusal = "malformed"
)

// Error returns the reason.
func (r Refusal) Error() string { return "certificate: " + string(r) }

// refused is a Refusal with what the verifier said.
type refused struct {
	Refusal
	cause error
}

func (r refused) Error() string   { return fmt.Sprintf("%v: %v", r.Refusal, r.cause) }
func (r refused) Unwrap() []error { return []error{r.Refusal, r.cause} }

// Anchors are the CAs that are trusted. Without Roots nothing is: the system's
// own are never asked.
type Anchors struct {
	Roots *x509.CertPool
	// Intermediates are known beside those that clients send.
	Intermediates []*x509.Certificate
}

// Verified is a certificate that an anchor vouches for.
type Verified struct {
	// Chain begins with the certificate and ends with the anchor.
	Chain []*x509.Certificate
	// From and Until are when all of the chain is valid.
	From, Until time.Time
}

// Leaf is the certificate itself.
func (v Verified) Leaf() *x509.Certificate { return v.Chain[0] }

// At returns the Refusal of a certificate that was verified before and isn't
// valid at the time now, or nil.
func (v Verified) At(now time.Time) error {
	switch {
	case now.Before(v.From):
		return NotYetValid
	case now.After(v.Until):
		return Expired
	}
	return nil
}

const (
	// maxChain bounds how many certificates a client may send.
	maxChain = 10
)

// Verify checks what a TLS client presented, its own certificate first, by RFC
// 5280 §6 at the time now. TLS has shown that the client holds the key. Errors
// are Refusals, whatever was presented.
func Verify(presented []*x509.Certificate, anchors Anchors, now time.Time) (v Verified, err error) {
	// The certificates are strangers': what makes the library give up is
	// refused as well.
	defer func() {
		if cause := recover(); cause != nil {
			v, err = Verified{}, refused{Malformed, fmt.Errorf("panic: %v", cause)}
		}
	}()
	if len(presented) == 0 || len(presented) > maxChain || slices.Contains(presented, nil) {
		return Verified{}, Malformed
	}
	if err := checkLeaf(presented[0]); err != nil {
		return Verified{}, err
	}
	if slices.ContainsFunc(presented[1:], func(above *x509.Certificate) bool { return !isStrong(above) }) {
		return Verified{}, Weak // and a key that is too long costs too much to try
	}
	if anchors.Roots == nil {
		return Verified{}, UnknownIssuer
	}
	chains, err := withNames(presented[0]).Verify(x509.VerifyOptions{
		Roots: anchors.Roots, Intermediates: anchors.between(presented[1:]), CurrentTime: now,
		KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	})
	if err != nil {
		return Verified{}, reasonOf(presented, now, err)
	}
	return strongest(chains)
}

// withNames returns a certificate without what crypto/x509 holds against it where
// its alternative names have to be understood and it understands none, though
// there is a principal name among them.
func withNames(leaf *x509.Certificate) *x509.Certificate {
	isNames := func(id asn1.ObjectIdentifier) bool { return id.Equal(subjectAlternativeName) }
	if !slices.ContainsFunc(leaf.UnhandledCriticalExtensions, isNames) {
		return leaf
	}
	if names, err := principalNames(leaf); err != nil || len(names) == 0 {
		return leaf
	}
	understood := *leaf
	understood.UnhandledCriticalExtensions = slices.DeleteFunc(slices.Clone(leaf.UnhandledCriticalExtensions), isNames)
	return &understood
}

// between returns the intermediates that are known and those that were sent.
func (a Anchors) between(sent []*x509.Certificate) *x509.CertPool {
	pool := x509.NewCertPool()
	for _, certificate := range slices.Concat(a.Intermediates, sent) {
		pool.AddCert(certificate)
	}
	return pool
}

// checkLeaf refuses what no chain could mend.
func checkLeaf(leaf *x509.Certificate) error {
	const signs = x509.KeyUsageCertSign | x509.KeyUsageCRLSign
	switch {
	case len(leaf.Raw) == 0:
		return Malformed
	case leaf.IsCA || leaf.KeyUsage&signs != 0:
		return IsAuthority
	case !isStrong(leaf) || !isSound(leaf.SignatureAlgorithm):
		return Weak
	case !slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth),
		leaf.KeyUsage != 0 && leaf.KeyUsage&x509.KeyUsageDigitalSignature == 0:
		return WrongUsage
	}
	return nil
}

// strongest returns, of chains that hold, the one that does so for the longest,
// leaving out those with a weak key or signature.
func strongest(chains [][]*x509.Certificate) (Verified, error) {
	var best Verified
	for _, chain := range chains {
		if v := span(chain); areSound(chain) && v.Until.After(best.Until) {
			best = v
		}
	}
	if best.Chain == nil {
		return Verified{}, Weak
	}
	return best, nil
}

// span finds out when all of a chain is valid.
func span(chain []*x509.Certificate) Verified {
	v := Verified{Chain: chain, From: chain[0].NotBefore, Until: chain[0].NotAfter}
	for _, above := range chain[1:] {
		if above.NotBefore.After(v.From) {
			v.From = above.NotBefore
		}
		if above.NotAfter.Before(v.Until) {
			v.Until = above.NotAfter
		}
	}
	return v
}

// areSound reports whether no key of a chain is weak, nor any signature but the
// anchor's own, which nothing rests on.
func areSound(chain []*x509.Certificate) bool {
	for i, certificate := range chain {
		if publickey.Check(certificate.PublicKey) != nil || i < len(chain)-1 && !isSound(certificate.SignatureAlgorithm) {
			return false
		}
	}
	return true
}

// isStrong reports whether the key of a certificate is of a kind that can be
// relied on.
func isStrong(certificate *x509.Certificate) bool {
	return publickey.CheckKind(certificate.PublicKey) == nil
}

// isSound reports whether signatures by an algorithm can't be forged.
func isSound(algorithm x509.SignatureAlgorithm) bool {
	switch algorithm {
	case x509.SHA256WithRSA, x509.SHA384WithRSA, x509.SHA512WithRSA,
		x509.SHA256WithRSAPSS, x509.SHA384WithRSAPSS, x509.SHA512WithRSAPSS,
		x509.ECDSAWithSHA256, x509.ECDSAWithSHA384, x509.ECDSAWithSHA512, x509.PureEd25519:
		return true
	}
	return false
}

// reasonOf tells why the library refused what was presented.
func reasonOf(presented []*x509.Certificate, now time.Time, err error) error {
	reason := UnknownIssuer
	invalid := x509.CertificateInvalidError{}
	switch {
	case errors.As(err, new(x509.UnhandledCriticalExtension)):
		reason = UnknownExtension
	case errors.As(err, &invalid):
		reason = reasonOfInvalid(invalid, now)
	case errors.As(err, new(x509.UnknownAuthorityError)):
		// The library doesn't say so where a signature was too weak to check.
		if slices.ContainsFunc(presented[1:], func(above *x509.Certificate) bool { return !isSound(above.SignatureAlgorithm) }) {
			reason = Weak
		}
	}
	return refused{reason, err}
}

func reasonOfInvalid(invalid x509.CertificateInvalidError, now time.Time) Refusal {
	switch invalid.Reason {
	case x509.Expired:
		if invalid.Cert != nil && now.Before(invalid.Cert.NotBefore) {
			return NotYetValid
		}
		return Expired
	case x509.IncompatibleUsage:
		return WrongUsage
	case x509.TooManyIntermediates, x509.TooManyConstraints, x509.UnconstrainedName:
		return Malformed
	}
	return UnknownIssuer
}
