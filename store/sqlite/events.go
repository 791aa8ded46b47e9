package sqlite

import (
	"context"

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

// AppendEvent implements store.Events.
func (o operations) AppendEvent(ctx context.Context, e store.Event) error {
	const doing = "appending an event"
	fields, err := encode(e.Fields, len(e.Fields))
	if err != nil {
		return failed(ctx, doing, err)
	}
	_, err = o.change(ctx, doing, statement{
		`INSERT INTO events (at, name, user_id, fields) VALUES (?, ?, ?, ?)`,
		[]any{micros(e.At), e.Name, e.UserID, fields},
	})
	return err
}

const selectEvents = `SELECT id, at, name, user_id, fields FROM events`

// ListEvents implements store.Events.
func (o operations) ListEvents(ctx context.Context, f store.EventFilter) ([]store.Event, error) {
	query := eventsLike(f)
	query.and(` ORDER BY id DESC LIMIT ?`, eventLimit(f))
	return list(ctx, "listing events", o.rows, query, scanEvent)
}

// EventsAfter implements store.Events. One transaction writes at a time, so events
// appear in the order of their ids.
func (o operations) EventsAfter(ctx context.Context, after int64, f store.EventFilter) ([]store.Event, error) {
	query := eventsLike(f)
	query.and(` AND id > ?`, after)
	query.and(` ORDER BY id LIMIT ?`, eventLimit(f))
	return list(ctx, "reading new events", o.rows, query, scanEvent)
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
