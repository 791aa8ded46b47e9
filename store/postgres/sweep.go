package postgres

import (
	"context"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// sweepBatch is how many rows one transaction of a sweep deletes, so that
// those who sign in meanwhile wait milliseconds at most.
const sweepBatch = 1000

// keepInShard is how many changes of a shard stay, however old they are.
const keepInShard = 100

// Sweep deletes in batches of its own transactions: what it did before its
// context ended, or before an error, stays done. It shortens the feed of changes
// too, by the database's clock.
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
	deletions := []statement{expired("records", `expires <= $1`, now), sweepChanges()}
	before := func(limit time.Time, table, condition string) {
		if !limit.IsZero() {
			deletions = append(deletions, expired(table, condition, limit))
		}
	}
	before(limits.AttemptsBefore, "attempts", `last < $1`)
	for _, scope := range slices.Sorted(maps.Keys(limits.KeepAttempts)) {
		deletions = append(deletions, statement{
			`DELETE FROM attempts WHERE ctid = ANY (ARRAY(
				SELECT ctid FROM attempts WHERE scope = $1 ORDER BY last DESC, key LIMIT $3 OFFSET $2))`,
			[]any{scope, max(0, limits.KeepAttempts[scope])},
		})
	}
	before(limits.SignOnsBefore, "sign_ons", `expires < $1`)
	before(limits.SignOnsBefore, "sign_ons", `ended <> 0 AND ended < $1`)
	before(limits.BrowsersBefore, "browsers", `last_seen < $1`)
	before(limits.DevicesBefore, "devices", `expires < $1`)
	before(limits.PendingDevicesBefore, "devices", `issued < $1 AND state = 'pending'`)
	before(limits.DevicesBefore, "device_certificates",
		`expires < $1 AND NOT EXISTS (SELECT FROM devices d WHERE d.certificate = device_certificates.certificate)`)
	before(limits.DevicesBefore, "barred_certificates", `expires < $1`)
	before(limits.DevicesBefore, "issuers", `expires < $1`)
	before(limits.FormerNamesBefore, "former_names", `given_up < $1`)
	before(limits.AccessTokensBefore, "access_tokens", `expires < $1`)
	before(limits.MessagesBefore, "messages", `expires < $1`)
	before(limits.EventsBefore, "events", `at < $1`)
	return deletions
}

// expired deletes by the rows' places: a row that changes meanwhile has another one,
// and stays.
func expired(table, condition string, limit time.Time) statement {
	column, _, _ := strings.Cut(condition, " ") // its index, rather than all rows
	return statement{
		`DELETE FROM ` + table + ` WHERE ctid = ANY (ARRAY(
			SELECT ctid FROM ` + table + ` WHERE ` + condition + ` ORDER BY ` + column + ` LIMIT $2))`,
		[]any{micros(limit)},
	}
}

// sweepChanges deletes changes that no process needs which has read the feed within
// keepChanges. The one that such a process read last is needed still, and has a
// successor that is younger.
func sweepChanges() statement {
	return statement{
		`DELETE FROM changes WHERE ctid = ANY (ARRAY(
			SELECT c.ctid FROM changes c JOIN position p USING (shard)
				JOIN changes s ON s.shard = c.shard AND s.n = c.n + 1
			WHERE c.at < ` + present + ` - $1 AND s.at < ` + present + ` - $1 AND c.n < p.n - $2 LIMIT $3))`,
		[]any{keepChanges.Microseconds(), keepInShard},
	}
}

func (db *DB) deleteInBatches(ctx context.Context, s statement) error {
	s.args = append(s.args, sweepBatch)
	for {
		var deleted int64
		err := db.touch(ctx, func(rows *transaction) (err error) {
			deleted, err = changeIn(ctx, rows, "sweeping the store", s)
			return err
		})
		if err != nil || deleted < sweepBatch {
			return err
		}
	}
}
