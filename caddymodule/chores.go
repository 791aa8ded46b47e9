package caddymodule

import (
	"context"
	"errors"
	"time"
)

// The work that one process does for all that share a store.
const (
	choreSweep  = "sweep"
	chorePrune  = "prune"
	choreReview = "review"
)

// chores is the work that a process shares with others, under its own name.
type chores struct {
	store leaser
	name  string
}

type leaser interface {
	Lease(ctx context.Context, work, holder string, d time.Duration) (bool, error)
}

// alone wraps work that is done at an interval, so that only one process does it.
// If that process is gone, another one takes over at the second turn at the latest.
func (c chores) alone(work string, every time.Duration, do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		held, err := c.store.Lease(ctx, work, c.name, every+every/2)
		if err != nil || !held {
			return err
		}
		return do(ctx)
	}
}

// leave gives all work up to the others.
func (c chores) leave(ctx context.Context) error {
	_, sweeping := c.store.Lease(ctx, choreSweep, c.name, 0)
	_, pruning := c.store.Lease(ctx, chorePrune, c.name, 0)
	_, reviewing := c.store.Lease(ctx, choreReview, c.name, 0)
	return errors.Join(sweeping, pruning, reviewing)
}
