package authflow

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

// Outbox has messages sent about questions. What they say is composed when they
// leave: see Compose.
type Outbox interface {
	// Queue notes in the transaction that keeps a question that a message about
	// it is to leave.
	Queue(ctx context.Context, tx store.Tx, q ceremony.Question) error
	// Wake has what was queued sent. It doesn't wait for that.
	Wake()
}

// Tracker is an Outbox that tells what became of messages.
type Tracker interface {
	// Newest returns the newest message about a question, or store.ErrNotFound.
	Newest(ctx context.Context, ref string) (store.Message, error)
}

// Delivery is what became of a question's newest message.
type Delivery string

// What becomes of messages. Nobody knows whether one has arrived.
const (
	DeliveryHandedOver Delivery = "handed_over" // a server accepted it
	DeliveryDelayed    Delivery = "delayed"     // an attempt failed, and another one follows
	DeliveryFailed     Delivery = "failed"      // it couldn't be sent
)

// IsFinal reports whether nothing more will become known.
func (d Delivery) IsFinal() bool { return d == DeliveryHandedOver || d == DeliveryFailed }

// deliveryOf returns what became of the newest message about a question; empty: nothing
// yet, or it isn't known.
func (e *Engine) deliveryOf(ctx context.Context, ref string) (Delivery, error) {
	tracker, ok := e.Outbox.(Tracker)
	if !ok {
		return "", nil
	}
	m, err := tracker.Newest(ctx, ref)
	switch {
	case errors.Is(err, store.ErrNotFound):
		return "", nil
	case err != nil:
		return "", fmt.Errorf("reading what became of a message: %w", err)
	case m.State == store.MessageHandedOver:
		return DeliveryHandedOver, nil
	case m.State == store.MessageFailed, m.State == store.MessageWaiting && !e.Clock().Before(m.Expires):
		return DeliveryFailed, nil
	case m.State == store.MessageWaiting && m.Attempts > 0:
		return DeliveryDelayed, nil
	}
	return "", nil
}

// ErrPending says that an answer was neither right nor wrong: the question waits
// for another device, or has another page to be answered.
var ErrPending = errors.New("the question is still open")

// ErrUnanswered is ErrPending for a question that nobody has answered yet, so that there is
// no other page to show either.
var ErrUnanswered = fmt.Errorf("nobody has answered yet: %w", ErrPending)

// errUnsent says that a factor wants a message sent, and nothing sends any.
var errUnsent = errors.New("nothing sends messages")

// posed is the question that a flow is at.
type posed struct {
	flow     Flow
	purpose  ceremony.Purpose
	factor   factors.Factor
	ceremony factors.Ceremony
	asking   factors.Asking
	rows     map[string]store.Credential // of the credentials, by id
	others   []assurance.Factor          // what would do instead
	// kept is what is kept of it; the zero Question: nothing is.
	kept ceremony.Question
}

// pose returns the question of a kind that a flow is at: to show a second
// factor, or to enrol one. ErrWrongStep where it is at another.
func (e *Engine) pose(ctx context.Context, f Flow, p ceremony.Purpose, kind assurance.Factor) (posed, error) {
	q := posed{flow: f, purpose: p}
	var err error
	if p == ceremony.Proof {
		err = e.poseProof(ctx, &q, kind)
	} else {
		err = e.poseEnrolment(ctx, &q, kind)
	}
	if err != nil {
		return posed{}, err
	}
	q.asking.Ref, q.asking.Who = f.ref(p, kind), f.subject()
	q.kept, err = e.book().Find(ctx, e.Store, q.asking.Ref)
	if err != nil && !errors.Is(err, ceremony.ErrNone) {
		return posed{}, err
	}
	q.asking.Scene = q.kept.Scene
	return q, nil
}

// poseProof has a question be about the credentials of the second factor that a
// flow asks for.
func (e *Engine) poseProof(ctx context.Context, q *posed, kind assurance.Factor) error {
	all, err := e.Vault.ActiveOf(ctx, q.flow.UserID)
	if err != nil {
		return err
	}
	_, step, err := e.next(ctx, e.Store, q.flow, all, kind)
	if err != nil {
		return err
	}
	if step.Kind != StepChallenge || step.Factor != kind {
		return ErrWrongStep
	}
	if q.factor, err = e.Vault.Factors.Get(kind); err != nil {
		return err
	}
	q.ceremony, q.others = q.factor.Proving(), step.Others
	q.asking.Credentials, q.rows, err = e.askable(all, q.flow, kind, step.Resistant)
	return err
}

