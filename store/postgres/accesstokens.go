package postgres

import (
	"context"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

const (
	accessTokenColumns = `id, coalesce(user_id, ''), name, selector, hash, former_hash, former_until, groups, scope, owner_id, unowned, warned, ` +
		`created, expires, revoked, last_used, networks, suspended`
	accessTokensByName = ` ORDER BY name, created DESC, id`
)

func scanAccessToken(row scanner) (store.AccessToken, error) {
	var t store.AccessToken
	var groups, networks []byte
	var formerUntil, unowned, warned, created, expires, revoked, lastUsed int64
	err := row.Scan(&t.ID, &t.UserID, &t.Name, &t.Selector, &t.Hash, &t.FormerHash, &formerUntil, &groups, &t.Scope, &t.OwnerID, &unowned, &warned,
		&created, &expires, &revoked, &lastUsed, &networks, &t.Suspended)
	if err != nil {
		return store.AccessToken{}, err
	}
	t.FormerUntil, t.Unowned, t.LastUsed = fromMicros(formerUntil), fromMicros(unowned), fromMicros(lastUsed)
	t.Warned = fromMicros(warned)
	t.Created, t.Expires, t.Revoked = fromMicros(created), fromMicros(expires), fromMicros(revoked)
	t.Scope = orNil(t.Scope)
	if t.Groups, err = decode[[]string](groups); err != nil {
		return store.AccessToken{}, err
	}
	t.Networks, err = decode[[]string](networks)
	return t, err
}

// CreateAccessToken implements store.AccessTokens.
func (o operations) CreateAccessToken(ctx context.Context, t store.AccessToken) error {
	const doing = "creating an access token"
	groups, err := encode(t.Groups, len(t.Groups))
	if err != nil {
		return failed(ctx, doing, err)
	}
	networks, err := encode(t.Networks, len(t.Networks))
	if err != nil {
		return failed(ctx, doing, err)
	}
	return o.insert(ctx, doing, statement{
		`INSERT INTO access_tokens (id, user_id, name, selector, hash, former_hash, former_until, groups, scope, owner_id, unowned, warned,
			created, expires, revoked, last_used, networks, suspended)
		 SELECT $1, nullif($2::text, ''), $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, 0, $15, $16, false
		 WHERE $2::text = '' OR EXISTS (SELECT FROM users WHERE id = $2::text)
		 ON CONFLICT DO NOTHING`,
		[]any{
			t.ID, t.UserID, t.Name, t.Selector, t.Hash, t.FormerHash, micros(t.FormerUntil), groups, notNull(t.Scope), t.OwnerID, micros(t.Unowned), micros(t.Warned),
			micros(t.Created), micros(t.Expires), micros(t.LastUsed), networks,
		},
	}, t.UserID, store.Change{Kind: store.AccessTokenChanged, ID: t.Selector})
}

// AccessTokenBySelector implements store.AccessTokens.
func (o operations) AccessTokenBySelector(ctx context.Context, selector string) (store.AccessToken, error) {
	return one(ctx, "reading an access token", o.rows, statement{
		`SELECT ` + accessTokenColumns + ` FROM access_tokens WHERE selector = $1`, []any{selector},
	}, scanAccessToken)
}

// AccessTokenByName implements store.AccessTokens.
func (o operations) AccessTokenByName(ctx context.Context, name string) (store.AccessToken, error) {
	return one(ctx, "reading an access token by its name", o.rows, statement{
		`SELECT ` + accessTokenColumns + ` FROM access_tokens WHERE coalesce(user_id, '') = '' AND name = $1 AND revoked = 0`, []any{name},
	}, scanAccessToken)
}

// AccessTokensOf implements store.AccessTokens.
func (o operations) AccessTokensOf(ctx context.Context, userID string) ([]store.AccessToken, error) {
	return list(ctx, "listing a user's app passwords", o.rows, statement{
		`SELECT ` + accessTokenColumns + ` FROM access_tokens WHERE user_id = $1` + accessTokensByName, []any{userID},
	}, scanAccessToken)
}

// ListAccessTokens implements store.AccessTokens.
func (o operations) ListAccessTokens(ctx context.Context) ([]store.AccessToken, error) {
	query := statement{sql: `SELECT ` + accessTokenColumns + ` FROM access_tokens` + accessTokensByName}
	return list(ctx, "listing access tokens", o.rows, query, scanAccessToken)
}

// UpdateAccessToken implements store.AccessTokens.
func (o operations) UpdateAccessToken(ctx context.Context, t store.AccessToken) error {
	const doing = "updating an access token"
	networks, err := encode(t.Networks, len(t.Networks))
	if err != nil {
		return failed(ctx, doing, err)
	}
	return o.changeAccessToken(ctx, doing, statement{
		`UPDATE access_tokens SET hash = $1, former_hash = $2, former_until = $3, owner_id = $4, unowned = $5, warned = $6, expires = $7, networks = $8
		 WHERE id = $9 RETURNING selector`,
		[]any{t.Hash, t.FormerHash, micros(t.FormerUntil), t.OwnerID, micros(t.Unowned), micros(t.Warned), micros(t.Expires), networks, t.ID},
	}, t.ID)
}

// TouchAccessTokens implements store.AccessTokens.
func (o operations) TouchAccessTokens(ctx context.Context, seen []store.AccessTokenActivity) error {
	return touch(ctx, o,
		`UPDATE access_tokens t SET last_used = s.seen FROM `+seenRows+` WHERE t.id = s.id AND t.revoked = 0 AND t.last_used < s.seen`,
		seen, func(a store.AccessTokenActivity) (string, time.Time) { return a.Token, a.Seen })
}

// RevokeAccessToken implements store.AccessTokens.
func (o operations) RevokeAccessToken(ctx context.Context, id string, at time.Time) error {
	return o.changeAccessToken(ctx, "revoking an access token", statement{
		`UPDATE access_tokens SET revoked = $1 WHERE id = $2 AND revoked = 0 RETURNING selector`, []any{micros(at), id},
	}, id)
}

// ResumeAccessToken implements store.AccessTokens.
func (o operations) ResumeAccessToken(ctx context.Context, id string) error {
	return o.changeAccessToken(ctx, "resuming an access token", statement{
		`UPDATE access_tokens SET suspended = false WHERE id = $1 AND revoked = 0 AND suspended RETURNING selector`, []any{id},
	}, id)
}

// changeAccessToken runs a statement that returns the selector of the token that
// it changed, which is what followers are told. Of one that is as wanted already
// nothing changes.
func (o operations) changeAccessToken(ctx context.Context, doing string, set statement, id string) error {
	_, err := o.changeNamed(ctx, doing, set, statement{`SELECT 1 FROM access_tokens WHERE id = $1`, []any{id}}, store.AccessTokenChanged)
	return err
}
