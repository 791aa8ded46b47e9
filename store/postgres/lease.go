package postgres

import (
	"context"
	"time"
)

// Lease implements store.Store.
func (db *DB) Lease(ctx context.Context, work, holder string, d time.Duration) (bool, error) {
	const doing = "leasing work"
	query := statement{`DELETE FROM leases WHERE work = $1 AND holder = $2`, []any{work, holder}}
	if d > 0 {
		// One that lasts longer than from now was made before the clock was set back.
		query = statement{
			`INSERT INTO leases (work, holder, until) VALUES ($1, $2, ` + present + ` + $3)
			 ON CONFLICT (work) DO UPDATE SET holder = excluded.holder, until = excluded.until
			 WHERE leases.holder = excluded.holder OR leases.until <= excluded.until - $3 OR leases.until > excluded.until`,
			[]any{work, holder, d.Microseconds()},
		}
	}
	var taken int64
	err := db.touch(ctx, func(rows *transaction) (err error) {
		taken, err = changeIn(ctx, rows, doing, query)
		return err
	})
	return d > 0 && taken > 0, err
}
