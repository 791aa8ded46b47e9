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
	query := statement{sql: selectEvents + ` WHERE true`}
	narrow := func(condition string, value any, given bool) {
		if given {
			query.and(condition, value)
		}
	}
	narrow(` AND user_id = ?`, f.UserID, f.UserID != "")
	narrow(` AND name = ?`, f.Name, f.Name != "")
	narrow(` AND id < ?`, f.Before, f.Before > 0)
	if f.Limit <= 0 {
		f.Limit = defaultEvents
	}
	query.and(` ORDER BY id DESC LIMIT ?`, f.Limit)
	return list(ctx, "listing events", o.rows, query, scanEvent)
}

// EventsAfter implements store.Events. One transaction writes at a time, so events
// appear in the order of their ids.
func (o operations) EventsAfter(ctx context.Context, after int64, limit int) ([]store.Event, error) {
	return list(ctx, "reading new events", o.rows, statement{
		selectEvents + ` WHERE id > ? ORDER BY id LIMIT ?`, []any{after, limit},
	}, scanEvent)
}
