package sqlite

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/portcullis-mfa/portcullis/store/transfer"
)

// Export implements transfer.Source.
func (db *DB) Export(ctx context.Context, each func(transfer.Table, transfer.Row) error) (transfer.Totals, error) {
	var totals transfer.Totals
	tx, err := db.reading.BeginTx(ctx, &sql.TxOptions{ReadOnly: true})
	if err != nil {
		return totals, failed(ctx, "beginning to read", err)
	}
	defer func() { _ = tx.Rollback() }() // nothing was written
	for _, t := range transfer.Tables {
		if err := exportTable(ctx, tx, t, each); err != nil {
			return totals, fmt.Errorf("reading the table %s: %w", t.Name, err)
		}
	}
	err = tx.QueryRowContext(ctx, `SELECT (SELECT value FROM meta WHERE key = 'incarnation'), (SELECT value FROM position),
		coalesce((SELECT seq FROM sqlite_sequence WHERE name = 'events'), 0)`,
	).Scan(&totals.Incarnation, &totals.Position, &totals.LastEvent)
	return totals, failed(ctx, "reading the store's position", err)
}

func exportTable(ctx context.Context, rows querier, t transfer.Table, each func(transfer.Table, transfer.Row) error) error {
	columns := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		columns[i] = c.Name
	}
	result, err := rows.QueryContext(ctx, `SELECT `+strings.Join(columns, ", ")+` FROM `+t.Name+` ORDER BY `+strings.Join(t.Key, ", "))
	if err != nil {
		return err
	}
	defer result.Close()
	for result.Next() {
		row, err := scanExported(result, t)
		if err != nil {
			return err
		}
		if err := each(t, row); err != nil {
			return err
		}
	}
	return result.Err()
}

func scanExported(from scanner, t transfer.Table) (transfer.Row, error) {
	into := make([]any, len(t.Columns))
	for i, c := range t.Columns {
		switch c.Kind {
		case transfer.Text, transfer.NullText:
			into[i] = new(sql.NullString)
		case transfer.Bytes:
			into[i] = new([]byte)
		case transfer.Number:
			into[i] = new(int64)
		case transfer.Boolean:
			into[i] = new(bool)
		}
	}
	if err := from.Scan(into...); err != nil {
		return nil, err
	}
	row := make(transfer.Row, len(into))
	for i, value := range into {
		switch v := value.(type) {
		case *sql.NullString:
			row[i] = v.String
		case *[]byte:
			row[i] = notNull(*v)
		case *int64:
			row[i] = *v
		case *bool:
			row[i] = *v
		}
	}
	return row, nil
}

// Import implements transfer.Target.
func (db *DB) Import(ctx context.Context, fill func(put func(transfer.Table, transfer.Row) error) (transfer.Totals, error)) error {
	const doing = "filling the store"
	return db.transact(ctx, func(rows *transaction) error {
		var used bool
		err := rows.QueryRowContext(ctx, `SELECT EXISTS (SELECT 1 FROM users) OR EXISTS (SELECT 1 FROM events)`).Scan(&used)
		if err != nil {
			return failed(ctx, doing, err)
		}
		if used {
			return transfer.ErrNotEmpty
		}
		totals, err := fill(func(t transfer.Table, row transfer.Row) error { return importRow(ctx, rows, t, row) })
		if err != nil {
			return err
		}
		for _, s := range []statement{
			{`UPDATE meta SET value = ? WHERE key = 'incarnation'`, []any{totals.Incarnation}},
			{`UPDATE position SET value = ?`, []any{totals.Position}},
			{`DELETE FROM sqlite_sequence WHERE name = 'events'`, nil},
			{`INSERT INTO sqlite_sequence (name, seq) VALUES ('events', ?)`, []any{totals.LastEvent}},
		} {
			if _, err := rows.ExecContext(ctx, s.sql, s.args...); err != nil {
				return failed(ctx, doing, err)
			}
		}
		return nil
	})
}

func importRow(ctx context.Context, rows querier, t transfer.Table, row transfer.Row) error {
	columns := make([]string, len(t.Columns))
	values := make([]any, len(row))
	for i, c := range t.Columns {
		columns[i], values[i] = c.Name, row[i]
		if c.Kind == transfer.NullText && row[i] == "" {
			values[i] = nil
		}
	}
	_, err := rows.ExecContext(ctx, `INSERT INTO `+t.Name+` (`+strings.Join(columns, ", ")+`) VALUES (?`+strings.Repeat(", ?", len(values)-1)+`)`, values...)
	return failed(ctx, "filling the table "+t.Name, err)
}

var _ transfer.Target = (*DB)(nil)
