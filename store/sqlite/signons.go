package sqlite

import (
	"context"
	"errors"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

const signOnColumns = `id, user_id, started, expires, idle, last_seen, ended, end_reason, proofs, ` +
	`portal_session, address, user_agent, version`

var selectSignOnByID = `SELECT ` + nameless(signOnColumns) + ` FROM sign_ons WHERE id = ?`

func scanSignOn(row scanner) (store.SignOn, error) {
	var r struct { // one allocation for all that Scan is pointed at
		store.SignOn
		started, expires, idle, lastSeen, ended int64
		proofs                                  []byte
	}
	err := row.Scan(&r.ID, &r.UserID, &r.started, &r.expires, &r.idle, &r.lastSeen, &r.ended, &r.EndReason,
		&r.proofs, &r.PortalSession, &r.Address, &r.UserAgent, &r.Version)
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
		`INSERT INTO sign_ons (` + signOnColumns + `) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, 1)`,
		[]any{
			s.ID, s.UserID, micros(s.Started), micros(s.Expires), s.Idle.Microseconds(), micros(s.LastSeen),
			micros(s.Ended), s.EndReason, proofs, s.PortalSession, s.Address, s.UserAgent,
		},
	})
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
	}, signOnExists(s.ID))
}

// TouchSignOn implements store.SignOns.
func (o operations) TouchSignOn(ctx context.Context, id string, seen time.Time) error {
	_, err := o.change(ctx, "touching a sign-on", statement{
		`UPDATE sign_ons SET last_seen = ?1 WHERE id = ?2 AND ended = 0 AND last_seen < ?1`,
		[]any{micros(seen), id},
	})
	return err
}

// EndSignOn implements store.SignOns.
func (o operations) EndSignOn(ctx context.Context, id string, at time.Time, reason string) error {
	const doing = "ending a sign-on"
	if micros(at) == 0 {
		return failed(ctx, doing, errZeroEnd)
	}
	err := o.compareAndSet(ctx, doing, statement{
		`UPDATE sign_ons SET ended = ?, end_reason = ?, version = version + 1 WHERE id = ? AND ended = 0`,
		[]any{micros(at), reason, id},
	}, signOnExists(id))
	if errors.Is(err, store.ErrConflict) {
		return nil // ended already; the first reason stays
	}
	return err
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
	err := o.write(ctx, func(rows querier) (err error) {
		ended, err = list(ctx, doing, rows, statement{
			`UPDATE sign_ons SET ended = ?, end_reason = ?, version = version + 1
			 WHERE user_id = ? AND ended = 0 RETURNING id`,
			[]any{micros(at), reason, userID},
		}, scanText)
		return err
	})
	if err != nil {
		return nil, err
	}
	return ended, nil
}

func scanText(row scanner) (string, error) {
	var text string
	err := row.Scan(&text)
	return text, err
}

// ListSignOns implements store.SignOns.
func (o operations) ListSignOns(ctx context.Context, userID string, now time.Time) ([]store.SignOn, error) {
	query := statement{
		`SELECT ` + signOnColumns + ` FROM sign_ons WHERE ended = 0 AND expires > ?`,
		[]any{micros(now)},
	}
	if userID != "" {
		query.sql += ` AND user_id = ?`
		query.args = append(query.args, userID)
	}
	query.sql += ` ORDER BY started DESC, id`
	return list(ctx, "listing sign-ons", o.rows, query, scanSignOn)
}

func signOnExists(id string) statement {
	return statement{`SELECT 1 FROM sign_ons WHERE id = ?`, []any{id}}
}
