package postgres

import (
	"context"
	"encoding/json"
	"fmt"
	"strconv"
	"strings"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"

	"github.com/portcullis-mfa/portcullis/store"
)

// operations implements store.Tx, inside one transaction or with one
// transaction for each write.
type operations struct {
	rows  querier // where to read
	write runner
	// touch runs what raises a time and decides nothing.
	touch runner
	// locks says that counters which are read are locked.
	locks bool
	// settled returns up to which id no event is missing; nil: it is found out.
	settled func(context.Context) (int64, error)
}

type runner func(ctx context.Context, fn func(*transaction) error) error

var _ store.Tx = operations{}

// querier is what a transaction and a pool of connections have in common.
type querier interface {
	Exec(ctx context.Context, sql string, args ...any) (pgconn.CommandTag, error)
	Query(ctx context.Context, sql string, args ...any) (pgx.Rows, error)
	QueryRow(ctx context.Context, sql string, args ...any) pgx.Row
}

// statement is SQL with its arguments.
type statement struct {
	sql  string
	args []any
}

// and goes on with more SQL and its arguments, each of which is a ? in it.
func (s *statement) and(sql string, args ...any) {
	for _, arg := range args {
		s.args = append(s.args, arg)
		sql = strings.Replace(sql, "?", "$"+strconv.Itoa(len(s.args)), 1)
	}
	s.sql += sql
}

// change runs one statement and returns how many rows it touched. If it
// touched any, the changes are noted.
func (o operations) change(ctx context.Context, doing string, s statement, changes ...store.Change) (touched int64, err error) {
	err = o.write(ctx, func(rows *transaction) error {
		touched, err = changeIn(ctx, rows, doing, s, changes...)
		return err
	})
	return touched, err
}

func changeIn(ctx context.Context, rows *transaction, doing string, s statement, changes ...store.Change) (int64, error) {
	bounded, cancel := context.WithTimeout(ctx, callWithin)
	defer cancel()
	result, err := rows.Exec(bounded, s.sql, s.args...)
	if err != nil {
		return 0, failed(ctx, doing, err)
	}
	if result.RowsAffected() > 0 {
		rows.note(changes...)
	}
	return result.RowsAffected(), nil
}

// insert runs a statement that adds a row, or does nothing if a key of it is taken or
// the user to whom it belongs isn't there: an error would end the transaction.
func (o operations) insert(ctx context.Context, doing string, s statement, userID string, changes ...store.Change) error {
	return o.write(ctx, func(rows *transaction) error {
		added, err := changeIn(ctx, rows, doing, s, changes...)
		if err != nil || added > 0 {
			return err
		}
		if userID != "" {
			if _, err := one(ctx, doing, rows, userExists(userID), scanNumber); err != nil {
				return err
			}
		}
		return fmt.Errorf("%s: %w", doing, store.ErrConflict)
	})
}

// compareAndSet runs a statement that touches its row only if the row is as
// expected, and notes the changes. If it touches none, exists decides between
// store.ErrConflict and store.ErrNotFound, in the same transaction.
func (o operations) compareAndSet(ctx context.Context, doing string, set, exists statement, changes ...store.Change) error {
	return o.write(ctx, func(rows *transaction) error {
		touched, err := changeIn(ctx, rows, doing, set, changes...)
		if err != nil || touched > 0 {
			return err
		}
		if _, err := one(ctx, doing, rows, exists, scanNumber); err != nil {
			return err
		}
		return fmt.Errorf("%s: %w", doing, store.ErrConflict)
	})
}

// changeNamed is compareAndSet for a statement that returns what followers are told
// of the row that it changed. It reports whether there was one.
func (o operations) changeNamed(ctx context.Context, doing string, set, exists statement, kind store.ChangeKind) (changed bool, err error) {
	err = o.write(ctx, func(rows *transaction) error {
		named, err := list(ctx, doing, rows, set, scanText)
		if err != nil {
			return err
		}
		rows.noteEach(kind, named)
		if changed = len(named) > 0; changed {
			return nil
		}
		_, err = one(ctx, doing, rows, exists, scanNumber)
		return err
	})
	return changed, err
}

// scanner is one row of a result.
type scanner interface {
	Scan(dest ...any) error
}

func scanText(row scanner) (text string, err error) {
	err = row.Scan(&text)
	return text, err
}

func scanNumber(row scanner) (number int64, err error) {
	err = row.Scan(&number)
	return number, err
}

// one reads a single row; none is store.ErrNotFound.
func one[T any](ctx context.Context, doing string, rows querier, query statement, scan func(scanner) (T, error)) (T, error) {
	value, err := reading(ctx, rows, func(ctx context.Context) (T, error) {
		return scan(rows.QueryRow(ctx, query.sql, query.args...))
	})
	if err != nil {
		var none T
		return none, failed(ctx, doing, err)
	}
	return value, nil
}

// list reads all rows of a query.
func list[T any](ctx context.Context, doing string, rows querier, query statement, scan func(scanner) (T, error)) ([]T, error) {
	found, err := reading(ctx, rows, func(ctx context.Context) ([]T, error) { return collect(ctx, rows, query, scan) })
	return found, failed(ctx, doing, err)
}

// reading reads, and once more if the connection broke meanwhile that the pool gave.
func reading[T any](ctx context.Context, rows querier, read func(context.Context) (T, error)) (T, error) {
	pool, pooled := rows.(*pool)
	limit := callWithin
	if pooled {
		limit = pool.atMost(callWithin)
	}
	bounded, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	value, err := read(bounded)
	if pooled {
		for try := 0; try < maxReconnects && err != nil && isLost(err) && bounded.Err() == nil; try++ {
			value, err = read(bounded)
		}
	}
	return value, err
}

func collect[T any](ctx context.Context, rows querier, query statement, scan func(scanner) (T, error)) ([]T, error) {
	result, err := rows.Query(ctx, query.sql, query.args...)
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

// orNil is how an empty value comes back.
func orNil(b []byte) []byte {
	if len(b) == 0 {
		return nil
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
