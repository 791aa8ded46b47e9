package postgres

import (
	"context"
	"errors"
	"maps"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

const signOnColumns = `id, user_id, started, expires, idle, last_seen, ended, end_reason, proofs, ` +
	`portal_session, address, user_agent, shared, version`

const selectSignOnByID = `SELECT ` + signOnColumns + ` FROM sign_ons WHERE id = $1`

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
	return o.insert(ctx, doing, statement{
		`INSERT INTO sign_ons (` + signOnColumns + `) SELECT $1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, 1` + whereUser,
		[]any{
			s.ID, s.UserID, micros(s.Started), micros(s.Expires), s.Idle.Microseconds(), micros(s.LastSeen),
			micros(s.Ended), s.EndReason, proofs, s.PortalSession, s.Address, s.UserAgent, s.Shared,
		},
	}, s.UserID, untold)
}

// SignOnByID implements store.SignOns.
func (o operations) SignOnByID(ctx context.Context, id string) (store.SignOn, error) {
	return one(ctx, "reading a sign-on", o.rows, statement{selectSignOnByID, []any{id}}, scanSignOn)
}

// UpdateSignOn implements store.SignOns.
func (o operations) UpdateSignOn(ctx context.Context, s store.SignOn) error {
	const doing = "updating a sign-on"
	proofs, err := encodeProofs(s.Proofs)
	if err != nil {
		return failed(ctx, doing, err)
	}
	return o.compareAndSet(ctx, doing, statement{
		`UPDATE sign_ons SET expires = $1, idle = $2, proofs = $3, portal_session = $4, address = $5, user_agent = $6,
			version = version + 1
		 WHERE id = $7 AND version = $8 AND ended = 0`,
		[]any{
			micros(s.Expires), s.Idle.Microseconds(), proofs, s.PortalSession, s.Address, s.UserAgent,
			s.ID, s.Version,
		},
	}, signOnExists(s.ID), store.Change{Kind: store.SignOnChanged, ID: s.ID})
}

// touchBatch is how many rows one transaction touches, so that those who sign
// in meanwhile wait milliseconds at most.
const touchBatch = 500

// seenRows are the rows to touch: ids, and when each was seen.
const seenRows = `unnest($1::text[], $2::bigint[]) AS s (id, seen)`

// TouchSignOns implements store.SignOns.
func (o operations) TouchSignOns(ctx context.Context, seen []store.Activity) error {
	return touch(ctx, o,
		`UPDATE sign_ons t SET last_seen = s.seen FROM `+seenRows+` WHERE t.id = s.id AND t.ended = 0 AND t.last_seen < s.seen`,
		seen, func(a store.Activity) (string, time.Time) { return a.SignOn, a.Seen })
}

// touch runs the SQL for each that was seen, in transactions of touchBatch.
func touch[T any](ctx context.Context, o operations, sql string, seen []T, of func(T) (id string, at time.Time)) error {
	newest := make(map[string]int64, len(seen))
	for _, activity := range seen {
		id, at := of(activity)
		newest[id] = max(newest[id], micros(at))
	}
	// In one order, so that two processes don't wait for each other.
	for ids := range slices.Chunk(slices.Sorted(maps.Keys(newest)), touchBatch) {
		times := make([]int64, len(ids))
		for i, id := range ids {
			times[i] = newest[id]
		}
		err := o.touch(ctx, func(rows *transaction) error {
			_, err := changeIn(ctx, rows, "noting activity", statement{sql, []any{ids, times}})
			return err
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// EndSignOn implements store.SignOns.
func (o operations) EndSignOn(ctx context.Context, id string, at time.Time, reason string) error {
	const doing = "ending a sign-on"
	if micros(at) == 0 {
		return failed(ctx, doing, errZeroEnd)
	}
	err := o.compareAndSet(ctx, doing, statement{
		`UPDATE sign_ons SET ended = $1, end_reason = $2, version = version + 1 WHERE id = $3 AND ended = 0`,
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
		`UPDATE sign_ons SET ended = $1, end_reason = $2, version = version + 1
		 WHERE id = $3 AND ended = 0 AND last_seen = $4`,
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
	err := o.write(ctx, func(rows *transaction) (err error) {
		ended, err = list(ctx, doing, rows, statement{
			`UPDATE sign_ons SET ended = $1, end_reason = $2, version = version + 1
			 WHERE user_id = $3 AND ended = 0 RETURNING id`,
			[]any{micros(at), reason, userID},
		}, scanText)
		rows.noteEach(store.SignOnEnded, ended)
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
			`UPDATE sign_ons SET ended = $1, end_reason = $2, version = version + 1 WHERE id IN
				(SELECT id FROM sign_ons WHERE expires <= $1 AND ended = 0 ORDER BY expires LIMIT $3) RETURNING id`,
			[]any{micros(now), reason, most},
		}, scanText)
		rows.noteEach(store.SignOnEnded, ended)
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
			`UPDATE sign_ons SET expires = least(expires, $2), last_seen = least(last_seen, $1), version = version + 1
			 WHERE ended = 0 AND (expires > $2 OR last_seen > $1) RETURNING id`,
			[]any{micros(now), micros(latest)},
		}, scanText)
		rows.noteEach(store.SignOnChanged, changed)
		return err
	})
	if err != nil {
		return 0, err
	}
	return len(changed), nil
}

// ListSignOns implements store.SignOns.
func (o operations) ListSignOns(ctx context.Context, userID string, now time.Time, page store.Page[store.SignOn]) ([]store.SignOn, error) {
	query := statement{
		`SELECT ` + signOnColumns + ` FROM sign_ons WHERE ended = 0 AND expires > $1`,
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
	return statement{`SELECT 1 FROM sign_ons WHERE id = $1`, []any{id}}
}
