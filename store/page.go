package store

import (
	"context"
	"iter"
)

// PageSize is the most rows that a page has, unless its Limit says otherwise.
const PageSize = 500

// Page says which part of a list is wanted. A row that stays in its place while
// the pages are read is on exactly one of them.
type Page[Row any] struct {
	// After is the last row of the page before; the zero row asks for the first
	// page. The row may be gone by now.
	After Row
	// Limit is the most rows that the page has; 0: PageSize.
	Limit int
}

// Size returns the Limit, or PageSize if there is none.
func (p Page[Row]) Size() int {
	if p.Limit <= 0 {
		return PageSize
	}
	return p.Limit
}

// A List returns one page of a list. A page that isn't full is the last one.
type List[Row any] func(ctx context.Context, page Page[Row]) ([]Row, error)

// Each reads a list page by page. It stops after the first error, which it yields
// with the zero row.
func Each[Row any](ctx context.Context, list List[Row]) iter.Seq2[Row, error] {
	return func(yield func(Row, error) bool) {
		var page Page[Row]
		for {
			rows, err := list(ctx, page)
			if err != nil {
				var none Row
				yield(none, err)
				return
			}
			for _, row := range rows {
				if !yield(row, nil) {
					return
				}
			}
			if len(rows) < page.Size() {
				return
			}
			page.After = rows[len(rows)-1]
		}
	}
}

// All reads all pages of a list.
func All[Row any](ctx context.Context, list List[Row]) ([]Row, error) {
	var all []Row
	for row, err := range Each(ctx, list) {
		if err != nil {
			return nil, err
		}
		all = append(all, row)
	}
	return all, nil
}
