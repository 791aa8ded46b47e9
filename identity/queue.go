package identity

import (
	"context"
	"errors"
	"fmt"
	"time"
)

// ErrBusy says that too much hashing is waiting already. Nothing was decided
// about the password. The error that matches it is a *BusyError.
var ErrBusy = errors.New("too many passwords are waiting to be checked")

// BusyError is ErrBusy with a hint for the caller's answer.
type BusyError struct {
	// RetryAfter is how long to wait before trying again.
	RetryAfter time.Duration
}

// Error implements error.
func (e *BusyError) Error() string { return ErrBusy.Error() }

// Is makes errors.Is(err, ErrBusy) true.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

// queue bounds how much work runs at once and how much waits for it, in order
// of arrival.
type queue struct {
	places  chan struct{} // taken by all work, running or waiting
	slots   chan struct{} // taken by running work
	maxWait time.Duration
	after   func(time.Duration) <-chan time.Time
}

func newQueue(atOnce, waiting int, maxWait time.Duration, after func(time.Duration) <-chan time.Time) *queue {
	return &queue{
		places:  make(chan struct{}, atOnce+waiting),
		slots:   make(chan struct{}, atOnce),
		maxWait: maxWait,
		after:   after,
	}
}

// do runs work, or returns a *BusyError where there is no place to wait or the
// wait grew too long, or the context's error where that ended first. Work that
// has begun is finished.
func (q *queue) do(ctx context.Context, work func()) error {
	select {
	case q.places <- struct{}{}:
	default:
		return &BusyError{RetryAfter: q.maxWait}
	}
	defer func() { <-q.places }()
	if err := q.takeSlot(ctx); err != nil {
		return err
	}
	defer func() { <-q.slots }()
	if err := ctx.Err(); err != nil { // both may have been ready
		return fmt.Errorf("waiting to hash a password: %w", err)
	}
	work()
	return nil
}

func (q *queue) takeSlot(ctx context.Context) error {
	select {
	case q.slots <- struct{}{}: // nobody waits: needs no timer
		return nil
	default:
	}
	select {
	case q.slots <- struct{}{}:
		return nil
	case <-q.after(q.maxWait):
		return &BusyError{RetryAfter: q.maxWait}
	case <-ctx.Done():
		return fmt.Errorf("waiting to hash a password: %w", ctx.Err())
	}
}
