package postgres

import (
	"context"

	"github.com/portcullis-mfa/portcullis/store"
)

// KeepIssuer implements store.Issuers.
func (o operations) KeepIssuer(ctx context.Context, i store.Issuer) error {
	_, err := o.change(ctx, "keeping an issuer", statement{
		`INSERT INTO issuers (fingerprint, certificate, expires) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING`,
		[]any{i.Fingerprint, notNull(i.Certificate), micros(i.Expires)},
	})
	return err
}

// ListIssuers implements store.Issuers.
func (o operations) ListIssuers(ctx context.Context) ([]store.Issuer, error) {
	query := statement{sql: `SELECT fingerprint, certificate, expires FROM issuers ORDER BY fingerprint`}
	return list(ctx, "listing issuers", o.rows, query, scanIssuer)
}

func scanIssuer(row scanner) (store.Issuer, error) {
	var i store.Issuer
	var expires int64
	err := row.Scan(&i.Fingerprint, &i.Certificate, &expires)
	i.Certificate, i.Expires = orNil(i.Certificate), fromMicros(expires)
	return i, err
}
