package sqlite

import (
	"cmp"
	"context"

	"github.com/portcullis-mfa/portcullis/store"
)

// Incarnation identifies this store's life: it is drawn at random when the
// file is made, and again by Renew.
func (db *DB) Incarnation() string { return *db.incarnation.Load() }

// Descends implements store.Store.
func (db *DB) Descends(ctx context.Context, incarnation string) (descends bool, err error) {
	err = db.reading.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM former_lives WHERE incarnation = ?)`, incarnation).Scan(&descends)
	return descends || incarnation == db.Incarnation(), failed(ctx, "looking for a former life of the store", err)
}

// Renew implements store.Store.
func (db *DB) Renew(ctx context.Context, from string) error {
	const doing = "beginning another life of the store"
	incarnation := newIncarnation()
	return db.transact(ctx, func(rows *transaction) error {
		result, err := rows.ExecContext(ctx, `UPDATE meta SET value = ? WHERE key = 'incarnation' AND value = ?`, incarnation, from)
		if err != nil {
			return failed(ctx, doing, err)
		}
		if renewed, err := result.RowsAffected(); err != nil || renewed == 0 {
			return failed(ctx, doing, cmp.Or(err, store.ErrConflict))
		}
		for _, s := range []statement{
			{`INSERT INTO former_lives (incarnation) VALUES (?)`, []any{from}},
			{sql: `DELETE FROM sign_ons`},
			{`DELETE FROM records WHERE namespace <> ?`, []any{store.LossNamespace}},
			{sql: `UPDATE browsers SET remembered = 0, remembered_for = '' WHERE remembered <> 0`},
			{sql: `UPDATE messages SET state = 'void', claimed = 0, data = x'', version = version + 1 WHERE state = 'waiting'`},
			{sql: `UPDATE access_tokens SET suspended = 1 WHERE revoked = 0`},
		} {
			if _, err := rows.ExecContext(ctx, s.sql, s.args...); err != nil {
				return failed(ctx, doing, err)
			}
		}
		rows.note(untold)
		rows.renewed = incarnation
		return nil
	})
}
