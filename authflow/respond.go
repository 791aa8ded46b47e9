package authflow

import (
	"context"
	"errors"
	"fmt"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

// People type the codes of several kinds into one field: those of an authenticator app,
// and those that were sent in messages. The length of a code says which kind it is of.
// If two kinds have codes of the same length, an answer is checked as both, and a wrong
// one counts as a guess at both.

// Challenge returns the page on which a second factor is asked for. However often
// it is shown, it asks once.
func (e *Engine) Challenge(ctx context.Context, f Flow, kind assurance.Factor, c person.Client) (Page, error) {
	page, err := e.render(ctx, f, ceremony.Proof, kind, c)
	if err == nil && !page.Unasked {
		page.Beside, err = e.showBeside(ctx, f, kind)
	}
	return page, err
}

// Beside is a further kind whose codes a question's field accepts.
type Beside struct {
	Kind assurance.Factor
	// Content is what the kind's own page would show.
	Content any
}

// showBeside returns the further kinds of a question. What was only just asked isn't among
// them: at worst, the page doesn't mention it.
func (e *Engine) showBeside(ctx context.Context, f Flow, kind assurance.Factor) ([]Beside, error) {
	traits := e.Vault.Factors.Traits(kind)
	if !traits.Typed {
		return nil, nil
	}
	q, err := e.pose(ctx, f, ceremony.Proof, kind)
	if err != nil {
		return nil, err
	}
	questions, err := e.beside(ctx, q)
	if err != nil {
		return nil, err
	}
	var shown []Beside
	for _, one := range questions {
		page, err := one.ceremony.Resume(ctx, one.asking, one.kept.State)
		if err != nil {
			return nil, one.failing("showing", err)
		}
		shown = append(shown, Beside{one.factor.Kind(), page.Content})
	}
	return shown, nil
}

// beside returns the questions of other kinds whose codes can be typed into the field of a
// question. Codes in messages are among them only once one was sent.
func (e *Engine) beside(ctx context.Context, q posed) (found []posed, err error) {
	if !q.factor.Traits().Typed {
		return nil, nil
	}
	for _, kind := range q.others {
		if !e.Vault.Factors.Traits(kind).Typed {
			continue
		}
		one, err := e.pose(ctx, q.flow, ceremony.Proof, kind)
		if err != nil {
			return nil, err
		}
		if !one.isSent() || e.isOpen(one) {
			found = append(found, one)
		}
	}
	return found, nil
}

// Response is what somebody gives to a second factor's challenge.
type Response struct {
	Factor assurance.Factor
	Answer factors.Answer // nil: to collect what another device has answered
	// Remember asks that the browser stand in for the factor from now on. The
	// grant does so where RememberFor allows it.
	Remember bool
	// CanPasskey says that the browser's device can keep a passkey.
	CanPasskey bool
}

// reading is a response read as the answer to one of the questions that it may answer.
type reading struct {
	posed
	given     Response
	at        guess.Attempt
	guessable bool
}

// Answer checks the response to a second factor's challenge. A right one is
// consumed and noted in the flow in one transaction, in which what the flow says
// is lost is suspended, too. *factors.Refused, *guess.Slowed, ErrWrongStep and ErrFlowGone are
// definite; any other error means that the answer couldn't be judged.
//
// Only guesses slow down what comes after them. An answer without the form of
// one is refused and leaves no trace. A wrong answer that nobody could have
// guessed right is noted. ErrPending is neither right nor wrong.
func (e *Engine) Answer(ctx context.Context, f Flow, given Response, c person.Client) error {
	readings, err := e.read(ctx, f, given, c)
	if err != nil {
		return err
	}
	if readings, err = e.reserve(ctx, readings); err != nil {
		return err
	}
	var wrong []*factors.Refused
	for i, r := range readings {
		err := e.answer(ctx, r.posed, r.given, r.at, c)
		if refused := new(factors.Refused); errors.As(err, &refused) {
			refused.Factor = r.given.Factor
			wrong = append(wrong, refused)
			continue
		}
		if err != nil {
			return e.untold(ctx, readings, wrong, err)
		}
		// It is right as this kind, so it wasn't meant for the others.
		for j, other := range readings {
			if j != i {
				err = e.refund(ctx, other, err)
			}
		}
		return err
	}
	return e.failAll(ctx, readings, wrong)
}

// read returns the questions that a response has the form of an answer to: the one that
// was asked, if it is among them, comes first. It returns at least one, or *factors.Refused.
func (e *Engine) read(ctx context.Context, f Flow, given Response, c person.Client) (readings []reading, err error) {
	q, err := e.pose(ctx, f, ceremony.Proof, given.Factor)
	if err != nil {
		return nil, err
	}
	questions := []posed{q}
	if given.Answer != nil {
		others, err := e.beside(ctx, q)
		if err != nil {
			return nil, err
		}
		questions = append(questions, others...)
	}
	browser, err := e.People.KnownBrowser(ctx, f.UserID, c)
	if err != nil {
		return nil, err
	}
	for _, q := range questions {
		kind := q.factor.Kind()
		if given.Answer != nil {
			if reads, err := q.factor.Reads(q.asking.Credentials, given.Answer); err != nil {
				return nil, fmt.Errorf("reading a %s answer: %w", kind, err)
			} else if !reads {
				continue
			}
		}
		r := reading{posed: q, given: given, guessable: q.factor.Traits().Guessable && given.Answer != nil}
		r.given.Factor = kind
		r.at = person.AttemptOf(store.User{ID: f.UserID, Name: f.Name}, kind, browser, c)
		readings = append(readings, r)
	}
	if len(readings) == 0 {
		return nil, &factors.Refused{Reason: factors.Malformed}
	}
	return readings, nil
}

// reserve reserves a guess for each reading. Kinds that are slowed down are left out, and
// *guess.Slowed is returned if the first is.
func (e *Engine) reserve(ctx context.Context, readings []reading) (reserved []reading, err error) {
	for i, r := range readings {
		if r.guessable {
			err = e.Guesses.Reserve(ctx, r.at)
		}
		if slowed := new(guess.Slowed); i > 0 && errors.As(err, &slowed) {
			continue
		}
		if err != nil {
			for _, earlier := range reserved {
				err = e.refund(ctx, earlier, err)
			}
			return nil, err
		}
		reserved = append(reserved, r)
	}
	return reserved, nil
}

// refund takes back the guess of a reading, because of an error, which it returns, or
// because another reading was right.
func (e *Engine) refund(ctx context.Context, r reading, cause error) error {
	if !r.guessable {
		return cause
	}
	return e.Guesses.Refund(ctx, r.at, cause)
}

// untold takes back the guesses of an answer that couldn't be judged because of an error,
// which it returns. As the first readings, the answer is known to be wrong. That counts:
// otherwise, anyone who hangs up in time would guess for free.
func (e *Engine) untold(ctx context.Context, readings []reading, wrong []*factors.Refused, cause error) error {
	for i, r := range readings {
		if i >= len(wrong) {
			cause = e.refund(ctx, r, cause)
		} else if err := e.fail(ctx, r, wrong[i]); err != nil {
			cause = errors.Join(cause, err)
		}
	}
	return cause
}

// failAll counts an answer that is wrong in each reading, and returns the refusal that says
// most.
func (e *Engine) failAll(ctx context.Context, readings []reading, wrong []*factors.Refused) error {
	told := wrong[0]
	for i, r := range readings {
		if told.Reason == factors.Wrong && wrong[i].Reason != factors.Wrong {
			told = wrong[i]
		}
		if err := e.fail(ctx, r, wrong[i]); err != nil {
			return err
		}
	}
	return told
}

// fail counts a reading that is wrong.
func (e *Engine) fail(ctx context.Context, r reading, wrong *factors.Refused) error {
	if r.guessable {
		return e.Guesses.Failed(ctx, r.at, string(wrong.Reason))
	}
	err := e.noteWrong(ctx, r.at, wrong, nil)
	if refused := new(factors.Refused); errors.As(err, &refused) {
		return nil
	}
	return err
}
