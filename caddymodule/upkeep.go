package caddymodule

import (
	"context"
	"crypto/rand"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

const (
	// markEvery is how far the mark of the store's position may be behind, and how
	// often the store's file is looked for.
	markEvery = 5 * time.Second
	// sweepEvery is how often what has expired is cleared away, and the keys
	// are read again.
	sweepEvery = time.Minute
	// listsEvery is how often the operator's revocation lists are looked at.
	listsEvery = time.Second
	// pruneEvery is how often keys are looked for that nothing depends on, and access
	// tokens that nobody uses or answers for.
	pruneEvery = time.Hour
)

// How long what is over is still kept: for the audit, and for browsers that
// come back seldom.
const (
	keepSignOns  = 7 * 24 * time.Hour
	keepBrowsers = 400 * 24 * time.Hour
	keepPending  = 7 * 24 * time.Hour  // devices that nobody confirms
	keepDevices  = 90 * 24 * time.Hour // once their certificate has expired
	keepMessages = 7 * 24 * time.Hour  // after they expired
	keepEvents   = 400 * 24 * time.Hour
)

// keepUp does what has to be done from time to time, until the context ends.
func (s *service) keepUp(ctx context.Context, logger *zap.Logger) {
	marks, sweeps, prunes := time.NewTicker(markEvery), time.NewTicker(sweepEvery), time.NewTicker(pruneEvery)
	lists := time.NewTicker(listsEvery)
	defer lists.Stop()
	defer marks.Stop()
	defer sweeps.Stop()
	defer prunes.Stop()
	try := func(doing string, do func(context.Context) error) {
		if err := do(ctx); err != nil && ctx.Err() == nil {
			logger.Warn(doing, zap.Error(err))
		}
	}
	keepMark, endRevoked := s.markKeeper(), s.endRevoked()
	chores := chores{s.store, rand.Text()}
	try("keeping the mark of the store's position", keepMark)
	for {
		select {
		case <-ctx.Done():
			// The last mark is of the end, which ctx must not keep from it.
			ctx = context.WithoutCancel(ctx)
			try("keeping the mark of the store's position", keepMark)
			try("leaving work to others", chores.leave)
			return
		case <-marks.C:
			if err := s.checkStore(ctx); err != nil {
				logger.Error("looking after the store", zap.Error(err))
			}
			try("keeping the mark of the store's position", keepMark)
		case <-lists.C:
			try("ending what was opened with certificates that their CA has revoked", endRevoked)
		case <-sweeps.C:
			s.rereadKeys(ctx, logger)
			try("learning what certificates of devices were issued from", s.refreshIssuers)
			try("clearing away what has expired", chores.alone(choreSweep, sweepEvery, s.sweep))
		case <-prunes.C:
			try("looking for keys that nothing depends on", chores.alone(chorePrune, pruneEvery, s.pruneKeys))
			try("ending access tokens that nobody uses or answers for", chores.alone(choreReview, pruneEvery, s.desk.ReviewTokens))
		}
	}
}

// rereadKeys takes over what changed in the stored keys. While they can't be
// used, those in use stay.
func (s *service) rereadKeys(ctx context.Context, logger *zap.Logger) {
	err := s.keys.Refresh(ctx)
	if ctx.Err() != nil {
		return
	}
	s.metrics.fileRead(fileKeys, err)
	s.keysDoubt.Store(&err)
	if err != nil {
		logger.Error("rereading the keys: the current ones stay in use", zap.Error(err))
	}
}

// markKeeper returns what keeps the mark wherever the position has moved.
func (s *service) markKeeper() func(context.Context) error {
	marked := int64(-1)
	return func(ctx context.Context) error {
		position, err := s.store.Position(ctx)
		if err != nil || position == marked {
			return err
		}
		if err := s.mark.Keep(ctx, s.store.Incarnation(), position); err != nil {
			return err
		}
		marked = position
		return nil
	}
}

// endRevoked returns a task that ends the sign-ons of devices on the operator's
// revocation lists, each time those lists have changed.
func (s *service) endRevoked() func(context.Context) error {
	var done *devices.Lists
	return func(ctx context.Context) error {
		if s.revocations == nil {
			return nil
		}
		current := s.revocations.Current()
		if current == done {
			return nil
		}
		if err := s.desk.EndWithdrawn(ctx, current.Name); err != nil {
			return err
		}
		done = current
		return nil
	}
}

// endedAtOnce is how many sign-ons one transaction ends.
const endedAtOnce = 200

// sweep clears away what has expired. Sign-ons over their limit are marked as
// ended, so that they stay so when the clock is set back; those that a clock
// which was ahead has given more than a lifetime are given one.
func (s *service) sweep(ctx context.Context) error {
	now := time.Now()
	for {
		ended, err := s.desk.EndExpired(ctx, endedAtOnce)
		if err != nil {
			return err
		}
		if ended < endedAtOnce {
			break
		}
	}
	if _, err := s.store.PullBackSignOns(ctx, now.Add(session.Granularity), now.Add(s.lifetime+session.Granularity)); err != nil {
		return err
	}
	return s.store.Sweep(ctx, now, store.SweepLimits{
		KeepAttempts: guess.Kept(), AttemptsBefore: now.Add(-guess.KeptFor),
		SignOnsBefore: now.Add(-keepSignOns), BrowsersBefore: now.Add(-keepBrowsers),
		DevicesBefore: now.Add(-keepDevices), PendingDevicesBefore: now.Add(-keepPending), FormerNamesBefore: now.Add(-accounts.FormerNamesKept),
		MessagesBefore: now.Add(-keepMessages), AccessTokensBefore: now.Add(-keepDevices),
		EventsBefore: now.Add(-keepEvents),
	})
}

// pruneKeys seals by the present key what older ones sealed, and deletes the
// keys that nothing depends on any more.
func (s *service) pruneKeys(ctx context.Context) error {
	if !s.keys.HasRetired() {
		return nil
	}
	used, err := s.vault.Reseal(ctx, s.keys)
	if err != nil {
		return err
	}
	return s.keys.Prune(ctx, keys.InUse(used))
}
