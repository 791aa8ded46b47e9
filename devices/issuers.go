package devices

import (
	"context"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"sync"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// IssuerRows is where the certificates of issuers are kept.
type IssuerRows interface {
	KeepIssuer(ctx context.Context, i store.Issuer) error
	ListIssuers(ctx context.Context) ([]store.Issuer, error)
}

// Issuers knows every certificate from which the CA held here issued, so that a
// device which shows its own certificate alone still counts after the CA renewed
// the one that signed it. None of them is trusted for being here: each has to lead
// to an anchor. It is safe for concurrent use; the zero value knows none.
type Issuers struct {
	mu    sync.Mutex
	known []*x509.Certificate // replaced, never changed
}

// Known returns all that are known, to be read only.
func (i *Issuers) Known() []*x509.Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	return i.known
}

// With returns all that are known, those given included. It remembers them.
func (i *Issuers) With(certificates []*x509.Certificate) []*x509.Certificate {
	i.mu.Lock()
	defer i.mu.Unlock()
	for _, certificate := range certificates {
		if !slices.ContainsFunc(i.known, certificate.Equal) {
			i.known = append(slices.Clip(i.known), certificate)
		}
	}
	return i.known
}

// Refresh keeps the CA's present certificates in the store, and learns those that
// are kept there and haven't expired: another node may have issued from them. It
// forgets those that have expired.
func (i *Issuers) Refresh(ctx context.Context, rows IssuerRows, present []*x509.Certificate, now time.Time) error {
	kept, err := rows.ListIssuers(ctx)
	if err != nil {
		return fmt.Errorf("reading the issuers of devices: %w", err)
	}
	// A row that can't be read must not hide the others.
	read, unreadable := readIssuers(kept)
	for _, certificate := range present {
		if slices.ContainsFunc(read, certificate.Equal) {
			continue
		}
		if err := rows.KeepIssuer(ctx, IssuerRow(certificate)); err != nil {
			return fmt.Errorf("keeping an issuer of devices: %w", err)
		}
		read = append(read, certificate)
	}
	read = slices.DeleteFunc(read, func(c *x509.Certificate) bool { return now.After(c.NotAfter) })
	i.mu.Lock()
	defer i.mu.Unlock()
	i.known = read
	return unreadable
}

func readIssuers(rows []store.Issuer) (read []*x509.Certificate, unreadable error) {
	for _, row := range rows {
		certificate, err := x509.ParseCertificate(row.Certificate)
		if err != nil {
			unreadable = errors.Join(unreadable, fmt.Errorf("reading the issuer %s of devices: %w", row.Fingerprint, err))
			continue
		}
		read = append(read, certificate)
	}
	return read, unreadable
}

// IssuerRow is how the store keeps the certificate of an issuer.
func IssuerRow(certificate *x509.Certificate) store.Issuer {
	return store.Issuer{Fingerprint: Fingerprint(certificate), Certificate: certificate.Raw, Expires: certificate.NotAfter}
}
