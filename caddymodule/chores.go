package caddymodule

import (
	"context"
	"errors"
	"time"
)

// The work that one process does for all that share a store.
const (
	choreSweep = "sweep"
	chorePrune = "prune"
)

// chores are shared with others, who have names of their own.
type chores struct {
	store leaser
	name  string
}

type leaser interface {
	Lease(ctx context.Context, work, holder string, d time.Duration) (bool, error)
}

// alone returns what does work that is done once in a while, unless somebody else
// does it. Where they are gone, another one takes over at the next turn but one.
func (c chores) alone(work string, every time.Duration, do func(context.Context) error) func(context.Context) error {
	return func(ctx context.Context) error {
		held, err := c.store.Lease(ctx, work, c.name, every+every/2)
		if err != nil || !held {
			return err
		}
		return do(ctx)
	}
}

// leave lets others do the work from now on.
func (c chores) leave(ctx context.Context) error {
	_, sweeping := c.store.Lease(ctx, choreSweep, c.name, 0)
	_, pruning := c.store.Lease(ctx, chorePrune, c.name, 0)
	return errors.Join(sweeping, pruning)
}
