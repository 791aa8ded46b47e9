// Package storetest provides stores for testing the packages that use one. It must
// not know any implementation of the contract.
package storetest

import (
	"context"
	"errors"

	"github.com/portcullis-mfa/portcullis/store"
)

// Rerun returns a store that runs the function of each transaction twice and rolls
// the first run back, as a store that several processes share may do. A function
// that does anything outside its transaction does it twice.
func Rerun(s store.Store) store.Store { return rerunning{s} }

type rerunning struct{ store.Store }

// errUnserializable ends the first run.
var errUnserializable = errors.New("could not serialize access")

// Atomically implements store.Store.
func (s rerunning) Atomically(ctx context.Context, fn func(tx store.Tx) error) error {
	err := s.Store.Atomically(ctx, func(tx store.Tx) error {
		_ = fn(tx) // whatever it says
		return errUnserializable
	})
	if err != errUnserializable {
		return err
	}
	return s.Store.Atomically(ctx, fn)
}

// View implements store.Store.
func (s rerunning) View(ctx context.Context, fn func(r store.Reader) error) error {
	return s.Store.View(ctx, func(r store.Reader) error {
		_ = fn(r)
		return fn(r)
	})
}

// CountAttempts implements store.Store.
func (s rerunning) CountAttempts(ctx context.Context, keys []store.AttemptKey, fn func(counts store.AttemptCounts) error) error {
	err := s.Store.CountAttempts(ctx, keys, func(counts store.AttemptCounts) error {
		_ = fn(counts)
		return errUnserializable
	})
	if err != errUnserializable {
		return err
	}
	return s.Store.CountAttempts(ctx, keys, fn)
}