// askable opens those active credentials of a kind that a flow may ask for.
func (e *Engine) askable(active []store.Credential, f Flow, kind assurance.Factor, resistant bool) ([]factors.Credential, map[string]store.Credential, error) {
	active = slices.DeleteFunc(slices.Clone(active), func(c store.Credential) bool { return !e.mayAsk(f, c, resistant) })
	return e.Vault.Open(active, kind)
}

// mayAsk reports whether a flow may ask for an active credential. One on probation
// neither resists phishing nor vouches for anything.
func (e *Engine) mayAsk(f Flow, c store.Credential, resistant bool) bool {
	onProbation := e.Clock().Before(c.ProbationUntil)
	return !slices.Contains(f.Lost, c.ID) && !(onProbation && (resistant || f.Rank > 0))
}

// poseEnrolment has a question be about a new credential.
func (e *Engine) poseEnrolment(ctx context.Context, q *posed, kind assurance.Factor) error {
	var err error
	if q.factor, err = e.enrolling(ctx, q.flow, kind); err != nil {
		return err
	}
	q.ceremony = q.factor.Enrolling()
	all, err := e.Vault.Of(ctx, q.flow.UserID)
	if err != nil {
		return err
	}
	all = slices.DeleteFunc(all, func(c store.Credential) bool { return !e.Vault.Works(c) })
	q.asking.Credentials, _, err = e.Vault.Open(all, kind)
	return err
}

// isOpen reports whether something is kept of the question that waits for an
// answer.
func (e *Engine) isOpen(q posed) bool { return q.kept.Ref != "" && q.kept.IsOpen(e.Clock()) }

// Page is a question as it is shown.
type Page struct {
	factors.Page
	// Until is the last moment at which the question can be answered; zero: when its
	// flow ends.
	Until time.Time
	// Unasked says that nothing is asked until Send is called.
	Unasked bool
	// Delivery is what became of its message.
	Delivery Delivery
	// Beside are the other kinds whose codes the question's field takes.
	Beside []Beside
}

// render returns the page of the question that a flow is at. It puts the
// question where it wasn't yet, or is over. Where another tab was first, what
// that put is shown.
func (e *Engine) render(ctx context.Context, f Flow, p ceremony.Purpose, kind assurance.Factor, c person.Client) (Page, error) {
	var page Page
	err := e.retried(ctx, f, func(f Flow) error {
		q, err := e.pose(ctx, f, p, kind)
		if err == nil {
			page, err = e.renderOnce(ctx, q, c)
		}
		return err
	})
	return page, err
}

func (e *Engine) renderOnce(ctx context.Context, q posed, c person.Client) (Page, error) {
	if e.isOpen(q) {
		page, err := q.ceremony.Resume(ctx, q.asking, q.kept.State)
		if err == nil {
			delivery, err := e.deliveryOf(ctx, q.kept.Ref)
			return Page{Page: page, Until: q.kept.Until, Delivery: delivery}, err
		}
		if !errors.Is(err, factors.ErrOver) {
			return Page{}, q.failing("resuming", err)
		}
	}
	if q.waitsForButton() {
		page, err := q.ceremony.Resume(ctx, q.asking, nil)
		return Page{Page: page, Unasked: true}, q.failing("showing", err)
	}
	asked, turn, err := e.ask(ctx, q, c)
	if refused := new(factors.Refused); errors.As(err, &refused) && q.isSent() {
		// Too many messages: the page stays, and its button says so.
		page, err := q.ceremony.Resume(ctx, q.asking, nil)
		return Page{Page: page, Unasked: true}, q.failing("showing", err)
	}
	if err != nil {
		return Page{}, err
	}
	q = asked
	page, err := q.ceremony.Resume(ctx, q.asking, turn.State)
	return Page{Page: page, Until: turn.Until}, q.failing("resuming", err)
}

// waitsForButton reports whether a question that isn't open is put only when the
// person presses a button: to load a page again sends nothing.
func (q posed) waitsForButton() bool {
	wasAsked := q.kept.Ref != "" || q.flow.Closed[questionKey(q.purpose, q.factor.Kind())] > 0
	traits := q.factor.Traits()
	return q.isSent() && (traits.OnDemand || wasAsked)
}

