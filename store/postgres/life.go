package postgres

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"

	"github.com/portcullis-mfa/portcullis/store"
)

// life is one of the store's lives: how many were before it, and what it is called.
type life struct {
	number      int64
	incarnation string
}

const selectLife = `SELECT (SELECT count(*) FROM former_lives), value FROM meta WHERE key = 'incarnation'`

func readLife(ctx context.Context, rows querier) (life, error) {
	return one(ctx, "reading the store's incarnation", rows, statement{sql: selectLife}, func(row scanner) (l life, err error) {
		err = row.Scan(&l.number, &l.incarnation)
		return l, err
	})
}

func newIncarnation() string {
	id := make([]byte, 16)
	rand.Read(id) // never fails
	return hex.EncodeToString(id)
}

// Incarnation identifies this store's life: it is drawn at random when the
// store is made, and again by Renew.
func (db *DB) Incarnation() string { return db.life.Load().incarnation }

// adopt goes on with a life, if it is newer than what is known.
func (db *DB) adopt(l life) {
	for {
		known := db.life.Load()
		if known.number >= l.number {
			return
		}
		if db.life.CompareAndSwap(known, &l) {
			db.feed.each(func(f store.Follower) { f.Renewed(l.incarnation) })
			return
		}
	}
}

// learnLife reads which life it is.
func (db *DB) learnLife(ctx context.Context) error {
	present, err := readLife(ctx, db.pool)
	if err == nil {
		db.adopt(present)
	}
	return err
}

// Descends implements store.Store.
func (db *DB) Descends(ctx context.Context, incarnation string) (bool, error) {
	known, err := one(ctx, "looking for a former life of the store", db.pool, statement{
		`SELECT EXISTS (SELECT FROM former_lives WHERE incarnation = $1)`, []any{incarnation},
	}, scanBool)
	return known || err == nil && incarnation == db.Incarnation(), err
}

func scanBool(row scanner) (is bool, err error) {
	err = row.Scan(&is)
	return is, err
}

// Renew implements store.Store.
func (db *DB) Renew(ctx context.Context, from string) error {
	const doing = "beginning another life of the store"
	incarnation := newIncarnation()
	renewed := true
	err := db.transact(ctx, func(rows *transaction) error {
		ended, err := changeIn(ctx, rows, doing, statement{
			`UPDATE meta SET value = $1 WHERE key = 'incarnation' AND value = $2`, []any{incarnation, from},
		})
		if renewed = ended > 0; err != nil || !renewed {
			return err
		}
		for _, s := range []statement{
			{`INSERT INTO former_lives (incarnation) VALUES ($1)`, []any{from}},
			{sql: `TRUNCATE sign_ons`},
			{`DELETE FROM records WHERE namespace <> $1`, []any{store.LossNamespace}},
			{sql: `UPDATE browsers SET remembered = 0, remembered_for = '' WHERE remembered <> 0`},
			{sql: `UPDATE messages SET state = 'void', claimed = 0, data = '', version = version + 1 WHERE state = 'waiting'`},
			{sql: `UPDATE access_tokens SET suspended = true WHERE revoked = 0`},
		} {
			if _, err := changeIn(ctx, rows, doing, s); err != nil {
				return err
			}
		}
		begun, err := readLife(ctx, rows)
		rows.note(store.Change{Kind: renewedKind, ID: incarnation})
		rows.renewed = &begun
		return err
	})
	if err == nil && !renewed {
		if err = db.learnLife(ctx); err == nil {
			err = fmt.Errorf("%s: %w", doing, store.ErrConflict)
		}
	}
	return err
}
