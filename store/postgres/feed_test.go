package postgres

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// heard is a follower that notes what it is told.
type heard struct {
	mu      sync.Mutex
	changes map[string]bool // by id
	beat    time.Time
	lost    int
	renewed []string
}

func (h *heard) Changed(changes []store.Change) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if h.changes == nil {
		h.changes = make(map[string]bool)
	}
	for _, c := range changes {
		h.changes[c.ID] = true
	}
}

func (h *heard) Heartbeat(sent time.Time) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.beat = sent
}

func (h *heard) Renewed(incarnation string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.renewed = append(h.renewed, incarnation)
}

func (h *heard) Lost() {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.lost++
}

// await waits until a heartbeat comes that was sent after now: all that was committed
// before has been told by then.
func (h *heard) await(t *testing.T) {
	t.Helper()
	h.awaitUntil(t, time.Now())
}

func (h *heard) awaitUntil(t *testing.T, now time.Time) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; {
		h.mu.Lock()
		beat := h.beat
		h.mu.Unlock()
		if beat.After(now) {
			return
		}
		if time.Now().After(deadline) {
			t.Fatal("no heartbeat comes")
		}
		time.Sleep(time.Millisecond)
	}
}

func (h *heard) has(id string) bool {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.changes[id]
}

// TestFeedMissesNothing has one process change users while another listens, whose
// connections are cut all along: after a heartbeat it knows of all that was committed
// before, and nothing was in doubt.
func TestFeedMissesNothing(t *testing.T) {
	for _, listen := range []string{"", ListenOff} {
		t.Run("listen "+listen, func(t *testing.T) { feedMissesNothing(t, listen) })
	}
}

func feedMissesNothing(t *testing.T, listen string) {
	const writers, each = 8, 20
	database := newDatabase(t)
	writing := openAt(t, Settings{URL: server.URL(database)})
	reading := openAt(t, Settings{URL: server.URL(database), Listen: listen})
	h := new(heard)
	defer reading.Follow(h)()

	cutting, stop := context.WithCancel(t.Context())
	var cutter sync.WaitGroup
	cutter.Go(func() {
		for cutting.Err() == nil {
			err := server.Exec(context.WithoutCancel(cutting), "postgres",
				`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '`+database+`' AND (query LIKE 'LISTEN%' OR query LIKE '%FULL JOIN%')`)
			if err != nil {
				t.Error(err)
			}
			pause(cutting, 100*time.Millisecond)
		}
	})
	var running sync.WaitGroup
	for w := range writers {
		running.Go(func() {
			for i := range each {
				id := fmt.Sprintf("u%d-%d", w, i)
				err := writing.CreateUser(t.Context(), store.User{ID: id, Name: id})
				if err == nil {
					err = writing.UpdateUser(t.Context(), store.User{ID: id, Name: id, Version: 1})
				}
				if err != nil {
					t.Error(err)
				}
			}
		})
	}
	running.Wait()
	stop()
	cutter.Wait()
	h.await(t)
	for w := range writers {
		for i := range each {
			if id := fmt.Sprintf("u%d-%d", w, i); !h.has(id) {
				t.Errorf("%s wasn't told", id)
			}
		}
	}
	if h.lost > 0 || len(h.renewed) > 0 {
		t.Errorf("lost %d times, renewed %d times", h.lost, len(h.renewed))
	}
}

// TestFeedNoticesLoss undoes what was committed, as a standby that takes over may: it
// is noticed, and another life begins.
func TestFeedNoticesLoss(t *testing.T) {
	for name, undo := range map[string]string{
		"the last changes of all shards": `
			DELETE FROM changes c USING position p WHERE c.shard = p.shard AND c.n = p.n;
			UPDATE position SET n = n - 1, stamp = coalesce((SELECT stamp FROM changes c WHERE c.shard = position.shard AND c.n = position.n - 1), 0)`,
		"a shard": `DELETE FROM changes; DELETE FROM position`,
		"and others came in their place": `
			UPDATE changes SET stamp = stamp + 1 WHERE told <> ''; UPDATE position p SET stamp = (SELECT stamp FROM changes c WHERE c.shard = p.shard AND c.n = p.n)`,
	} {
		t.Run(name, func(t *testing.T) {
			database := newDatabase(t)
			db := openAt(t, Settings{URL: server.URL(database)})
			h := new(heard)
			defer db.Follow(h)()
			life := db.Incarnation()
			ctx := t.Context()
			err := errors.Join(
				db.CreateUser(ctx, store.User{ID: "u1", Name: "u1"}),
				db.CreateSignOn(ctx, store.SignOn{ID: "s1", UserID: "u1"}),
				db.UpdateUser(ctx, store.User{ID: "u1", Name: "u1", Version: 1}),
			)
			if err != nil {
				t.Fatal(err)
			}
			h.await(t)
			if err := server.Exec(ctx, database, undo); err != nil {
				t.Fatal(err)
			}
			for deadline := time.Now().Add(time.Minute); db.Incarnation() == life; time.Sleep(time.Millisecond) {
				if time.Now().After(deadline) {
					t.Fatal("the loss isn't noticed")
				}
			}
			h.await(t)
			if h.lost == 0 || len(h.renewed) == 0 {
				t.Errorf("lost %d times, renewed %d times", h.lost, len(h.renewed))
			}
			if _, err := db.SignOnByID(ctx, "s1"); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("the sign-on lives on: %v", err)
			}
		})
	}
}

// TestFeedIsSwept lets a process read on while the feed is shortened: it needs none of
// what goes.
func TestFeedIsSwept(t *testing.T) {
	database := newDatabase(t)
	writing, reading := openAt(t, Settings{URL: server.URL(database)}), openAt(t, Settings{URL: server.URL(database)})
	h := new(heard)
	defer reading.Follow(h)()
	ctx := t.Context()
	for i := range 2*keepInShard + 10 {
		if err := writing.CreateUser(ctx, store.User{ID: fmt.Sprint(i), Name: fmt.Sprint(i)}); err != nil {
			t.Fatal(err)
		}
	}
	h.await(t)
	if err := server.Exec(ctx, database, fmt.Sprintf(`UPDATE changes SET at = at - %d`, 2*keepChanges.Microseconds())); err != nil {
		t.Fatal(err)
	}
	count := func() (rows int64) {
		rows, err := one(ctx, "counting", writing.pool, statement{sql: `SELECT count(*) FROM changes`}, scanNumber)
		if err != nil {
			t.Fatal(err)
		}
		return rows
	}
	before := count()
	if err := writing.Sweep(ctx, time.Now(), store.SweepLimits{}); err != nil {
		t.Fatal(err)
	}
	if after := count(); after >= before {
		t.Errorf("%d of %d changes are left", after, before)
	}
	if err := writing.UpdateUser(ctx, store.User{ID: "1", Name: "1", Version: 1}); err != nil {
		t.Fatal(err)
	}
	h.await(t)
	if !h.has("1") || h.lost > 0 {
		t.Errorf("told: %v, lost %d times", h.has("1"), h.lost)
	}
}
