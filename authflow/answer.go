package authflow

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

// ErrWrongStep says that an answer came for a step that is not the one asked
// for: repeated, skipped or reordered.
var ErrWrongStep = errors.New("not the step that the sign-in is at")

// Step returns what comes next in a flow, or ErrFlowGone where its user is gone.
// prefer names the second factor that the person chose, if any.
func (e *Engine) Step(ctx context.Context, f Flow, prefer assurance.Factor) (Step, error) {
	credentials, err := e.Vault.ActiveOf(ctx, f.UserID)
	if err != nil {
		return Step{}, err
	}
	_, step, err := e.next(ctx, e.Store, f, credentials, prefer)
	return step, err
}

// checkStep returns ErrWrongStep unless a flow asks for that now.
func (e *Engine) checkStep(ctx context.Context, f Flow, asked StepKind, prefer assurance.Factor) error {
	step, err := e.Step(ctx, f, prefer)
	if err == nil && step.Kind != asked {
		err = ErrWrongStep
	}
	return err
}

// stepReader is what the next step is decided from, alone or in a transaction.
type stepReader interface {
	browserReader
	UserByID(ctx context.Context, id string) (store.User, error)
}

// next is Next for somebody with these active credentials. It returns the flow
// with the proofs that count: without those of credentials that can't be used
// any more, and with what the browser stands in for. That flow is never saved.
func (e *Engine) next(ctx context.Context, r stepReader, f Flow, active []store.Credential, prefer assurance.Factor) (Flow, Step, error) {
	f.judged = true
	who := e.personOf(active, f)
	if f.UserID != "" {
		user, err := r.UserByID(ctx, f.UserID)
		if errors.Is(err, store.ErrNotFound) {
			return f, Step{}, ErrFlowGone
		}
		if err != nil {
			return f, Step{}, fmt.Errorf("reading the user of a flow: %w", err)
		}
		who.NewPassword = user.NewPassword
	}
	f.Proofs = e.Vault.Factors.Vouching(standing(f.Proofs, active), f.Rank)
	if !replaces(f, active) {
		f.Replacing = ""
	}
	if f.Kind == SignIn && !e.Rules.Passwordless && !slices.ContainsFunc(f.Proofs, isPassword) {
		f.Proofs = nil // a passkey alone was enough when it was shown
	}
	f, err := e.recalled(ctx, r, f, who)
	if err != nil {
		return f, Step{}, err
	}
	return f, Next(f, who, e.Vault.Factors, prefer, e.Clock()), nil
}

// standing returns the proofs that were not shown with a credential which can't
// be used any more.
func standing(proofs []assurance.Proof, active []store.Credential) []assurance.Proof {
	return slices.DeleteFunc(slices.Clone(proofs), func(p assurance.Proof) bool {
		return p.Credential != "" && !slices.ContainsFunc(active, func(c store.Credential) bool { return c.ID == p.Credential })
	})
}

// replaces reports whether a replacement is still to be enrolled in a flow: what
// allowed it may have been removed since.
func replaces(f Flow, active []store.Credential) bool {
	return f.Replacing != "" && (f.Helped || slices.ContainsFunc(standing(f.Proofs, active), isSecond))
}

func isPassword(p assurance.Proof) bool { return p.Factor == assurance.Password }

func isSecond(p assurance.Proof) bool { return isSecondKind(p.Factor) }

// noteWrong returns the refusal of an answer that nobody could have guessed
// right. It is noted unless it answers no question that was asked.
func (e *Engine) noteWrong(ctx context.Context, at guess.Attempt, refused *factors.Refused, also func() error) error {
	if refused.Reason == factors.Malformed || refused.Reason == factors.Expired {
		return refused
	}
	if err := e.Guesses.NoteWrong(ctx, at, string(refused.Reason), also); err != nil {
		return err
	}
	return refused
}

// answer judges an answer to a question. Where the flow or the credential was
// changed meanwhile, by a second click or in another tab, it asks again what the
// flow is at then, and judges anew: whoever is right is never told that they
// were wrong because two requests met.
func (e *Engine) answer(ctx context.Context, q posed, given Response, at guess.Attempt, c person.Client) error {
	isPosed := true
	return e.retried(ctx, q.flow, func(f Flow) (err error) {
		if !isPosed {
			if q, err = e.pose(ctx, f, ceremony.Proof, given.Factor); err != nil {
				return err
			}
		}
		isPosed = false
		return e.answerOnce(ctx, q, given, at, c)
	})
}

