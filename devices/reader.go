package devices

import (
	"context"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"errors"
	"fmt"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/session"
)

const (
	// maxVerified bounds how many certificates are remembered, at about 4 KB
	// each.
	maxVerified = 20_000
	// verifyAgain is for how long a certificate is taken to lead to a CA that is
	// trusted, once it was found to: the CAs may change meanwhile.
	verifyAgain = time.Hour
	// maxRefused bounds how many refusals are remembered, and refuseAgain for how
	// long each is: a chain of strangers can cost a tenth of a second to check,
	// and one connection brings any number of requests.
	maxRefused  = 1000
	refuseAgain = 10 * time.Second
)

// Keeper tells whether a device counts; package session offers it.
type Keeper interface {
	LiveDevice(ctx context.Context, l session.DeviceLookup) (session.LiveDevice, error)
}

// Adopter gives the store a device that only a CA of the operator's knows yet.
type Adopter interface {
	// Adopt keeps the device of a verified chain as one of the owner's. It
	// returns session.DeviceUnknown where there is no such user, and
	// session.DeviceOfFormerHolder where there was another when the certificate was
	// issued.
	Adopt(ctx context.Context, chain []*x509.Certificate, owner Owner) error
}

// Reader tells by what a TLS client presented which device it is. It remembers
// the certificates that lead to a CA which is trusted, and for a moment what it
// refused; whether they are in their time, revoked or unknown, and whether their
// users may sign in, it asks each time. It is safe for concurrent use.
type Reader struct {
	trust    Trust
	keeper   Keeper
	adopter  Adopter
	clock    func() time.Time
	verified *otter.Cache[[sha256.Size]byte, *known]
	// refusals are by all that was presented: the same device may come with a
	// better chain.
	refusals *otter.Cache[[sha256.Size]byte, refusal]
}

// refusal is a Refusal and when it was found.
type refusal struct {
	reason Refusal
	at     time.Time
}

// known is a certificate that was found to lead to a CA which is trusted.
type known struct {
	Verified
	fingerprint string
	ca          Authorised
	at          time.Time    // when it was
	path        path         // what its CA is asked about
	vouched     func() error // unrevoked; nil: the CA says nothing of what it took back
}

// NewReader returns a Reader of certificates of the CAs that are trusted.
func NewReader(trust Trust, keeper Keeper, adopter Adopter, clock func() time.Time) *Reader {
	return &Reader{
		trust: trust, keeper: keeper, adopter: adopter, clock: clock,
		verified: otter.Must(&otter.Options[[sha256.Size]byte, *known]{MaximumSize: maxVerified}),
		refusals: otter.Must(&otter.Options[[sha256.Size]byte, refusal]{MaximumSize: maxRefused}),
	}
}

// Presented is a device that counts.
type Presented struct {
	session.LiveDevice
	// Verified is when its certificate was last found to lead to a CA that is
	// trusted: the same for many requests.
	Verified time.Time
}

// Read returns the device whose certificate a TLS client presented, its own
// first. A Refusal or a session.DeviceRefusal is a definite no; any other error
// means that it could not be told. What may come out of memory while this
// process is cut off, maxStaleness says.
func (r *Reader) Read(ctx context.Context, presented []*x509.Certificate, maxStaleness time.Duration) (Presented, error) {
	k, err := r.verify(presented)
	if err != nil {
		return Presented{}, err
	}
	lookup := session.DeviceLookup{Certificate: k.fingerprint, MaxStaleness: maxStaleness}
	device, err := r.keeper.LiveDevice(ctx, lookup)
	if errors.Is(err, session.DeviceUnknown) && !k.ca.HeldHere() {
		if err = r.adopt(ctx, k); err == nil {
			device, err = r.keeper.LiveDevice(ctx, lookup)
		}
	}
	if err != nil {
		return Presented{}, err
	}
	if k.Until.Before(device.Expires) {
		device.Expires = k.Until // with its CA
	}
	device.Vouched = k.vouched
	return Presented{LiveDevice: device, Verified: k.at}, nil
}

// ReasonOf returns why a certificate was refused, a Refusal or a
// session.DeviceRefusal, or false for an error that is neither.
func ReasonOf(err error) (reason string, refused bool) {
	var (
		certificate Refusal
		device      session.DeviceRefusal
	)
	switch {
	case errors.As(err, &certificate):
		return string(certificate), true
	case errors.As(err, &device):
		return string(device), true
	}
	return "", false
}

