package commands

import (
	"errors"
	"fmt"
	"io"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/portcullis-mfa/portcullis/showable"
)

// stamp writes a time as all pages do, with its zone.
func stamp(t time.Time) string { return t.Local().Format("2006-01-02 15:04:05 MST") }

// table writes aligned columns. What a stranger could have typed is kept from
// steering the terminal.
type table struct {
	out *tabwriter.Writer
	err error
}

func newTable(w io.Writer, head ...string) *table {
	t := &table{out: tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)}
	if len(head) > 0 {
		t.row(head...)
	}
	return t
}

func (t *table) row(cells ...string) {
	for i, cell := range cells {
		cells[i] = showable.Text(cell)
	}
	if _, err := fmt.Fprintln(t.out, strings.Join(cells, "\t")); err != nil && t.err == nil {
		t.err = err
	}
}

func (t *table) close() error { return errors.Join(t.err, t.out.Flush()) }
