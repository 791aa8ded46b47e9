package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/caddyserver/caddy/v2"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/caddymodule/commands"
	"github.com/portcullis-mfa/portcullis/hashprocess"
	"github.com/portcullis-mfa/portcullis/identity"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// nodes are the open stores of this process by key: a reload goes on with the
// store that the configuration before it has open, with what is known of it,
// and with the connections that are watched over.
var nodes = caddy.NewUsagePool()

// node is an open store in the pool, with the one keeper and the one queue for
// hashing that it has in this process.
type node struct {
	store.Store
	keeper  *session.Keeper
	hashing *identity.Queue
	worker  *hashprocess.Process
	end     context.CancelFunc
	running sync.WaitGroup
}

// openNode opens a store and begins to follow it.
func (a *App) openNode(ctx context.Context) (*node, error) {
	mark := keys.OpenMark(ctx, a.keyStorage())
	begun, err := a.hasBegun(ctx, mark)
	if err != nil {
		return nil, err
	}
	opened, err := a.store.Open(ctx, !begun)
	if errors.Is(err, store.ErrMissing) {
		return nil, fmt.Errorf("%w, although there is a key set, or a mark of a store: %s", err, a.adviceBeginAnew())
	}
	if err != nil {
		return nil, err
	}
	if err := a.checkMark(ctx, mark, opened); err != nil {
		return nil, errors.Join(err, opened.Close())
	}
	worker := hashprocess.New(commands.HashProcess, func(err error) {
		caddy.Log().Named("mfa").Warn("hashing passwords in the server's own process, which slows down requests", zap.Error(err))
	})
	n := &node{Store: opened, keeper: session.NewKeeper(telling{opened}, time.Now, warn), hashing: identity.NewQueue(worker), worker: worker}
	running, end := context.WithCancel(context.Background())
	n.end = end
	// Before anybody asks: until then nobody could be told anything.
	stop := opened.Follow(n.keeper)
	n.running.Go(func() {
		defer stop()
		n.keeper.Run(running)
	})
	return n, nil
}

// telling is a store that tells the audit of each sign-on that idles out, in the
// log of the configuration that is in force at that moment.
type telling struct{ store.Store }

// EndUnseenSignOn implements session.Store.
func (t telling) EndUnseenSignOn(ctx context.Context, id string, lastSeen, at time.Time, reason string) error {
	log := audit.NewLog(caddy.Log().Named("mfa.audit"), t.Store, time.Now)
	log.Observe(observeInForce)
	return accounts.NewDesk(t.Store, nil, nil, log, time.Now, nil).EndUnseen(ctx, id, lastSeen, at, reason)
}

// warn writes to the log of the configuration that is in force at that moment:
// a node outlives the one that it was opened under.
func warn(message string, fields ...zap.Field) {
	caddy.Log().Named("mfa.sessions").Warn(message, fields...)
}

// hasBegun reports whether there has been a store before: its mark or its keys
// are there. A store in which nothing has happened yet isn't missed.
func (a *App) hasBegun(ctx context.Context, mark *keys.Mark) (bool, error) {
	switch mark.Found() {
	case keys.MarkMoved:
		return true, nil
	case keys.MarkAtStart:
		return false, nil
	}
	return keys.Exist(ctx, a.keyStorage())
}

// adviceBeginAnew says what to do where the store is gone.
func (a *App) adviceBeginAnew() string {
	return fmt.Sprintf("%s, or correct `store`; to begin anew without users, move the key set and its mark aside as well (%s)",
		a.store.AdviceIfMissing(), keys.Places(a.keyStorage()))
}

// checkMark ends all sessions where the store may have been brought back from
// an older copy, in which those live that were ended since. A store in which
// nothing has happened can't be the one that the mark is of.
func (a *App) checkMark(ctx context.Context, mark *keys.Mark, s store.Store) error {
	descends, err := s.Descends(ctx, mark.Incarnation())
	if err != nil {
		return err
	}
	position, err := s.Position(ctx)
	if err != nil {
		return err
	}
	life := s.Incarnation()
	doubt := mark.Doubt(keys.Present{Incarnation: life, Position: position, Descends: descends})
	if doubt == nil {
		return nil
	}
	if errors.Is(doubt, keys.ErrEmptied) {
		return fmt.Errorf("%w: %s", doubt, a.adviceBeginAnew())
	}
	a.logger.Warn("everybody has to sign in again", zap.Error(doubt))
	// Of several nodes that find the same copy, one renews it.
	if err := s.Renew(ctx, life); err != nil && !errors.Is(err, store.ErrConflict) {
		return err
	}
	return mark.Keep(ctx, s.Incarnation(), position)
}

// Destruct implements caddy.Destructor.
func (n *node) Destruct() error {
	n.end()
	n.running.Wait()
	n.worker.Close()
	return n.Close()
}
