package sqlite

import (
	"context"
	"time"
)

// Lease implements store.Store.
func (db *DB) Lease(ctx context.Context, work, holder string, d time.Duration) (bool, error) {
	const doing = "leasing work"
	if d <= 0 {
		_, err := db.change(ctx, doing, statement{
			`DELETE FROM leases WHERE work = ? AND holder = ?`, []any{work, holder},
		})
		return false, err
	}
	// One that lasts longer than from now was made before the clock was set back.
	taken, err := db.change(ctx, doing, statement{
		`INSERT INTO leases (work, holder, until)
		 VALUES (?1, ?2, CAST(unixepoch('now', 'subsec') * 1000000 AS INTEGER) + ?3)
		 ON CONFLICT (work) DO UPDATE SET holder = excluded.holder, until = excluded.until
		 WHERE leases.holder = excluded.holder OR leases.until <= excluded.until - ?3 OR leases.until > excluded.until`,
		[]any{work, holder, d.Microseconds()},
	})
	return taken > 0, err
}
