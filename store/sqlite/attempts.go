package sqlite

import (
	"context"
	"errors"
	"slices"

	"github.com/portcullis-mfa/portcullis/store"
)

func scanAttempts(row scanner) (store.Attempts, error) {
	var a store.Attempts
	var first, last int64
	err := row.Scan(&a.Scope, &a.Key, &a.Failures, &first, &last)
	a.First, a.Last = fromMicros(first), fromMicros(last)
	return a, err
}

// GetAttempts implements store.AttemptCounts.
func (o operations) GetAttempts(ctx context.Context, scope, key string) (store.Attempts, error) {
	row := o.rows.QueryRowContext(ctx,
		`SELECT scope, key, failures, first, last FROM attempts WHERE scope = ? AND key = ?`, scope, key)
	counted, err := one(ctx, "reading a count of attempts", row, scanAttempts)
	if errors.Is(err, store.ErrNotFound) {
		return store.Attempts{Scope: scope, Key: key}, nil
	}
	return counted, err
}

// PutAttempts implements store.AttemptCounts.
func (o operations) PutAttempts(ctx context.Context, a store.Attempts) error {
	_, err := o.change(ctx, "writing a count of attempts", statement{
		`INSERT INTO attempts (scope, key, failures, first, last) VALUES (?, ?, ?, ?, ?)
		 ON CONFLICT (scope, key) DO UPDATE
		 SET failures = excluded.failures, first = excluded.first, last = excluded.last`,
		[]any{a.Scope, a.Key, a.Failures, micros(a.First), micros(a.Last)},
	})
	return err
}

// DeleteAttempts implements store.AttemptCounts.
func (o operations) DeleteAttempts(ctx context.Context, scope, keyPrefix string) error {
	// Texts compare byte by byte here, so keys with a prefix lie between it
	// and its successor; no pattern is involved whose signs a key could hold.
	statement := statement{
		`DELETE FROM attempts WHERE scope = ? AND key >= ?`,
		[]any{scope, keyPrefix},
	}
	if end, bounded := successor(keyPrefix); bounded {
		statement.and(` AND key < ?`, end)
	}
	_, err := o.change(ctx, "deleting counts of attempts", statement)
	return err
}

// successor returns the least text above all texts with the prefix; there is
// none above all texts.
func successor(prefix string) (string, bool) {
	end := []byte(prefix)
	for i := len(end) - 1; i >= 0; i-- {
		if end[i] < 0xff {
			end[i]++
			return string(end[:i+1]), true
		}
	}
	return "", false
}

// CountAttempts implements store.Store. One transaction writes at a time, so it
// holds all counters; callers get those that they named.
func (db *DB) CountAttempts(ctx context.Context, keys []store.AttemptKey, fn func(counts store.AttemptCounts) error) error {
	return db.transact(ctx, func(tx *transaction) error {
		return fn(heldCounts{operations{rows: tx, write: within(tx)}, keys})
	})
}

// heldCounts are the counters of some keys.
type heldCounts struct {
	all  store.AttemptCounts
	keys []store.AttemptKey
}

var errNotHeld = errors.New("the counter isn't among those that are held")

func (c heldCounts) check(scope, key string) error {
	if !slices.Contains(c.keys, store.AttemptKey{Scope: scope, Key: key}) {
		return errNotHeld
	}
	return nil
}

func (c heldCounts) GetAttempts(ctx context.Context, scope, key string) (store.Attempts, error) {
	if err := c.check(scope, key); err != nil {
		return store.Attempts{}, err
	}
	return c.all.GetAttempts(ctx, scope, key)
}

func (c heldCounts) PutAttempts(ctx context.Context, a store.Attempts) error {
	if err := c.check(a.Scope, a.Key); err != nil {
		return err
	}
	return c.all.PutAttempts(ctx, a)
}

func (c heldCounts) DeleteAttempts(ctx context.Context, scope, key string) error {
	if err := c.check(scope, key); err != nil {
		return err
	}
	return c.all.DeleteAttempts(ctx, scope, key)
}