// answerOnce judges an answer and writes down what comes of it, or returns
// store.ErrConflict.
func (e *Engine) answerOnce(ctx context.Context, q posed, given Response, at guess.Attempt, c person.Client) error {
	if err := e.checkAnswerable(q, given.Answer); err != nil {
		return err
	}
	kind, verdict := given.Factor, factors.Verdict{Reason: factors.Expired, Closes: true}
	if q.kept.Ref == "" || e.isOpen(q) {
		var err error
		if verdict, err = q.ceremony.Check(at.Waiting(ctx), q.asking, q.kept.State, given.Answer); err != nil {
			return q.failing("checking an answer to", err)
		}
	}
	switch {
	case verdict.Outcome == factors.OutcomePending:
		return e.pend(ctx, q, verdict)
	case verdict.Outcome != factors.OutcomeAccepted:
		if err := e.refuse(ctx, q, verdict); err != nil {
			return err
		}
		return e.refusal(ctx, verdict, q.rows, at)
	}
	f := q.flow
	if given.Remember && e.RememberFor(f, kind) > 0 {
		f.Remember = kind
	}
	f.CanPasskey = given.CanPasskey
	_, err := e.accept(ctx, f, accepted{kind: kind, verdict: verdict, row: q.rows[verdict.CredentialID], at: at, client: c})
	return err
}

// checkAnswerable returns ErrWrongStep for an answer to what isn't asked, and
// ErrUnanswered where there is nothing to collect yet.
func (e *Engine) checkAnswerable(q posed, given factors.Answer) error {
	switch {
	case q.kept.Ref == "" && (given == nil || q.isSent() || q.purpose == ceremony.Enrolment):
		return ErrWrongStep
	case given == nil && e.isOpen(q) && !q.kept.Settled:
		return ErrUnanswered
	}
	return nil
}

// pend keeps a question that stays open, one turn further where it is.
func (e *Engine) pend(ctx context.Context, q posed, v factors.Verdict) error {
	if v.Next == nil {
		return ErrUnanswered
	}
	if err := e.turn(ctx, q.kept.Turned(*v.Next), v.Next.Send, nothing); err != nil {
		return err
	}
	return ErrPending
}

// refuse keeps what a wrong answer changes: its question may be closed, or one
// turn further, and the flow counts what nobody could have guessed right.
// ErrFlowGone where it has taken too many of those.
func (e *Engine) refuse(ctx context.Context, q posed, v factors.Verdict) error {
	f := q.flow
	counted := q.purpose == ceremony.Proof && !q.factor.Traits().Guessable
	if counted {
		f.Refusals++
	}
	closes := v.Closes && q.kept.Ref != ""
	if closes {
		f.close(q.purpose, q.factor.Kind())
	}
	switch {
	case counted && f.Refusals > mostRefusals:
		return e.endRefused(ctx, f)
	case closes || counted:
		return e.Store.Atomically(ctx, func(tx store.Tx) error {
			if closes {
				if _, err := e.book().Close(ctx, tx, q.kept.Ref); err != nil {
					return err
				}
			} else if v.Next != nil {
				if err := e.book().Put(ctx, tx, q.kept.Turned(*v.Next)); err != nil {
					return err
				}
			}
			changed := f
			return e.save(ctx, tx, &changed)
		})
	case v.Next != nil:
		return e.turn(ctx, q.kept.Turned(*v.Next), v.Next.Send, nothing)
	}
	// The same answer may have been accepted meanwhile.
	return e.checkUnchanged(ctx, e.Store, f)
}

// mostRefusals is how many wrong answers that nobody could have guessed right a
// flow takes. They slow nobody down, so what they cost is bounded by what it
// costs to begin a flow.
const mostRefusals = 20

// keepRefusals keeps a flow with the wrong answers that it took, or ends it.
func (e *Engine) keepRefusals(ctx context.Context, f Flow) error {
	if f.Refusals <= mostRefusals {
		return e.save(ctx, e.Store, &f)
	}
	return e.endRefused(ctx, f)
}

// endRefused ends a flow that took too many wrong answers.
func (e *Engine) endRefused(ctx context.Context, f Flow) error {
	err := e.Store.Atomically(ctx, func(tx store.Tx) error {
		_, err := tx.TakeRecord(ctx, person.Flows, f.key(), e.Clock())
		return err
	})
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return fmt.Errorf("ending a flow: %w", err)
	}
	return ErrFlowGone
}

