package sqlite

import (
	"context"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

const browserColumns = `id, user_id, token_hash, created, last_seen`

func scanBrowser(row scanner) (store.Browser, error) {
	var b store.Browser
	var created, lastSeen int64
	err := row.Scan(&b.ID, &b.UserID, &b.TokenHash, &created, &lastSeen)
	b.Created, b.LastSeen = fromMicros(created), fromMicros(lastSeen)
	return b, err
}

// CreateBrowser implements store.Browsers.
func (o operations) CreateBrowser(ctx context.Context, b store.Browser) error {
	_, err := o.change(ctx, "creating a browser", statement{
		`INSERT INTO browsers (` + browserColumns + `) VALUES (?, ?, ?, ?, ?)`,
		[]any{b.ID, b.UserID, b.TokenHash, micros(b.Created), micros(b.LastSeen)},
	})
	return err
}

// BrowserByToken implements store.Browsers.
func (o operations) BrowserByToken(ctx context.Context, userID, tokenHash string) (store.Browser, error) {
	row := o.rows.QueryRowContext(ctx,
		`SELECT `+browserColumns+` FROM browsers WHERE user_id = ? AND token_hash = ?`, userID, tokenHash)
	return one(ctx, "reading a browser", row, scanBrowser)
}

// TouchBrowser implements store.Browsers.
func (o operations) TouchBrowser(ctx context.Context, id string, seen time.Time) error {
	_, err := o.change(ctx, "touching a browser", statement{
		`UPDATE browsers SET last_seen = ?1 WHERE id = ?2 AND last_seen < ?1`,
		[]any{micros(seen), id},
	})
	return err
}

// DeleteBrowsersOf implements store.Browsers.
func (o operations) DeleteBrowsersOf(ctx context.Context, userID string) error {
	_, err := o.change(ctx, "deleting a user's browsers", statement{
		`DELETE FROM browsers WHERE user_id = ?`, []any{userID},
	})
	return err
}
