package postgres

import (
	"context"
	"errors"

	"github.com/jackc/pgx/v5/pgxpool"

	"github.com/portcullis-mfa/portcullis/store"
)

const defaultEvents = 100

func scanEvent(row scanner) (store.Event, error) {
	var e store.Event
	var at int64
	var fields []byte
	if err := row.Scan(&e.ID, &at, &e.Name, &e.UserID, &fields); err != nil {
		return e, err
	}
	e.At = fromMicros(at)
	var err error
	e.Fields, err = decode[map[string]string](fields)
	return e, err
}

// Each transaction that appends an event first takes a lock that others can share,
// whose key contains the newest id at that moment: its own ids will be higher. So the
// lowest of these keys says up to which id no event can appear any more. The upper 16
// bits of the keys are eventLocks.
const (
	eventLocks  = `20579`
	lockEvents  = `SELECT pg_advisory_xact_lock_shared((` + eventLocks + `::bigint << 48) | ` + newestEvent + `) FROM events_id_seq`
	newestEvent = `(last_value - CASE WHEN is_called THEN 0 ELSE 1 END)`
	// The database's own locks only: ids of others mean nothing here.
	lowestLocked = `SELECT min(((classid::bigint & 65535) << 32) | objid::bigint) FROM pg_locks
		WHERE locktype = 'advisory' AND objsubid = 1 AND classid::bigint >> 16 = ` + eventLocks + `
			AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
)

// AppendEvent implements store.Events.
func (o operations) AppendEvent(ctx context.Context, e store.Event) error {
	const doing = "appending an event"
	fields, err := encode(e.Fields, len(e.Fields))
	if err != nil {
		return failed(ctx, doing, err)
	}
	return o.write(ctx, func(rows *transaction) error {
		if !rows.appended {
			if _, err := changeIn(ctx, rows, doing, statement{sql: lockEvents}); err != nil {
				return err
			}
			rows.appended = true
		}
		_, err := changeIn(ctx, rows, doing, statement{
			`INSERT INTO events (at, name, user_id, fields) VALUES ($1, $2, $3, $4)`,
			[]any{micros(e.At), e.Name, e.UserID, fields},
		})
		return err
	})
}

// settledEvents returns the id up to which all events can be seen that there will
// ever be, by a statement that begins afterwards. First it reads the newest id: who
// will still append lower ones has the lock by then.
func settledEvents(ctx context.Context, connection *pgxpool.Conn) (int64, error) {
	ctx, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	var newest int64
	if err := connection.QueryRow(ctx, `SELECT `+newestEvent+` FROM events_id_seq`).Scan(&newest); err != nil {
		return 0, err
	}
	var locked *int64
	if err := connection.QueryRow(ctx, lowestLocked).Scan(&locked); err != nil {
		return 0, err
	}
	if locked != nil {
		newest = min(newest, *locked)
	}
	return newest, nil
}

func (db *DB) settledEvents(ctx context.Context) (settled int64, err error) {
	err = db.pool.AcquireFunc(ctx, func(connection *pgxpool.Conn) error {
		settled, err = settledEvents(ctx, connection)
		return err
	})
	return settled, err
}

const selectEvents = `SELECT id, at, name, user_id, fields FROM events`

// ListEvents implements store.Events.
func (o operations) ListEvents(ctx context.Context, f store.EventFilter) ([]store.Event, error) {
	query := eventsLike(f)
	query.and(` ORDER BY id DESC LIMIT ?`, eventLimit(f))
	return list(ctx, "listing events", o.rows, query, scanEvent)
}

// errInTransaction refuses what can't be told from inside a transaction: its snapshot
// is older than the locks that could be looked at.
var errInTransaction = errors.New("new events can't be followed inside a transaction that writes")

// EventsAfter implements store.Events.
func (o operations) EventsAfter(ctx context.Context, after int64, f store.EventFilter) ([]store.Event, error) {
	const doing = "reading new events"
	settled, err := o.settled(ctx)
	if err != nil {
		return nil, failed(ctx, doing, err)
	}
	query := eventsLike(f)
	query.and(` AND id > ?`, after)
	query.and(` AND id <= ? ORDER BY id`, settled)
	query.and(` LIMIT ?`, eventLimit(f))
	return list(ctx, doing, o.rows, query, scanEvent)
}

// eventsLike selects the events that a filter names, all of them.
func eventsLike(f store.EventFilter) statement {
	query := statement{sql: selectEvents + ` WHERE true`}
	narrow := func(condition string, value any, given bool) {
		if given {
			query.and(condition, value)
		}
	}
	narrow(` AND user_id = ?`, f.UserID, f.UserID != "")
	narrow(` AND name = ?`, f.Name, f.Name != "")
	narrow(` AND at >= ?`, micros(f.Since), !f.Since.IsZero())
	narrow(` AND at < ?`, micros(f.Until), !f.Until.IsZero())
	narrow(` AND id < ?`, f.Before, f.Before > 0)
	return query
}

func eventLimit(f store.EventFilter) int {
	if f.Limit <= 0 {
		return defaultEvents
	}
	return f.Limit
}
