package sqlite

import (
	"context"
	"maps"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// sweepBatch is how many rows one transaction of a sweep deletes, so that
// those who sign in meanwhile wait milliseconds at most.
const sweepBatch = 1000

// Sweep deletes in batches of its own transactions: what it did before its
// context ended, or before an error, stays done.
func (db *DB) Sweep(ctx context.Context, now time.Time, limits store.SweepLimits) error {
	for _, s := range sweeps(now, limits) {
		if err := db.deleteInBatches(ctx, s); err != nil {
			return err
		}
	}
	return nil
}

// sweeps returns a deletion for each limit that is set. Each ends with the
// number of rows to delete at most as its last parameter.
func sweeps(now time.Time, limits store.SweepLimits) []statement {
	deletions := []statement{
		{`DELETE FROM records WHERE rowid IN (SELECT rowid FROM records WHERE expires <= ? LIMIT ?)`, []any{micros(now)}},
	}
	before := func(limit time.Time, sql string) {
		if !limit.IsZero() {
			deletions = append(deletions, statement{sql, []any{micros(limit)}})
		}
	}
	before(limits.AttemptsBefore, `DELETE FROM attempts WHERE (scope, key) IN
		(SELECT scope, key FROM attempts WHERE last < ? LIMIT ?)`)
	for _, scope := range slices.Sorted(maps.Keys(limits.KeepAttempts)) {
		deletions = append(deletions, statement{
			`DELETE FROM attempts WHERE scope = ?1 AND key IN
				(SELECT key FROM attempts WHERE scope = ?1 ORDER BY last DESC, key LIMIT ?3 OFFSET ?2)`,
			[]any{scope, max(0, limits.KeepAttempts[scope])},
		})
	}
	before(limits.SignOnsBefore, `DELETE FROM sign_ons WHERE id IN
		(SELECT id FROM sign_ons WHERE expires < ?1 OR (ended <> 0 AND ended < ?1) LIMIT ?2)`)
	before(limits.BrowsersBefore, `DELETE FROM browsers WHERE rowid IN
		(SELECT rowid FROM browsers WHERE last_seen < ? LIMIT ?)`)
	before(limits.DevicesBefore, `DELETE FROM devices WHERE id IN
		(SELECT id FROM devices WHERE expires < ? LIMIT ?)`)
	before(limits.PendingDevicesBefore, `DELETE FROM devices WHERE id IN
		(SELECT id FROM devices WHERE state = 'pending' AND issued < ? LIMIT ?)`)
	before(limits.DevicesBefore, `DELETE FROM device_certificates WHERE certificate IN
		(SELECT c.certificate FROM device_certificates AS c JOIN devices AS d ON d.id = c.device_id
		 WHERE c.expires < ? AND c.certificate <> d.certificate LIMIT ?)`)
	before(limits.DevicesBefore, `DELETE FROM barred_certificates WHERE certificate IN
		(SELECT certificate FROM barred_certificates WHERE expires < ? LIMIT ?)`)
	before(limits.DevicesBefore, `DELETE FROM issuers WHERE fingerprint IN
		(SELECT fingerprint FROM issuers WHERE expires < ? LIMIT ?)`)
	before(limits.FormerNamesBefore, `DELETE FROM former_names WHERE (name, user_id) IN
		(SELECT name, user_id FROM former_names WHERE given_up < ? LIMIT ?)`)
	before(limits.AccessTokensBefore, `DELETE FROM access_tokens WHERE id IN
		(SELECT id FROM access_tokens WHERE expires < ? LIMIT ?)`)
	before(limits.MessagesBefore, `DELETE FROM messages WHERE id IN
		(SELECT id FROM messages WHERE expires < ? LIMIT ?)`)
	before(limits.EventsBefore, `DELETE FROM events WHERE id IN
		(SELECT id FROM events WHERE at < ? LIMIT ?)`)
	return deletions
}

func (db *DB) deleteInBatches(ctx context.Context, s statement) error {
	s.args = append(s.args, sweepBatch)
	for {
		deleted, err := db.change(ctx, "sweeping the store", s)
		if err != nil || deleted < sweepBatch {
			return err
		}
	}
}
