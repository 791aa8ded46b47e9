package postgres

import (
	"context"
	"fmt"
	"strings"

	"github.com/jackc/pgx/v5"

	"github.com/portcullis-mfa/portcullis/store/transfer"
)

// importBatch is how many rows travel at once.
const importBatch = 1000

// Export implements transfer.Source.
func (db *DB) Export(ctx context.Context, each func(transfer.Table, transfer.Row) error) (transfer.Totals, error) {
	var totals transfer.Totals
	tx, err := db.pool.BeginTx(ctx, pgx.TxOptions{IsoLevel: pgx.RepeatableRead, AccessMode: pgx.ReadOnly})
	if err != nil {
		return totals, failed(ctx, "beginning to read", err)
	}
	defer rollBack(tx)
	for _, t := range transfer.Tables {
		if err := exportTable(ctx, tx, t, each); err != nil {
			return totals, fmt.Errorf("reading the table %s: %w", t.Name, err)
		}
	}
	err = tx.QueryRow(ctx, `SELECT (SELECT value FROM meta WHERE key = 'incarnation'),
		(SELECT coalesce(sum(counted), 0)::bigint FROM position), (SELECT `+newestEvent+` FROM events_id_seq)`,
	).Scan(&totals.Incarnation, &totals.Position, &totals.LastEvent)
	return totals, failed(ctx, "reading the store's position", err)
}

func exportTable(ctx context.Context, tx pgx.Tx, t transfer.Table, each func(transfer.Table, transfer.Row) error) error {
	columns := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		columns[i] = c.Name
		if c.Kind == transfer.NullText {
			columns[i] = `coalesce(` + c.Name + `, '')`
		}
	}
	rows, err := tx.Query(ctx, `SELECT `+strings.Join(columns, ", ")+` FROM `+t.Name+` ORDER BY `+strings.Join(t.Key, ", "))
	if err != nil {
		return err
	}
	defer rows.Close()
	for rows.Next() {
		row, err := rows.Values()
		if err != nil {
			return err
		}
		for i, value := range row {
			if n, isSmall := value.(int32); isSmall {
				row[i] = int64(n)
			}
		}
		if err := each(t, row); err != nil {
			return err
		}
	}
	return rows.Err()
}

// Import implements transfer.Target.
func (db *DB) Import(ctx context.Context, fill func(put func(transfer.Table, transfer.Row) error) (transfer.Totals, error)) error {
	const doing = "filling the store"
	tx, err := db.pool.Begin(ctx)
	if err != nil {
		return failed(ctx, doing, err)
	}
	defer rollBack(tx)
	var used bool
	// Nobody else may write until all is there.
	if _, err := tx.Exec(ctx, `LOCK TABLE users, position, meta IN EXCLUSIVE MODE`); err != nil {
		return failed(ctx, doing, err)
	}
	if err := tx.QueryRow(ctx, `SELECT EXISTS (SELECT FROM users) OR EXISTS (SELECT FROM events)`).Scan(&used); err != nil {
		return failed(ctx, doing, err)
	}
	if used {
		return transfer.ErrNotEmpty
	}
	filling := &filling{ctx: ctx, tx: tx}
	totals, err := fill(filling.put)
	if err == nil {
		err = filling.flush()
	}
	if err != nil {
		return err
	}
	for _, s := range []statement{
		{`UPDATE meta SET value = $1 WHERE key = 'incarnation'`, []any{totals.Incarnation}},
		{`UPDATE position SET counted = 0`, nil},
		// Of a shard that no connection has.
		{`INSERT INTO position (shard, n, stamp, counted) VALUES (-1, 1, 1, $1)`, []any{totals.Position}},
		{`INSERT INTO changes (shard, n, stamp, at, told) VALUES (-1, 1, 1, 0, '')`, nil},
		{`SELECT setval('events_id_seq', greatest($1, 1), $1 > 0)`, []any{totals.LastEvent}},
	} {
		if _, err := tx.Exec(ctx, s.sql, s.args...); err != nil {
			return failed(ctx, doing, err)
		}
	}
	return failed(ctx, doing, tx.Commit(ctx))
}

// filling puts rows into a table, many at once.
type filling struct {
	ctx   context.Context
	tx    pgx.Tx
	table transfer.Table
	rows  [][]any
}

func (f *filling) put(t transfer.Table, row transfer.Row) error {
	if t.Name != f.table.Name || len(f.rows) == importBatch {
		if err := f.flush(); err != nil {
			return err
		}
		f.table = t
	}
	values := make([]any, len(row))
	for i, value := range row {
		values[i] = value
		if t.Columns[i].Kind == transfer.NullText && value == "" {
			values[i] = nil
		}
	}
	f.rows = append(f.rows, values)
	return nil
}

func (f *filling) flush() error {
	if len(f.rows) == 0 {
		return nil
	}
	columns := make([]string, len(f.table.Columns))
	for i, c := range f.table.Columns {
		columns[i] = c.Name
	}
	_, err := f.tx.CopyFrom(f.ctx, pgx.Identifier{f.table.Name}, columns, pgx.CopyFromRows(f.rows))
	f.rows = f.rows[:0]
	return failed(f.ctx, "filling the table "+f.table.Name, err)
}

var _ transfer.Target = (*DB)(nil)
