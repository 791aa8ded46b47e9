package sqlite

import (
	"context"

	"github.com/portcullis-mfa/portcullis/store"
)

const credentialColumns = `id, user_id, kind, name, secret, state, created, last_used, version`

func scanCredential(row scanner) (store.Credential, error) {
	var c store.Credential
	var created, lastUsed int64
	err := row.Scan(&c.ID, &c.UserID, &c.Kind, &c.Name, &c.Secret, &c.State, &created, &lastUsed, &c.Version)
	c.Created, c.LastUsed = fromMicros(created), fromMicros(lastUsed)
	return c, err
}

// CreateCredential implements store.Credentials.
func (o operations) CreateCredential(ctx context.Context, c store.Credential) error {
	_, err := o.change(ctx, "creating a credential", statement{
		`INSERT INTO credentials (` + credentialColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 1)`,
		[]any{c.ID, c.UserID, string(c.Kind), c.Name, notNull(c.Secret), string(c.State), micros(c.Created), micros(c.LastUsed)},
	}, untold)
	return err
}

// CredentialByID implements store.Credentials.
func (o operations) CredentialByID(ctx context.Context, id string) (store.Credential, error) {
	row := o.rows.QueryRowContext(ctx, `SELECT `+credentialColumns+` FROM credentials WHERE id = ?`, id)
	return one(ctx, "reading a credential", row, scanCredential)
}

// CredentialsOf implements store.Credentials.
func (o operations) CredentialsOf(ctx context.Context, userID string) ([]store.Credential, error) {
	query := statement{
		`SELECT ` + credentialColumns + ` FROM credentials WHERE user_id = ? ORDER BY created, id`,
		[]any{userID},
	}
	return list(ctx, "listing a user's credentials", o.rows, query, scanCredential)
}

// UpdateCredential implements store.Credentials.
func (o operations) UpdateCredential(ctx context.Context, c store.Credential) error {
	return o.compareAndSet(ctx, "updating a credential", statement{
		`UPDATE credentials SET name = ?, secret = ?, state = ?, last_used = ?, version = version + 1
		 WHERE id = ? AND version = ?`,
		[]any{c.Name, notNull(c.Secret), string(c.State), micros(c.LastUsed), c.ID, c.Version},
	}, credentialExists(c.ID), untold)
}

// DeleteCredential implements store.Credentials.
func (o operations) DeleteCredential(ctx context.Context, id string, version int64) error {
	return o.compareAndSet(ctx, "deleting a credential", statement{
		`DELETE FROM credentials WHERE id = ? AND version = ?`, []any{id, version},
	}, credentialExists(id), untold)
}

func credentialExists(id string) statement {
	return statement{`SELECT 1 FROM credentials WHERE id = ?`, []any{id}}
}
