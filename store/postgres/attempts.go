package postgres

import (
	"cmp"
	"context"
	"errors"
	"slices"

	"github.com/portcullis-mfa/portcullis/store"
)

const selectAttempts = `SELECT scope, key, failures, first, last FROM attempts WHERE scope = $1 AND key = $2`

func scanAttempts(row scanner) (store.Attempts, error) {
	var a store.Attempts
	var first, last int64
	err := row.Scan(&a.Scope, &a.Key, &a.Failures, &first, &last)
	a.First, a.Last = fromMicros(first), fromMicros(last)
	return a, err
}

// GetAttempts implements store.AttemptCounts. Inside a transaction it locks the
// counter: those who count it hold it, and don't ask whether somebody read it.
func (o operations) GetAttempts(ctx context.Context, scope, key string) (store.Attempts, error) {
	query := statement{selectAttempts, []any{scope, key}}
	if o.locks {
		query.and(` FOR UPDATE`)
	}
	counted, err := one(ctx, "reading a count of attempts", o.rows, query, scanAttempts)
	if errors.Is(err, store.ErrNotFound) {
		return store.Attempts{Scope: scope, Key: key}, nil
	}
	return counted, err
}

// PutAttempts implements store.AttemptCounts.
func (o operations) PutAttempts(ctx context.Context, a store.Attempts) error {
	_, err := o.change(ctx, "writing a count of attempts", putAttempts(a))
	return err
}

func putAttempts(a store.Attempts) statement {
	return statement{
		`INSERT INTO attempts (scope, key, failures, first, last) VALUES ($1, $2, $3, $4, $5)
		 ON CONFLICT (scope, key) DO UPDATE
		 SET failures = excluded.failures, first = excluded.first, last = excluded.last`,
		[]any{a.Scope, a.Key, a.Failures, micros(a.First), micros(a.Last)},
	}
}

// DeleteAttempts implements store.AttemptCounts.
func (o operations) DeleteAttempts(ctx context.Context, scope, keyPrefix string) error {
	_, err := o.change(ctx, "deleting counts of attempts", statement{
		`DELETE FROM attempts WHERE scope = $1 AND key >= $2 AND starts_with(key, $2)`, []any{scope, keyPrefix},
	})
	return err
}

// CountAttempts implements store.Store. A row that isn't there can't be held, so those
// that are missing are added first, in one order for all; those that fn doesn't put are
// deleted at the end. Nobody else sees any of that.
func (db *DB) CountAttempts(ctx context.Context, keys []store.AttemptKey, fn func(counts store.AttemptCounts) error) error {
	const doing = "counting attempts"
	keys = slices.Clone(keys)
	slices.SortFunc(keys, func(a, b store.AttemptKey) int {
		return cmp.Or(cmp.Compare(a.Scope, b.Scope), cmp.Compare(a.Key, b.Key))
	})
	keys = slices.Compact(keys)
	scopes, names := make([]string, len(keys)), make([]string, len(keys))
	for i, key := range keys {
		scopes[i], names[i] = key.Scope, key.Key
	}
	return db.run(ctx, beginCount, func(rows *transaction) error {
		_, err := changeIn(ctx, rows, doing, statement{
			`INSERT INTO attempts (scope, key, failures, first, last)
			 SELECT k.scope, k.key, 0, 0, 0 FROM unnest($1::text[], $2::text[]) WITH ORDINALITY AS k (scope, key, i) ORDER BY i
			 ON CONFLICT DO NOTHING`,
			[]any{scopes, names},
		})
		if err != nil {
			return err
		}
		held, err := list(ctx, doing, rows, statement{
			`SELECT a.scope, a.key, a.failures, a.first, a.last FROM attempts a
				JOIN unnest($1::text[], $2::text[]) AS k (scope, key) ON (a.scope, a.key) = (k.scope, k.key)
			 ORDER BY a.scope, a.key FOR UPDATE OF a`,
			[]any{scopes, names},
		}, scanAttempts)
		if err != nil {
			return err
		}
		if len(held) < len(keys) {
			// One was deleted between the two statements.
			rows.conflict = errors.New("a counter was deleted while it was to be held")
			return nil
		}
		counts := newHeldCounts(held)
		if err := fn(counts); err != nil {
			return err
		}
		return counts.write(ctx, rows, doing)
	})
}

// heldCounts are the counters that a transaction holds. They are written at its end.
type heldCounts map[store.AttemptKey]*heldCount

type heldCount struct {
	store.Attempts
	there   bool // it is to stay
	changed bool
}

func newHeldCounts(held []store.Attempts) heldCounts {
	counts := make(heldCounts, len(held))
	for _, a := range held {
		added := a.Failures == 0 && a.Last.IsZero()
		counts[store.AttemptKey{Scope: a.Scope, Key: a.Key}] = &heldCount{Attempts: a, there: !added, changed: added}
	}
	return counts
}

var errNotHeld = errors.New("the counter isn't among those that are held")

// GetAttempts implements store.AttemptCounts.
func (c heldCounts) GetAttempts(ctx context.Context, scope, key string) (store.Attempts, error) {
	count, held := c[store.AttemptKey{Scope: scope, Key: key}]
	if !held {
		return store.Attempts{}, errNotHeld
	}
	return count.Attempts, ctx.Err()
}

// PutAttempts implements store.AttemptCounts.
func (c heldCounts) PutAttempts(ctx context.Context, a store.Attempts) error {
	count, held := c[store.AttemptKey{Scope: a.Scope, Key: a.Key}]
	if !held {
		return errNotHeld
	}
	a.First, a.Last = fromMicros(micros(a.First)), fromMicros(micros(a.Last))
	*count = heldCount{Attempts: a, there: true, changed: true}
	return ctx.Err()
}

// DeleteAttempts implements store.AttemptCounts.
func (c heldCounts) DeleteAttempts(ctx context.Context, scope, key string) error {
	err := c.PutAttempts(ctx, store.Attempts{Scope: scope, Key: key})
	if err == nil {
		c[store.AttemptKey{Scope: scope, Key: key}].there = false
	}
	return err
}

// write writes what has changed.
func (c heldCounts) write(ctx context.Context, rows *transaction, doing string) error {
	for key, count := range c {
		set := putAttempts(count.Attempts)
		if !count.there {
			set = statement{`DELETE FROM attempts WHERE scope = $1 AND key = $2`, []any{key.Scope, key.Key}}
		}
		if !count.changed {
			continue
		}
		if _, err := changeIn(ctx, rows, doing, set); err != nil {
			return err
		}
	}
	return nil
}
