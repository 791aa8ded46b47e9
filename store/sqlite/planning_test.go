package sqlite

import (
	"context"
	"database/sql"
	"strings"
	"testing"
)

// planning runs statements after looking at SQLite's plans for them.
type planning struct {
	querier
	t    *testing.T
	seen int
}

func (p *planning) look(ctx context.Context, query string, args []any) {
	p.seen++
	steps, err := collect(ctx, p.querier, statement{`EXPLAIN QUERY PLAN ` + query, args}, func(row scanner) (string, error) {
		var id, parent, unused int
		var step string
		return step, row.Scan(&id, &parent, &unused, &step)
	})
	if err != nil {
		p.t.Errorf("%s: %v", query, err)
	}
	for _, step := range steps {
		if strings.HasPrefix(step, "SCAN") || strings.Contains(query, "LIMIT ?") && strings.Contains(step, "TEMP B-TREE") {
			p.t.Errorf("%s\n%s", query, step)
		}
	}
}

// PrepareContext looks at the plan with nothing bound: it depends on the
// statement alone.
func (p *planning) PrepareContext(ctx context.Context, query string) (*sql.Stmt, error) {
	p.look(ctx, query, make([]any, strings.Count(query, "?")))
	return p.querier.PrepareContext(ctx, query)
}

func (p *planning) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	p.look(ctx, query, args)
	return p.querier.ExecContext(ctx, query, args...)
}

func (p *planning) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	p.look(ctx, query, args)
	return p.querier.QueryContext(ctx, query, args...)
}

func (p *planning) QueryRowContext(ctx context.Context, query string, args ...any) *sql.Row {
	p.look(ctx, query, args)
	return p.querier.QueryRowContext(ctx, query, args...)
}
