package sqlite

import (
	"context"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

const accessTokenColumns = `id, name, selector, hash, groups, scope, created, expires, revoked, suspended`

func scanAccessToken(row scanner) (store.AccessToken, error) {
	var t store.AccessToken
	var groups []byte
	var created, expires, revoked int64
	err := row.Scan(&t.ID, &t.Name, &t.Selector, &t.Hash, &groups, &t.Scope, &created, &expires, &revoked, &t.Suspended)
	if err != nil {
		return store.AccessToken{}, err
	}
	t.Created, t.Expires, t.Revoked = fromMicros(created), fromMicros(expires), fromMicros(revoked)
	t.Groups, err = decode[[]string](groups)
	return t, err
}

// CreateAccessToken implements store.AccessTokens.
func (o operations) CreateAccessToken(ctx context.Context, t store.AccessToken) error {
	const doing = "creating an access token"
	groups, err := encode(t.Groups, len(t.Groups))
	if err != nil {
		return failed(ctx, doing, err)
	}
	_, err = o.change(ctx, doing, statement{
		`INSERT INTO access_tokens (` + accessTokenColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, 0, 0)`,
		[]any{t.ID, t.Name, t.Selector, t.Hash, groups, notNull(t.Scope), micros(t.Created), micros(t.Expires)},
	}, store.Change{Kind: store.AccessTokenChanged, ID: t.Selector})
	return err
}

// AccessTokenBySelector implements store.AccessTokens.
func (o operations) AccessTokenBySelector(ctx context.Context, selector string) (store.AccessToken, error) {
	row := o.rows.QueryRowContext(ctx, `SELECT `+accessTokenColumns+` FROM access_tokens WHERE selector = ?`, selector)
	return one(ctx, "reading an access token", row, scanAccessToken)
}

// AccessTokenByName implements store.AccessTokens.
func (o operations) AccessTokenByName(ctx context.Context, name string) (store.AccessToken, error) {
	row := o.rows.QueryRowContext(ctx, `SELECT `+accessTokenColumns+` FROM access_tokens WHERE name = ? AND revoked = 0`, name)
	return one(ctx, "reading an access token by its name", row, scanAccessToken)
}

// ListAccessTokens implements store.AccessTokens.
func (o operations) ListAccessTokens(ctx context.Context) ([]store.AccessToken, error) {
	query := statement{sql: `SELECT ` + accessTokenColumns + ` FROM access_tokens ORDER BY name, created DESC, id`}
	return list(ctx, "listing access tokens", o.rows, query, scanAccessToken)
}

// RevokeAccessToken implements store.AccessTokens.
func (o operations) RevokeAccessToken(ctx context.Context, id string, at time.Time) error {
	return o.takingAway().changeAccessToken(ctx, "revoking an access token", statement{
		`UPDATE access_tokens SET revoked = ? WHERE id = ? AND revoked = 0 RETURNING selector`, []any{micros(at), id},
	}, id)
}

// ResumeAccessToken implements store.AccessTokens.
func (o operations) ResumeAccessToken(ctx context.Context, id string) error {
	return o.changeAccessToken(ctx, "resuming an access token", statement{
		`UPDATE access_tokens SET suspended = 0 WHERE id = ? AND revoked = 0 AND suspended <> 0 RETURNING selector`, []any{id},
	}, id)
}

// changeAccessToken runs a statement that returns the selector of the token that
// it changed, which is what followers are told. Of one that is as wanted already
// nothing changes.
func (o operations) changeAccessToken(ctx context.Context, doing string, set statement, id string) error {
	return o.write(ctx, func(rows *transaction) error {
		changed, err := list(ctx, doing, rows, set, scanText)
		if err != nil {
			return err
		}
		for _, selector := range changed {
			rows.note(store.Change{Kind: store.AccessTokenChanged, ID: selector})
		}
		if len(changed) > 0 {
			return nil
		}
		var one int
		if err := rows.QueryRowContext(ctx, `SELECT 1 FROM access_tokens WHERE id = ?`, id).Scan(&one); err != nil {
			return failed(ctx, doing, err)
		}
		return nil
	})
}
