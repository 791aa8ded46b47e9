package sqlite

import (
	"context"
	"database/sql"
	"encoding/json"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// operations implements store.Tx, inside one transaction or with one
// transaction for each write.
type operations struct {
	rows  querier // where to read
	write func(ctx context.Context, fn func(*transaction) error) error
}

var _ store.Tx = operations{}

// transaction is an open transaction, with the changes that followers are to
// be told of once it is committed.
type transaction struct {
	querier
	changes []store.Change
	// renewed is the incarnation that it begins; empty: the life goes on.
	renewed string
	// takesAway says that it takes a right away from somebody, and may use the
	// room that is kept for that.
	takesAway bool
}

// untold is a change that raises the store's position alone: nobody keeps such
// a row in memory.
var untold store.Change

// movesOn reports whether the transaction raises the store's position.
func (t *transaction) movesOn() bool {
	return slices.ContainsFunc(t.changes, func(c store.Change) bool { return c.Kind != store.RecordsChanged })
}

func (t *transaction) note(changes ...store.Change) { t.changes = append(t.changes, changes...) }

func (t *transaction) noteEnded(signOns []string) {
	for _, id := range signOns {
		t.note(store.Change{Kind: store.SignOnEnded, ID: id})
	}
}

func (t *transaction) noteDevices(certificates []string) {
	for _, certificate := range certificates {
		t.note(store.Change{Kind: store.DeviceChanged, ID: certificate})
	}
}

func (t *transaction) noteAccessTokens(selectors []string) {
	for _, selector := range selectors {
		t.note(store.Change{Kind: store.AccessTokenChanged, ID: selector})
	}
}

// within runs writes inside the transaction.
func within(tx *transaction) func(context.Context, func(*transaction) error) error {
	return func(_ context.Context, fn func(*transaction) error) error { return fn(tx) }
}

// takingAway returns the operations with a mark on the transaction that it takes
// a right away.
func (o operations) takingAway() operations {
	write := o.write
	o.write = func(ctx context.Context, fn func(*transaction) error) error {
		return write(ctx, func(rows *transaction) error {
			rows.takesAway = true
			return fn(rows)
		})
	}
	return o
}

// statement is SQL with its arguments.
type statement struct {
	sql  string
	args []any
}

// and goes on with more SQL and its arguments.
func (s *statement) and(sql string, args ...any) {
	s.sql += sql
	s.args = append(s.args, args...)
}

// change runs one statement and returns how many rows it touched. If it
// touched any, the changes are noted.
func (o operations) change(ctx context.Context, doing string, s statement, changes ...store.Change) (int64, error) {
	var touched int64
	err := o.write(ctx, func(rows *transaction) error {
		result, err := rows.ExecContext(ctx, s.sql, s.args...)
		if err != nil {
			return failed(ctx, doing, err)
		}
		if touched, err = result.RowsAffected(); touched > 0 {
			rows.note(changes...)
		}
		return failed(ctx, doing, err)
	})
	return touched, err
}

// compareAndSet runs a statement that touches its row only if the row is as
// expected, and notes the changes. If it touches none, exists decides between
// store.ErrConflict and store.ErrNotFound, in the same transaction.
func (o operations) compareAndSet(ctx context.Context, doing string, set, exists statement, changes ...store.Change) error {
	return o.write(ctx, func(rows *transaction) error {
		result, err := rows.ExecContext(ctx, set.sql, set.args...)
		if err != nil {
			return failed(ctx, doing, err)
		}
		touched, err := result.RowsAffected()
		if err != nil || touched > 0 {
			rows.note(changes...)
			return failed(ctx, doing, err)
		}
		var one int
		if err := rows.QueryRowContext(ctx, exists.sql, exists.args...).Scan(&one); err != nil {
			return failed(ctx, doing, err)
		}
		return fmt.Errorf("%s: %w", doing, store.ErrConflict)
	})
}

// scanner is one row of a result.
type scanner interface {
	Scan(dest ...any) error
}

// one reads a single row; none is store.ErrNotFound.
func one[T any](ctx context.Context, doing string, row *sql.Row, scan func(scanner) (T, error)) (T, error) {
	value, err := scan(row)
	if err != nil {
		var none T
		return none, failed(ctx, doing, err)
	}
	return value, nil
}

// list reads all rows of a query.
func list[T any](ctx context.Context, doing string, rows querier, query statement, scan func(scanner) (T, error)) ([]T, error) {
	found, err := collect(ctx, rows, query, scan)
	return found, failed(ctx, doing, err)
}

func collect[T any](ctx context.Context, rows querier, query statement, scan func(scanner) (T, error)) ([]T, error) {
	result, err := rows.QueryContext(ctx, query.sql, query.args...)
	if err != nil {
		return nil, err
	}
	defer result.Close()
	var found []T
	for result.Next() {
		value, err := scan(result)
		if err != nil {
			return nil, err
		}
		found = append(found, value)
	}
	if err := result.Err(); err != nil {
		return nil, err
	}
	return found, nil
}

// micros is how times are kept: microseconds since 1970, finer ones cut off,
// the zero time as 0.
func micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

func fromMicros(m int64) time.Time {
	if m == 0 {
		return time.Time{}
	}
	return time.UnixMicro(m).UTC()
}

// notNull keeps nil out of columns that may not be NULL.
func notNull(b []byte) []byte {
	if b == nil {
		return []byte{}
	}
	return b
}

// encode returns a list or map as JSON; an empty one as the empty text.
func encode[T any](value T, size int) (string, error) {
	if size == 0 {
		return "", nil
	}
	text, err := json.Marshal(value)
	return string(text), err
}

// decode reads what encode wrote.
func decode[T any](text []byte) (value T, err error) {
	if len(text) == 0 {
		return value, nil
	}
	err = json.Unmarshal(text, &value)
	return value, err
}
