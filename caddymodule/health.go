package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/caddymodule/adminapi"
	"github.com/portcullis-mfa/portcullis/store"
)

const (
	// healthPatience is how long a check of the server's health may take.
	healthPatience = 2 * time.Second
	// clockTolerance is how far behind the newest event the clock may be.
	clockTolerance = 2 * time.Minute
	// outboxPatience is how long every attempt at a message may fail.
	outboxPatience = 5 * time.Minute
)

// choreHealth is the lease that is taken to see whether the store can be written to.
const choreHealth = "health"

// health checks what the server needs in order to decide and to sign people in.
func (s *service) health(ctx context.Context) []adminapi.Check {
	ctx, cancel := context.WithTimeout(ctx, healthPatience)
	defer cancel()
	checks := []adminapi.Check{
		check("store", s.checkWritable(ctx)),
		check("clock", s.checkClock(ctx, time.Now())),
	}
	var feed error
	if !s.keeper.IsCurrent() {
		feed = errors.New("changes in the store don't arrive, so sessions that have ended may still be accepted")
	}
	checks = append(checks, check("changes", feed))
	var stored error
	if doubt := s.keysDoubt.Load(); doubt != nil {
		stored = *doubt
	}
	checks = append(checks, check("keys", stored))
	if s.outbox != nil {
		checks = append(checks, check("outbox", s.checkOutbox(time.Now())))
	}
	return checks
}

// checkOutbox returns that messages haven't been sent for a while. One that fails now and
// then is tried again, and isn't reported.
func (s *service) checkOutbox(now time.Time) error {
	trouble, failing := s.outbox.Trouble()
	if !failing || now.Sub(trouble.Since) < outboxPatience {
		return nil
	}
	return fmt.Errorf("every message since %s has failed (%s): run caddy mfa notify test ADDRESS", trouble.Since.UTC().Format(time.DateTime+" MST"), trouble.Code)
}

func check(name string, err error) adminapi.Check {
	c := adminapi.Check{Name: name, OK: err == nil}
	if err != nil {
		c.Error = err.Error()
	}
	return c
}

// checkWritable returns why nothing can be written to the store: nobody could sign
// in then, or be signed out.
func (s *service) checkWritable(ctx context.Context) error {
	if err := s.checkStore(ctx); err != nil {
		return err
	}
	// All processes write the same, so none of them keeps the lease from another.
	_, err := s.store.Lease(ctx, choreHealth, choreHealth, time.Second)
	return err
}

// checkClock returns that the clock is behind what has happened. What expires would
// live longer then.
func (s *service) checkClock(ctx context.Context, now time.Time) error {
	newest, err := s.store.ListEvents(ctx, store.EventFilter{Limit: 1})
	if err != nil || len(newest) == 0 {
		return err
	}
	if ahead := newest[0].At.Sub(now); ahead > clockTolerance {
		return fmt.Errorf("the clock is %s behind the newest event: correct it", ahead.Round(time.Second))
	}
	return nil
}
