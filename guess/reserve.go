package guess

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
)

// Reserve counts an attempt as under way before it is looked at, so that a
// thousand at once are no more than a thousand in a row, or returns *Slowed.
// For the address it counts as a failure from here on, until it succeeds.
func (l *Limiter) Reserve(ctx context.Context, a Attempt) error {
	failures, err := l.reserve(ctx, a)
	if slowed := new(Slowed); errors.As(err, &slowed) {
		l.noteSlowed(a, failures)
	}
	return err
}

// reserve is Reserve that logs nothing of what is slowed. It returns how many
// failures there are.
func (l *Limiter) reserve(ctx context.Context, a Attempt) (int, error) {
	var (
		failures int
		slowed   *Slowed
	)
	err := l.Store.CountAttempts(ctx, l.countersOf(a), func(tx store.AttemptCounts) error {
		now := l.Clock()
		c, err := l.counts(ctx, tx, a)
		if err != nil {
			return err
		}
		failures, slowed = c.account.Failures, l.decide(c, a)
		if slowed != nil {
			if c.setBack {
				return tx.PutAttempts(ctx, c.account)
			}
			return nil
		}
		if c.underWay.Failures++; c.underWay.First.IsZero() {
			c.underWay.First = now
		}
		c.underWay.Last = now
		for _, source := range c.sources {
			source.Failures++
			source.Last = now
			if err := tx.PutAttempts(ctx, source); err != nil {
				return err
			}
		}
		return tx.PutAttempts(ctx, c.underWay)
	})
	if err != nil {
		return failures, fmt.Errorf("counting an attempt: %w", err)
	}
	if slowed != nil {
		return failures, slowed
	}
	return failures, nil
}

// settle takes an attempt back that is no longer under way.
func settle(ctx context.Context, tx store.AttemptCounts, c counts) error {
	if c.underWay.Failures > 1 {
		c.underWay.Failures--
		return tx.PutAttempts(ctx, c.underWay)
	}
	return tx.DeleteAttempts(ctx, c.underWay.Scope, c.underWay.Key)
}

// acquit takes back what an attempt counts for its address.
func acquit(ctx context.Context, tx store.AttemptCounts, c counts) error {
	for _, source := range c.sources {
		if source.Failures == 0 {
			continue
		}
		source.Failures--
		if err := tx.PutAttempts(ctx, source); err != nil {
			return err
		}
	}
	return nil
}

// Refund takes back a reservation whose attempt could not be looked at, because
// of cause, and returns both errors. Where there were too many, or the client
// didn't wait, it stays with the address.
func (l *Limiter) Refund(ctx context.Context, a Attempt, cause error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recording)
	defer cancel()
	return errors.Join(cause, l.Store.CountAttempts(ctx, l.countersOf(a), func(tx store.AttemptCounts) error {
		c, err := l.counts(ctx, tx, a)
		if err != nil {
			return err
		}
		if err := settle(ctx, tx, c); err != nil {
			return err
		}
		if errors.Is(cause, ErrBusy) || errors.Is(cause, context.Canceled) {
			return nil
		}
		return acquit(ctx, tx, c)
	}))
}

// Succeeded forgets the failures before a right answer, in the transaction that
// takes it. An answer that can't be guessed was not counted for its address, so
// nothing is taken back there.
func (l *Limiter) Succeeded(ctx context.Context, tx store.Tx, a Attempt) error {
	if l.isGuessable(a.Factor) {
		c, err := l.counts(ctx, tx, a)
		if err != nil {
			return err
		}
		if err := acquit(ctx, tx, c); err != nil {
			return err
		}
	}
	scope, key := a.counter()
	return tx.DeleteAttempts(ctx, scope, key)
}

// recording is how long a wrong answer may take to be written down.
const recording = 10 * time.Second

// Failed counts a reserved attempt as wrong, in one transaction whoever it is
// about, and writes down why. Whoever hangs up before they hear of it is counted
// all the same.
func (l *Limiter) Failed(ctx context.Context, a Attempt, reason string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), recording)
	defer cancel()
	fields := a.fields()
	fields[audit.Reason] = reason
	err := l.Audit.Change(ctx, l.Store, "counting a failure", func(tx store.Tx) ([]store.Event, error) {
		c, err := l.counts(ctx, tx, a)
		if err != nil {
			return nil, err
		}
		if err := settle(ctx, tx, c); err != nil {
			return nil, err
		}
		if c.account.Failures++; c.account.First.IsZero() {
			c.account.First = l.Clock()
		}
		c.account.Last = l.Clock()
		if err := tx.PutAttempts(ctx, c.account); err != nil || a.User.ID == "" {
			return nil, err
		}
		events := []store.Event{l.Audit.Event(audit.SignInFailed, a.User.ID, fields)}
		if c.account.Failures == lockAfter {
			events = append(events, l.alert(audit.FactorAlert, a, lockAfter))
		}
		if c.budget == nil {
			return events, nil
		}
		failures := c.budget.failures
		failures.Failures++
		failures.Last = l.Clock()
		if failures.Failures == budget {
			events = append(events, l.alert(audit.FactorsPaused, a, budget))
		}
		return events, tx.PutAttempts(ctx, failures)
	})
	if err == nil && a.User.ID == "" {
		l.Audit.Note(audit.SignInFailed, "", fields)
	}
	return err
}

// alert makes an event about so many failures.
func (l *Limiter) alert(what audit.Name, a Attempt, failures int) store.Event {
	return l.Audit.Event(what, a.User.ID, audit.Fields{
		audit.User: a.User.Name, audit.Factor: string(a.Factor), audit.Address: a.Address,
		audit.Failures: strconv.Itoa(failures),
	})
}

// NoteWrong counts and writes down a wrong answer that nobody could have guessed
// right, no more often than a guess would be: a flood of them fills no log, and
// slows nobody down. also, if not nil, is done where it is written down.
func (l *Limiter) NoteWrong(ctx context.Context, a Attempt, reason string, also func() error) error {
	_, err := l.reserve(ctx, a)
	if slowed := new(Slowed); errors.As(err, &slowed) {
		return nil
	}
	if err == nil && also != nil {
		if err = also(); err != nil {
			return l.Refund(ctx, a, err)
		}
	}
	if err != nil {
		return err
	}
	return l.Failed(ctx, a, reason)
}

// noteSlowed logs an attempt that was not looked at.
func (l *Limiter) noteSlowed(a Attempt, failures int) {
	fields := a.fields()
	fields[audit.Failures] = strconv.Itoa(failures)
	l.Audit.Note(audit.SignInSlowed, a.User.ID, fields)
}
