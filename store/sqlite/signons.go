package sqlite

import (
	"context"
	"errors"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

const signOnColumns = `id, user_id, started, expires, idle, last_seen, ended, end_reason, proofs, ` +
	`portal_session, address, user_agent, shared, version`

var selectSignOnByID = `SELECT ` + nameless(signOnColumns) + ` FROM sign_ons WHERE id = ?`

func scanSignOn(row scanner) (store.SignOn, error) {
	var r struct { // one allocation for all that Scan is pointed at
		store.SignOn
		started, expires, idle, lastSeen, ended int64
		proofs                                  []byte
	}
	err := row.Scan(&r.ID, &r.UserID, &r.started, &r.expires, &r.idle, &r.lastSeen, &r.ended, &r.EndReason,
		&r.proofs, &r.PortalSession, &r.Address, &r.UserAgent, &r.Shared, &r.Version)
	if err != nil {
		return store.SignOn{}, err
	}
	r.Started, r.Expires = fromMicros(r.started), fromMicros(r.expires)
	r.LastSeen, r.Ended = fromMicros(r.lastSeen), fromMicros(r.ended)
	r.Idle = time.Duration(r.idle) * time.Microsecond
	r.Proofs, err = decode[[]assurance.Proof](r.proofs)
	return r.SignOn, err
}

// encodeProofs brings the proofs' times into the form of all others.
func encodeProofs(proofs []assurance.Proof) (string, error) {
	kept := make([]assurance.Proof, len(proofs))
	for i, proof := range proofs {
		proof.At = fromMicros(micros(proof.At))
		kept[i] = proof
	}
	return encode(kept, len(kept))
}

// CreateSignOn implements store.SignOns.
func (o operations) CreateSignOn(ctx context.Context, s store.SignOn) error {
	const doing = "creating a sign-on"
	proofs, err := encodeProofs(s.Proofs)
	if err != nil {
		return failed(ctx, doing, err)
	}
	_, err = o.change(ctx, doing, statement{
		`INSERT INTO sign_ons (` + signOnColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`,
		[]any{
			s.ID, s.UserID, micros(s.Started), micros(s.Expires), s.Idle.Microseconds(), micros(s.LastSeen),
			micros(s.Ended), s.EndReason, proofs, s.PortalSession, s.Address, s.UserAgent, s.Shared,
		},
	}, untold)
	return err
}

// SignOnByID implements store.SignOns.
func (o operations) SignOnByID(ctx context.Context, id string) (store.SignOn, error) {
	return one(ctx, "reading a sign-on", o.rows.QueryRowContext(ctx, selectSignOnByID, id), scanSignOn)
}

// UpdateSignOn implements store.SignOns.
func (o operations) UpdateSignOn(ctx context.Context, s store.SignOn) error {
	const doing = "updating a sign-on"
	proofs, err := encodeProofs(s.Proofs)
	if err != nil {
		return failed(ctx, doing, err)
	}
	return o.compareAndSet(ctx, doing, statement{
		`UPDATE sign_ons SET expires = ?, idle = ?, proofs = ?, portal_session = ?, address = ?, user_agent = ?,
			version = version + 1
		 WHERE id = ? AND version = ? AND ended = 0`,
		[]any{
			micros(s.Expires), s.Idle.Microseconds(), proofs, s.PortalSession, s.Address, s.UserAgent,
			s.ID, s.Version,
		},
	}, signOnExists(s.ID), store.Change{Kind: store.SignOnChanged, ID: s.ID})
}

// touchBatch is how many rows one transaction touches, so that those who sign
// in meanwhile wait milliseconds at most.
const touchBatch = 500

// TouchSignOns implements store.SignOns.
func (o operations) TouchSignOns(ctx context.Context, seen []store.Activity) error {
	return touch(ctx, o,
		`UPDATE sign_ons SET last_seen = ?1 WHERE id = ?2 AND ended = 0 AND last_seen < ?1`,
		seen, func(a store.Activity) (string, time.Time) { return a.SignOn, a.Seen })
}

// touch runs the SQL with the time and the id of each that was seen, in
// transactions of touchBatch.
func touch[T any](ctx context.Context, o operations, sql string, seen []T, of func(T) (id string, at time.Time)) error {
	for batch := range slices.Chunk(seen, touchBatch) {
		err := o.write(ctx, func(rows *transaction) error { return touchEach(ctx, rows, sql, batch, of) })
		if err != nil {
			return err
		}
	}
	return nil
}

func touchEach[T any](ctx context.Context, rows *transaction, sql string, seen []T, of func(T) (id string, at time.Time)) error {
	const doing = "noting activity"
	statement, err := rows.PrepareContext(ctx, sql)
	if err != nil {
		return failed(ctx, doing, err)
	}
	for _, activity := range seen {
		id, at := of(activity)
		if _, err = statement.ExecContext(ctx, micros(at), id); err != nil {
			break
		}
	}
	return failed(ctx, doing, errors.Join(err, statement.Close()))
}

// EndSignOn implements store.SignOns.
func (o operations) EndSignOn(ctx context.Context, id string, at time.Time, reason string) error {
	const doing = "ending a sign-on"
	if micros(at) == 0 {
		return failed(ctx, doing, errZeroEnd)
	}
	err := o.takingAway().compareAndSet(ctx, doing, statement{
		`UPDATE sign_ons SET ended = ?, end_reason = ?, version = version + 1 WHERE id = ? AND ended = 0`,
		[]any{micros(at), reason, id},
	}, signOnExists(id), store.Change{Kind: store.SignOnEnded, ID: id})
	if errors.Is(err, store.ErrConflict) {
		return nil // ended already; the first reason stays
	}
	return err
}

// EndUnseenSignOn implements store.SignOns.
func (o operations) EndUnseenSignOn(ctx context.Context, id string, lastSeen, at time.Time, reason string) error {
	const doing = "ending an idle sign-on"
	if micros(at) == 0 {
		return failed(ctx, doing, errZeroEnd)
	}
	return o.compareAndSet(ctx, doing, statement{
		`UPDATE sign_ons SET ended = ?, end_reason = ?, version = version + 1
		 WHERE id = ? AND ended = 0 AND last_seen = ?`,
		[]any{micros(at), reason, id, micros(lastSeen)},
	}, signOnExists(id), store.Change{Kind: store.SignOnEnded, ID: id})
}

// errZeroEnd guards the meaning of zero: a sign-on that has not ended.
var errZeroEnd = errors.New("the time of the end is missing")

// EndSignOnsOf implements store.SignOns.
func (o operations) EndSignOnsOf(ctx context.Context, userID string, at time.Time, reason string) ([]string, error) {
	const doing = "ending a user's sign-ons"
	if micros(at) == 0 {
		return nil, failed(ctx, doing, errZeroEnd)
	}
	var ended []string
	err := o.takingAway().write(ctx, func(rows *transaction) (err error) {
		ended, err = list(ctx, doing, rows, statement{
			`UPDATE sign_ons SET ended = ?, end_reason = ?, version = version + 1
			 WHERE user_id = ? AND ended = 0 RETURNING id`,
			[]any{micros(at), reason, userID},
		}, scanText)
		rows.noteEnded(ended)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ended, nil
}

// EndExpiredSignOns implements store.SignOns.
func (o operations) EndExpiredSignOns(ctx context.Context, now time.Time, reason string, most int) ([]string, error) {
	const doing = "ending expired sign-ons"
	if micros(now) == 0 {
		return nil, failed(ctx, doing, errZeroEnd)
	}
	var ended []string
	err := o.write(ctx, func(rows *transaction) (err error) {
		ended, err = list(ctx, doing, rows, statement{
			`UPDATE sign_ons SET ended = ?1, end_reason = ?2, version = version + 1 WHERE id IN
				(SELECT id FROM sign_ons WHERE expires <= ?1 AND ended = 0 LIMIT ?3) RETURNING id`,
			[]any{micros(now), reason, most},
		}, scanText)
		rows.noteEnded(ended)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ended, nil
}

// PullBackSignOns implements store.SignOns.
func (o operations) PullBackSignOns(ctx context.Context, now, latest time.Time) (int, error) {
	const doing = "pulling sign-ons back out of the future"
	var changed []string
	err := o.write(ctx, func(rows *transaction) (err error) {
		changed, err = list(ctx, doing, rows, statement{
			`UPDATE sign_ons SET expires = min(expires, ?2), last_seen = min(last_seen, ?1), version = version + 1
			 WHERE ended = 0 AND (expires > ?2 OR last_seen > ?1) RETURNING id`,
			[]any{micros(now), micros(latest)},
		}, scanText)
		for _, id := range changed {
			rows.note(store.Change{Kind: store.SignOnChanged, ID: id})
		}
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(changed), nil
}

func scanText(row scanner) (string, error) {
	var text string
	err := row.Scan(&text)
	return text, err
}

// ListSignOns implements store.SignOns.
func (o operations) ListSignOns(ctx context.Context, userID string, now time.Time, page store.Page[store.SignOn]) ([]store.SignOn, error) {
	query := statement{
		`SELECT ` + signOnColumns + ` FROM sign_ons WHERE ended = 0 AND expires > ?`,
		[]any{micros(now)},
	}
	if userID != "" {
		query.and(` AND user_id = ?`, userID)
	}
	if last := page.After; last.ID != "" {
		query.and(` AND (started, id) < (?, ?)`, micros(last.Started), last.ID)
	}
	query.and(` ORDER BY started DESC, id DESC LIMIT ?`, page.Size())
	return list(ctx, "listing sign-ons", o.rows, query, scanSignOn)
}

func signOnExists(id string) statement {
	return statement{`SELECT 1 FROM sign_ons WHERE id = ?`, []any{id}}
}
