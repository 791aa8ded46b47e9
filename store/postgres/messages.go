package postgres

import (
	"cmp"
	"context"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

const (
	messageColumns = `id, lane, purpose, ref, user_id, data, queued, due, expires, claimed, attempts, state, failure, version`
	selectMessage  = `id, lane, purpose, ref, coalesce(user_id, ''), data, queued, due, expires, claimed, attempts, state, failure, version`
)

func scanMessage(row scanner) (store.Message, error) {
	var m store.Message
	var queued, due, expires, claimed int64
	err := row.Scan(&m.ID, &m.Lane, &m.Purpose, &m.Ref, &m.UserID, &m.Data, &queued, &due, &expires, &claimed,
		&m.Attempts, &m.State, &m.Failure, &m.Version)
	m.Data = orNil(m.Data)
	m.Queued, m.Due = fromMicros(queued), fromMicros(due)
	m.Expires, m.Claimed = fromMicros(expires), fromMicros(claimed)
	return m, err
}

// QueueMessage implements store.Messages.
func (o operations) QueueMessage(ctx context.Context, m store.Message) error {
	return o.insert(ctx, "queueing a message", statement{
		`INSERT INTO messages (` + messageColumns + `)
		 SELECT $1, $2, $3, $4, nullif($5::text, ''), $6, $7, $8, $9, $10, $11, $12, $13, 1
		 WHERE $5::text = '' OR EXISTS (SELECT FROM users WHERE id = $5::text)
		 ON CONFLICT DO NOTHING`,
		[]any{
			m.ID, m.Lane, m.Purpose, m.Ref, m.UserID, notNull(m.Data),
			micros(m.Queued), micros(m.Due), micros(m.Expires), micros(m.Claimed), m.Attempts, string(m.State), m.Failure,
		},
	}, m.UserID)
}

// ClaimMessages implements store.Messages.
func (o operations) ClaimMessages(ctx context.Context, now, until time.Time, most int) ([]store.Message, error) {
	var claimed []store.Message
	err := o.write(ctx, func(rows *transaction) (err error) {
		claimed, err = list(ctx, "claiming messages", rows, statement{
			`UPDATE messages SET claimed = $1, version = version + 1 WHERE id IN (
				SELECT id FROM messages WHERE state = 'waiting' AND due <= $2 AND claimed <= $2 AND expires > $2
				ORDER BY lane, due, id LIMIT $3 FOR UPDATE SKIP LOCKED
			) RETURNING ` + selectMessage,
			[]any{micros(until), micros(now), most},
		}, scanMessage)
		return err
	})
	if err != nil {
		// A claim that wasn't committed is none.
		return nil, err
	}
	// RETURNING keeps no order.
	slices.SortFunc(claimed, func(a, b store.Message) int {
		return cmp.Or(cmp.Compare(a.Lane, b.Lane), a.Due.Compare(b.Due), cmp.Compare(a.ID, b.ID))
	})
	return claimed, nil
}

// UpdateMessage implements store.Messages.
func (o operations) UpdateMessage(ctx context.Context, m store.Message) error {
	return o.compareAndSet(ctx, "updating a message", statement{
		`UPDATE messages SET due = $1, claimed = $2, attempts = $3, state = $4, failure = $5, version = version + 1,
			data = CASE $4 WHEN 'waiting' THEN data ELSE '' END
		 WHERE id = $6 AND version = $7`,
		[]any{micros(m.Due), micros(m.Claimed), m.Attempts, string(m.State), m.Failure, m.ID, m.Version},
	}, statement{`SELECT 1 FROM messages WHERE id = $1`, []any{m.ID}})
}

// NewestMessage implements store.Messages.
func (o operations) NewestMessage(ctx context.Context, purpose, ref string) (store.Message, error) {
	return one(ctx, "reading a message", o.rows, statement{
		`SELECT ` + selectMessage + ` FROM messages WHERE purpose = $1 AND ref = $2 ORDER BY queued DESC, id DESC LIMIT 1`,
		[]any{purpose, ref},
	}, scanMessage)
}

// VoidMessagesOf implements store.Messages.
func (o operations) VoidMessagesOf(ctx context.Context, userID string) error {
	_, err := o.change(ctx, "voiding a user's messages", statement{
		`UPDATE messages SET state = 'void', claimed = 0, data = '', version = version + 1 WHERE user_id = $1 AND state = 'waiting'`,
		[]any{userID},
	})
	return err
}
