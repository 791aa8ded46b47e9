package devices

import (
	"crypto/x509"
	"fmt"
	"maps"
	"math/big"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// listLifetime is for how long a revocation list is good. Whoever relies on it
// should fetch it more often.
const listLifetime = 24 * time.Hour

// DefaultReason is why a device is revoked where nobody says.
const DefaultReason = "unspecified"

// reasons are why a device can be revoked (RFC 5280 §5.3.1).
var reasons = map[string]int{
	DefaultReason: 0, "key_compromise": 1, "affiliation_changed": 3, "superseded": 4, "cessation_of_operation": 5,
	"privilege_withdrawn": 9,
}

// Reasons returns why a device can be revoked, in a word each, sorted.
func Reasons() []string { return slices.Sorted(maps.Keys(reasons)) }

// RevocationList returns the list (RFC 5280 §5, DER) of those among certificates,
// given with their devices, that were issued here and are revoked, until they expire.
// Its number is the time in microseconds, so it rises from one list to the next,
// whichever node makes it.
func (a *Authority) RevocationList(all []store.Device) ([]byte, error) {
	chain, key, err := a.signer()
	if err != nil {
		return nil, err
	}
	now := a.Clock()
	template := &x509.RevocationList{
		Number: big.NewInt(now.UnixMicro()), ThisUpdate: now, NextUpdate: now.Add(listLifetime),
	}
	for _, d := range all {
		if d.Issuer != "" || d.Revoked.IsZero() || now.After(d.Expires) {
			continue
		}
		serial, ok := new(big.Int).SetString(d.Serial, 16)
		if !ok {
			return nil, fmt.Errorf("device %s has no serial number but %q", d.ID, d.Serial)
		}
		template.RevokedCertificateEntries = append(template.RevokedCertificateEntries, x509.RevocationListEntry{
			SerialNumber: serial, RevocationTime: d.Revoked, ReasonCode: reasons[d.RevokeReason],
		})
	}
	der, err := x509.CreateRevocationList(a.Random, template, chain[0], key)
	if err != nil {
		return nil, fmt.Errorf("signing the revocation list: %w", err)
	}
	return der, nil
}