// isSent reports whether a message leaves for each question of this sort. What
// sends messages in an enrolment is an answer.
func (q posed) isSent() bool {
	traits := q.factor.Traits()
	return q.purpose == ceremony.Proof && (traits.Delivers || traits.OnDemand)
}

// ask puts a question that isn't open, and returns it with its first turn.
func (e *Engine) ask(ctx context.Context, q posed, c person.Client) (posed, factors.Turn, error) {
	over := q.kept.Ref != ""
	if over {
		q.flow.close(q.purpose, q.factor.Kind())
		q.asking.Ref = q.flow.ref(q.purpose, q.factor.Kind())
	}
	known, err := e.People.KnownBrowser(ctx, q.flow.UserID, c)
	if err != nil {
		return q, factors.Turn{}, err
	}
	q.asking.Scene = factors.Scene{
		Address: c.Address, UserAgent: c.UserAgent, Known: known != "", Host: c.Host, Language: c.Language, Zone: c.Zone,
	}
	turn, err := q.ceremony.Begin(ctx, q.asking)
	if err != nil {
		return q, factors.Turn{}, q.failing("beginning", err)
	}
	if !turn.IsZero() {
		err = e.put(ctx, q, turn, over)
	}
	return q, turn, err
}

// failing says what was being done with a question.
func (q posed) failing(doing string, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s a %s question (%s): %w", doing, q.factor.Kind(), q.purpose, err)
}

// put keeps a question that was begun, and in the flow that the one before it is
// over.
func (e *Engine) put(ctx context.Context, q posed, turn factors.Turn, over bool) error {
	fresh := ceremony.Question{
		Ref: q.asking.Ref, Owner: q.flow.UserID, Flow: q.flow.key(), Purpose: q.purpose, Kind: q.factor.Kind(),
		Who: q.asking.Who, Scene: q.asking.Scene, Kept: q.flow.Started.Add(FlowLifetime),
		Begun: e.Clock(), SignOn: q.flow.SignOn,
	}.Turned(turn)
	var isRepeated bool
	err := e.turn(ctx, fresh, turn.Send, func(tx store.Tx) (err error) {
		isRepeated = false
		if over {
			flow := q.flow
			if _, err := e.book().Close(ctx, tx, q.kept.Ref); err != nil {
				return err
			}
			if err := e.save(ctx, tx, &flow); err != nil {
				return err
			}
		}
		if q.factor.Traits().OneOpen && q.purpose == ceremony.Proof {
			isRepeated, err = e.disturb(ctx, tx, fresh)
		}
		return err
	})
	if err == nil && isRepeated {
		e.Audit.Record(ctx, audit.RequestsRepeated, fresh.Owner, audit.Fields{
			audit.User: fresh.Who.Name, audit.Factor: string(fresh.Kind), audit.App: fresh.Scene.Host,
			audit.Address: fresh.Scene.Address, audit.UserAgent: fresh.Scene.UserAgent,
		})
	}
	return err
}

// turn keeps a question as it is now, together with its message and what else
// is written at the same time, and has the message sent then.
func (e *Engine) turn(ctx context.Context, q ceremony.Question, send bool, also func(store.Tx) error) error {
	if send && e.Outbox == nil {
		return errUnsent
	}
	err := e.Store.Atomically(ctx, func(tx store.Tx) error {
		if err := also(tx); err != nil {
			return err
		}
		if send {
			if err := e.Outbox.Queue(ctx, tx, q); err != nil {
				return fmt.Errorf("queueing a message: %w", err)
			}
		}
		return e.book().Put(ctx, tx, q)
	})
	if err == nil && send {
		e.Outbox.Wake()
	}
	return err
}

// nothing is written besides.
func nothing(store.Tx) error { return nil }

// closeQuestions closes what a flow asks, in the transaction in which one answer
// was accepted.
func (e *Engine) closeQuestions(ctx context.Context, tx store.Tx, f *Flow, p ceremony.Purpose) error {
	for _, factor := range e.Vault.Factors {
		ref := f.ref(p, factor.Kind())
		closed, err := e.book().Close(ctx, tx, ref)
		if err != nil {
			return err
		}
		if closed {
			if factor.Traits().OneOpen {
				f.Kept = append(slices.Clone(f.Kept), ref)
			}
			f.close(p, factor.Kind())
		}
	}
	return nil
}

// book is where questions are kept.
func (e *Engine) book() ceremony.Book { return ceremony.Book{Sealer: e.Vault.Sealer, Clock: e.Clock} }
