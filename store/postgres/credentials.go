package postgres

import (
	"context"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

const credentialColumns = `id, user_id, kind, name, secret, state, created, last_used, last_used_on, held_until, realm, holder, version`

func scanCredential(row scanner) (store.Credential, error) {
	var c store.Credential
	var (
		created, lastUsed, probationUntil int64
		lastUsedOn                        []byte
	)
	err := row.Scan(&c.ID, &c.UserID, &c.Kind, &c.Name, &c.Secret, &c.State, &created, &lastUsed, &lastUsedOn, &probationUntil, &c.Realm, &c.Holder, &c.Version)
	if err != nil {
		return store.Credential{}, err
	}
	c.Created, c.LastUsed, c.ProbationUntil = fromMicros(created), fromMicros(lastUsed), fromMicros(probationUntil)
	c.Secret = orNil(c.Secret)
	c.LastUsedOn, err = decodeTimes(lastUsedOn)
	return c, err
}

// CreateCredential implements store.Credentials.
func (o operations) CreateCredential(ctx context.Context, c store.Credential) error {
	const doing = "creating a credential"
	usedOn, err := encodeTimes(c.LastUsedOn)
	if err != nil {
		return failed(ctx, doing, err)
	}
	return o.insert(ctx, doing, statement{
		`INSERT INTO credentials (` + credentialColumns + `) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, 1` + whereUser,
		[]any{
			c.ID, c.UserID, string(c.Kind), c.Name, notNull(c.Secret), string(c.State),
			micros(c.Created), micros(c.LastUsed), usedOn, micros(c.ProbationUntil), c.Realm, c.Holder,
		},
	}, c.UserID, untold)
}

// CredentialByID implements store.Credentials.
func (o operations) CredentialByID(ctx context.Context, id string) (store.Credential, error) {
	return one(ctx, "reading a credential", o.rows, statement{
		`SELECT ` + credentialColumns + ` FROM credentials WHERE id = $1`, []any{id},
	}, scanCredential)
}

// CredentialsOf implements store.Credentials.
func (o operations) CredentialsOf(ctx context.Context, userID string) ([]store.Credential, error) {
	query := statement{
		`SELECT ` + credentialColumns + ` FROM credentials WHERE user_id = $1 ORDER BY created, id`,
		[]any{userID},
	}
	return list(ctx, "listing a user's credentials", o.rows, query, scanCredential)
}

// CountByRealm implements store.Credentials.
func (o operations) CountByRealm(ctx context.Context, kind assurance.Factor) ([]store.RealmCount, error) {
	query := statement{
		`SELECT realm, COUNT(*), COUNT(DISTINCT user_id) FROM credentials WHERE kind = $1 AND state = $2 GROUP BY realm ORDER BY realm`,
		[]any{string(kind), string(store.CredentialActive)},
	}
	return list(ctx, "counting credentials by realm", o.rows, query, func(row scanner) (store.RealmCount, error) {
		var c store.RealmCount
		err := row.Scan(&c.Realm, &c.Credentials, &c.Users)
		return c, err
	})
}

// UpdateCredential implements store.Credentials.
func (o operations) UpdateCredential(ctx context.Context, c store.Credential) error {
	const doing = "updating a credential"
	usedOn, err := encodeTimes(c.LastUsedOn)
	if err != nil {
		return failed(ctx, doing, err)
	}
	return o.compareAndSet(ctx, doing, statement{
		`UPDATE credentials SET name = $1, secret = $2, state = $3, last_used = $4, last_used_on = $5, held_until = $6,
		 version = version + 1 WHERE id = $7 AND version = $8`,
		[]any{
			c.Name, notNull(c.Secret), string(c.State), micros(c.LastUsed), usedOn, micros(c.ProbationUntil), c.ID, c.Version,
		},
	}, credentialExists(c.ID), untold)
}

// DeleteCredential implements store.Credentials.
func (o operations) DeleteCredential(ctx context.Context, id string, version int64) error {
	return o.compareAndSet(ctx, "deleting a credential", statement{
		`DELETE FROM credentials WHERE id = $1 AND version = $2`, []any{id, version},
	}, credentialExists(id), untold)
}

func credentialExists(id string) statement {
	return statement{`SELECT 1 FROM credentials WHERE id = $1`, []any{id}}
}

// encodeTimes writes points in time by name.
func encodeTimes(times map[string]time.Time) (string, error) {
	written := make(map[string]int64, len(times))
	for name, at := range times {
		written[name] = micros(at)
	}
	return encode(written, len(written))
}

// decodeTimes reads what encodeTimes wrote.
func decodeTimes(text []byte) (map[string]time.Time, error) {
	written, err := decode[map[string]int64](text)
	if err != nil || len(written) == 0 {
		return nil, err
	}
	times := make(map[string]time.Time, len(written))
	for name, at := range written {
		times[name] = fromMicros(at)
	}
	return times, nil
}
