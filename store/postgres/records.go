package postgres

import (
	"context"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

const recordColumns = `namespace, key, owner, value, expires, version`

func scanRecord(row scanner) (store.Record, error) {
	var r store.Record
	var expires int64
	err := row.Scan(&r.Namespace, &r.Key, &r.Owner, &r.Value, &expires, &r.Version)
	r.Value, r.Expires = orNil(r.Value), fromMicros(expires)
	return r, err
}

// PutRecord implements store.Records.
func (o operations) PutRecord(ctx context.Context, r store.Record) error {
	return o.insert(ctx, "putting a record", statement{
		`INSERT INTO records (` + recordColumns + `) VALUES ($1, $2, $3, $4, $5, 1) ON CONFLICT DO NOTHING`,
		[]any{r.Namespace, r.Key, r.Owner, notNull(r.Value), micros(r.Expires)},
	}, "", recordsChanged(r.Owner)...)
}

// recordsChanged is what followers are told of the records of a user.
func recordsChanged(owner string) []store.Change {
	if owner == "" {
		return nil
	}
	return []store.Change{{Kind: store.RecordsChanged, ID: owner}}
}

// GetRecord implements store.Records.
func (o operations) GetRecord(ctx context.Context, namespace, key string, now time.Time) (store.Record, error) {
	return one(ctx, "reading a record", o.rows, statement{
		`SELECT ` + recordColumns + ` FROM records WHERE namespace = $1 AND key = $2 AND expires > $3`,
		[]any{namespace, key, micros(now)},
	}, scanRecord)
}

// RecordsOf implements store.Records.
func (o operations) RecordsOf(ctx context.Context, namespace, owner string, now time.Time) ([]store.Record, error) {
	query := statement{
		`SELECT ` + recordColumns + ` FROM records WHERE owner = $1 AND owner <> '' AND namespace = $2 AND expires > $3 ORDER BY key`,
		[]any{owner, namespace, micros(now)},
	}
	return list(ctx, "listing a user's records", o.rows, query, scanRecord)
}

// UpdateRecord implements store.Records.
func (o operations) UpdateRecord(ctx context.Context, r store.Record, now time.Time) error {
	return o.compareAndSet(ctx, "updating a record", statement{
		`UPDATE records SET value = $1, expires = $2, version = version + 1
		 WHERE namespace = $3 AND key = $4 AND version = $5 AND expires > $6`,
		[]any{notNull(r.Value), micros(r.Expires), r.Namespace, r.Key, r.Version, micros(now)},
	}, statement{
		`SELECT 1 FROM records WHERE namespace = $1 AND key = $2 AND expires > $3`,
		[]any{r.Namespace, r.Key, micros(now)},
	}, recordsChanged(r.Owner)...)
}

// TakeRecord implements store.Records.
func (o operations) TakeRecord(ctx context.Context, namespace, key string, now time.Time) (store.Record, error) {
	var taken store.Record
	err := o.write(ctx, func(rows *transaction) (err error) {
		taken, err = one(ctx, "taking a record", rows, statement{
			`DELETE FROM records WHERE namespace = $1 AND key = $2 AND expires > $3 RETURNING ` + recordColumns,
			[]any{namespace, key, micros(now)},
		}, scanRecord)
		if err == nil {
			rows.note(recordsChanged(taken.Owner)...)
		}
		return err
	})
	if err != nil {
		// A record whose deletion was not committed is not taken.
		return store.Record{}, err
	}
	return taken, nil
}

// DeleteRecordsOf implements store.Records.
func (o operations) DeleteRecordsOf(ctx context.Context, namespace, owner, spared string) error {
	_, err := o.change(ctx, "deleting a user's records", statement{
		`DELETE FROM records WHERE owner = $1 AND owner <> '' AND namespace = $2 AND key <> $3`,
		[]any{owner, namespace, spared},
	}, recordsChanged(owner)...)
	return err
}
