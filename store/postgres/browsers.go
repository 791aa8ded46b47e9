package postgres

import (
	"context"
	"time"

	"github.com/jackc/pgx/v5"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

const browserColumns = `id, user_id, token_hash, user_agent, created, last_seen, remembered, remembered_for`

func scanBrowser(row scanner) (store.Browser, error) {
	var b store.Browser
	var created, lastSeen, remembered int64
	err := row.Scan(&b.ID, &b.UserID, &b.TokenHash, &b.UserAgent, &created, &lastSeen, &remembered, &b.RememberedFor)
	b.Created, b.LastSeen, b.Remembered = fromMicros(created), fromMicros(lastSeen), fromMicros(remembered)
	return b, err
}

// CreateBrowser implements store.Browsers.
func (o operations) CreateBrowser(ctx context.Context, b store.Browser) error {
	return o.insert(ctx, "creating a browser", statement{
		`INSERT INTO browsers (` + browserColumns + `) SELECT $1, $2, $3, $4, $5, $6, $7, $8` + whereUser,
		[]any{b.ID, b.UserID, b.TokenHash, b.UserAgent, micros(b.Created), micros(b.LastSeen), micros(b.Remembered), string(b.RememberedFor)},
	}, b.UserID)
}

// BrowserByToken implements store.Browsers.
func (o operations) BrowserByToken(ctx context.Context, userID, tokenHash string) (store.Browser, error) {
	return one(ctx, "reading a browser", o.rows, statement{
		`SELECT ` + browserColumns + ` FROM browsers WHERE user_id = $1 AND token_hash = $2`, []any{userID, tokenHash},
	}, scanBrowser)
}

// TouchBrowser implements store.Browsers.
func (o operations) TouchBrowser(ctx context.Context, id string, seen time.Time) error {
	_, err := o.change(ctx, "touching a browser", statement{
		`UPDATE browsers SET last_seen = $1 WHERE id = $2 AND last_seen < $1`,
		[]any{micros(seen), id},
	})
	return err
}

// BrowsersOf implements store.Browsers.
func (o operations) BrowsersOf(ctx context.Context, userID string) ([]store.Browser, error) {
	return list(ctx, "listing a user's browsers", o.rows, statement{
		`SELECT ` + browserColumns + ` FROM browsers WHERE user_id = $1 ORDER BY last_seen DESC, id`, []any{userID},
	}, scanBrowser)
}

// RememberBrowser implements store.Browsers.
func (o operations) RememberBrowser(ctx context.Context, userID, id string, until time.Time, by assurance.Factor) error {
	const doing = "remembering a browser"
	if until.IsZero() {
		by = ""
	}
	touched, err := o.change(ctx, doing, statement{
		`UPDATE browsers SET remembered = $1, remembered_for = $2 WHERE id = $3 AND user_id = $4`,
		[]any{micros(until), string(by), id, userID},
	})
	if err == nil && touched == 0 {
		err = failed(ctx, doing, pgx.ErrNoRows)
	}
	return err
}

// ForgetBrowsersOf implements store.Browsers.
func (o operations) ForgetBrowsersOf(ctx context.Context, userID string) error {
	_, err := o.change(ctx, "forgetting a user's browsers", statement{
		`UPDATE browsers SET remembered = 0, remembered_for = '' WHERE user_id = $1 AND remembered <> 0`, []any{userID},
	})
	return err
}

// DeleteBrowsersOf implements store.Browsers.
func (o operations) DeleteBrowsersOf(ctx context.Context, userID string) error {
	_, err := o.change(ctx, "deleting a user's browsers", statement{
		`DELETE FROM browsers WHERE user_id = $1`, []any{userID},
	})
	return err
}