// Refused returns what the audit is told of a certificate that was refused, and
// the id of its user where the device is known.
func Refused(presented []*x509.Certificate, err error) (userID string, fields audit.Fields) {
	fields = make(audit.Fields)
	if len(presented) > 0 && presented[0] != nil && presented[0].SerialNumber != nil {
		fields[audit.Serial] = storable(serialOf(presented[0]))
		fields[audit.Issuer] = IssuerName(presented[0].Issuer)
	}
	if known := (session.RefusedDevice{}); errors.As(err, &known) {
		fields[audit.Device], fields[audit.User], userID = known.Name, known.User, known.UserID
	}
	return userID, fields
}

// maxCertificate bounds a device's certificate, in bytes: one or two thousand are
// usual.
const maxCertificate = 32 << 10

// verify checks what was presented against the CAs, or remembers that it did,
// and against the clock and the CA's revocations in any case.
func (r *Reader) verify(presented []*x509.Certificate) (*known, error) {
	if len(presented) == 0 || presented[0] == nil || len(presented[0].Raw) > maxCertificate {
		return nil, Malformed
	}
	now, sum := r.clock(), sha256.Sum256(presented[0].Raw)
	k, ok := r.verified.GetIfPresent(sum)
	if !ok || !isWithin(verifyAgain, k.at, now) {
		var err error
		if k, err = r.verifyChain(presented, now); err != nil {
			return nil, err
		}
		k.fingerprint, k.at = hex.EncodeToString(sum[:]), now
		switch {
		case k.ca.Revocations != nil:
			k.path, k.vouched = k.ca.Revocations.pathOf(k.Chain), k.unrevoked
		case k.ca.Superior != nil:
			k.path, k.vouched = k.ca.Superior.pathOf(k.Chain), k.unrevoked
		}
		r.verified.Set(sum, k)
	}
	if err := k.At(now); err != nil {
		return nil, err
	}
	return k, k.unrevoked()
}

// verifyChain checks a chain against the CAs, unless it was refused a moment ago.
func (r *Reader) verifyChain(presented []*x509.Certificate, now time.Time) (*known, error) {
	sum := sumOf(presented)
	if before, ok := r.refusals.GetIfPresent(sum); ok && isWithin(refuseAgain, before.at, now) {
		return nil, before.reason
	}
	k, err := r.trust.verify(presented, now)
	if reason := Refusal(""); errors.As(err, &reason) {
		r.refusals.Set(sum, refusal{reason, now})
	}
	return k, err
}

// sumOf is the SHA-256 of all that was presented.
func sumOf(presented []*x509.Certificate) (sum [sha256.Size]byte) {
	hash := sha256.New()
	for _, certificate := range presented {
		if certificate != nil {
			hash.Write(certificate.Raw) // DER says where it ends
		}
	}
	hash.Sum(sum[:0])
	return sum
}

// isWithin reports whether at was less than a time before now. What seems to
// come is from before the clock was set back.
func isWithin(limit time.Duration, at, now time.Time) bool {
	age := now.Sub(at)
	return age >= 0 && age < limit
}

// verify finds the CA that a chain leads to. Where it leads to none, the first
// CA that has more to say than that it doesn't know the issuer is heard.
func (t Trust) verify(presented []*x509.Certificate, now time.Time) (*known, error) {
	refusal := error(UnknownIssuer)
	for _, ca := range t {
		anchors := Anchors{Roots: ca.Anchors()}
		if ca.Intermediates != nil {
			anchors.Intermediates = ca.Intermediates()
		}
		v, err := Verify(presented, anchors, now)
		if err == nil {
			return &known{Verified: v, ca: ca}, nil
		}
		if errors.Is(refusal, UnknownIssuer) {
			refusal = err
		}
	}
	return nil, refusal
}

// unrevoked asks what the CA took back.
func (k *known) unrevoked() error {
	var err error
	switch {
	case k.ca.Revocations != nil:
		err = k.ca.Revocations.check(k.path)
	case k.ca.Superior != nil:
		err = k.ca.Superior.checkAbove(k.path)
	}
	if errors.Is(err, ErrRevoked) {
		return session.DeviceRevoked
	}
	if err != nil {
		return refused{Unverifiable, err}
	}
	return nil
}

// adopt has the store keep a device whose CA says whose it is.
func (r *Reader) adopt(ctx context.Context, k *known) error {
	owner, err := k.ca.Owners.Owner(k.Leaf())
	if err == nil {
		err = checkConstraints(k.Chain, owner)
	}
	if errors.Is(err, ErrNobody) {
		return fmt.Errorf("%w: %w", session.DeviceUnknown, err)
	}
	if err != nil {
		return err
	}
	if err := r.adopter.Adopt(ctx, k.Chain, owner); err != nil {
		return fmt.Errorf("adopting a device: %w", err)
	}
	return nil
}
