package postgres

import (
	"context"

	"github.com/portcullis-mfa/portcullis/store"
)

// GiveUpName implements store.FormerNames.
func (o operations) GiveUpName(ctx context.Context, n store.FormerName) error {
	_, err := o.change(ctx, "noting that a name was given up", statement{
		`INSERT INTO former_names (name, user_id, given_up) VALUES ($1, $2, $3)
		 ON CONFLICT (name, user_id) DO UPDATE SET given_up = greatest(former_names.given_up, excluded.given_up)`,
		[]any{n.Name, n.UserID, micros(n.GivenUp)},
	})
	return err
}

// ListFormerNames implements store.FormerNames.
func (o operations) ListFormerNames(ctx context.Context, name string) ([]store.FormerName, error) {
	return list(ctx, "listing who gave up a name", o.rows, statement{
		`SELECT name, user_id, given_up FROM former_names WHERE name = $1 ORDER BY user_id`, []any{name},
	}, scanFormerName)
}

func scanFormerName(row scanner) (store.FormerName, error) {
	var n store.FormerName
	var givenUp int64
	err := row.Scan(&n.Name, &n.UserID, &givenUp)
	n.GivenUp = fromMicros(givenUp)
	return n, err
}