// accepted is a right answer to a challenge.
type accepted struct {
	kind    assurance.Factor
	verdict factors.Verdict
	row     store.Credential // as it was read
	at      guess.Attempt
	client  person.Client
	// question is the mark that a question to whoever is there is answered, which
	// is put as the answer is taken, or errAnswered; nil: it was another question.
	question *store.Record
}

// accept consumes what was shown, adds the proof and forgets the failures. It
// returns the flow as it is kept then.
func (e *Engine) accept(ctx context.Context, f Flow, a accepted) (Flow, error) {
	if a.row.ID == "" {
		return Flow{}, fmt.Errorf("a %s answer was accepted for no credential of the user", a.kind)
	}
	now := e.Clock()
	consumed := a.row
	consumed.LastUsed = now
	if f.Platform != "" {
		consumed.LastUsedOn = maps.Clone(consumed.LastUsedOn)
		if consumed.LastUsedOn == nil {
			consumed.LastUsedOn = make(map[string]time.Time)
		}
		consumed.LastUsedOn[f.Platform] = now
	}
	if err := e.Vault.SetSecret(&consumed, a.verdict.Secret); err != nil {
		return Flow{}, err
	}
	f.Proofs = assurance.Add(f.Proofs, assurance.Proof{
		Factor: a.kind, At: now, UserVerified: a.verdict.UserVerified,
		HeldToMulti: now.Before(a.row.ProbationUntil), Credential: a.row.ID,
	})
	f.Replacing = "" // Next asks for a pending replacement first, so none is pending
	var changed Flow
	err := e.advance(ctx, f, fmt.Sprintf("accepting a %s answer", a.kind), func(tx store.Tx) (events []store.Event, err error) {
		if a.question != nil {
			if err := tx.PutRecord(ctx, *a.question); errors.Is(err, store.ErrConflict) {
				return nil, errAnswered
			} else if err != nil {
				return nil, err
			}
		}
		if consumed.Version, err = e.Vault.VersionOf(ctx, tx, a.row); err != nil {
			return nil, err
		}
		if err := tx.UpdateCredential(ctx, consumed); err != nil {
			return nil, err
		}
		changed = f
		if err := e.closeQuestions(ctx, tx, &changed, ceremony.Proof); err != nil {
			return nil, err
		}
		if e.Vault.Factors.Traits(a.kind).OneOpen {
			if err := e.undisturbed(ctx, tx, f.UserID, a.kind, a.at.Browser != ""); err != nil {
				return nil, err
			}
		}
		if len(f.Lost) > 0 {
			if err := e.stillAt(ctx, tx, f, StepChallenge, a.kind); err != nil {
				return nil, err
			}
			if events, err = e.suspend(ctx, tx, &changed, a.client); err != nil {
				return nil, err
			}
		}
		if name, fields := noted(a.verdict, a.row, a.at); name != "" {
			events = append(events, e.Audit.Event(name, a.at.User.ID, fields))
		}
		if err := e.save(ctx, tx, &changed); err != nil {
			return nil, err
		}
		return events, e.Guesses.Succeeded(ctx, tx, a.at)
	})
	return changed, err
}

// refusal turns a verdict into what may be told. Where the factor must
// remember what it told, it is told only once that is written.
func (e *Engine) refusal(ctx context.Context, v factors.Verdict, rows map[string]store.Credential, at guess.Attempt) *factors.Refused {
	if credential, ok := rows[v.CredentialID]; ok && v.Secret != nil {
		if e.Vault.SetSecret(&credential, v.Secret) != nil || e.Vault.Update(ctx, credential) != nil {
			return &factors.Refused{Reason: factors.Wrong}
		}
	}
	if name, fields := noted(v, rows[v.CredentialID], at); name != "" {
		e.Audit.Record(ctx, name, at.User.ID, fields)
	}
	return &factors.Refused{Reason: v.Reason, Drift: v.Drift}
}

// noted returns the event of a verdict's note about a credential; empty: there is
// none.
func noted(v factors.Verdict, shown store.Credential, at guess.Attempt) (audit.Name, audit.Fields) {
	switch v.Note {
	case factors.ClockOff:
		return audit.ClockDrifting, audit.Fields{audit.User: at.User.Name, audit.Drift: v.Drift.String()}
	case factors.CounterWentBack:
		outcome := "refused"
		if v.Accepted() {
			outcome = "accepted"
		}
		return audit.CounterRegressed, audit.Fields{
			audit.User: at.User.Name, audit.Credential: shown.Name, audit.Outcome: outcome,
			audit.Address: at.Address, audit.UserAgent: at.UserAgent,
		}
	}
	return "", nil
}
