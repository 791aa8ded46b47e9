package caddymodule

import (
	"context"
	"path/filepath"
	"testing"
	"testing/synctest"

	"github.com/portcullis-mfa/portcullis/store"
)

// slowToFollow is a store that takes on a follower only when the test lets it.
// It holds nothing.
type slowToFollow struct {
	store.Store
	let      chan struct{}
	followed bool
}

func (s *slowToFollow) Open(context.Context, bool) (store.Store, error) { return s, nil }
func (*slowToFollow) Key() string                                       { return "slow" }
func (*slowToFollow) Incarnation() string                               { return "incarnation" }
func (*slowToFollow) AdviceIfMissing() string                           { return "" }
func (*slowToFollow) Descends(context.Context, string) (bool, error)    { return true, nil }
func (*slowToFollow) Position(context.Context) (int64, error)           { return 0, nil }
func (*slowToFollow) Close() error                                      { return nil }

func (*slowToFollow) ListAccessTokens(context.Context) ([]store.AccessToken, error) { return nil, nil }

func (s *slowToFollow) Follow(store.Follower) (stop func()) {
	<-s.let
	s.followed = true
	return func() { s.followed = false }
}

// TestNodeFollowsBeforeItServes: a request that comes sooner would be told that
// this process is cut off from the changes.
func TestNodeFollowsBeforeItServes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := &slowToFollow{let: make(chan struct{})}
		app := &App{Keys: filepath.Join(t.TempDir(), "keys"), store: s}
		opened := make(chan *node, 1)
		go func() {
			n, err := app.openNode(t.Context())
			if err != nil {
				t.Error(err)
			}
			opened <- n
		}()
		synctest.Wait()
		if len(opened) > 0 {
			t.Error("the node is there before it follows its store")
		}
		close(s.let)
		n := <-opened
		if err := n.Destruct(); err != nil || s.followed {
			t.Errorf("closed, it follows: %t; %v", s.followed, err)
		}
	})
}
