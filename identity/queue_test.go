package identity

import (
	"context"
	"errors"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// crowd is a queue of two at once and sixteen waiting, filled with work that
// runs until released.
type crowd struct {
	queue   *queue
	expire  chan time.Time // ends the wait of one who waits
	release chan struct{}  // lets one finish
	all     sync.WaitGroup

	mutex                          sync.Mutex
	running, most, ran, busy, left int
}

func newCrowd() *crowd {
	c := &crowd{expire: make(chan time.Time), release: make(chan struct{})}
	c.queue = newQueue(2, 16, 5*time.Second, func(time.Duration) <-chan time.Time { return c.expire })
	return c
}

// join sends n more to the queue and returns when all of them run, wait or
// have gone.
func (c *crowd) join(ctx context.Context, n int) {
	for range n {
		c.all.Go(func() { c.count(c.queue.do(ctx, c.work)) })
	}
	synctest.Wait()
}

func (c *crowd) work() {
	c.mutex.Lock()
	c.running++
	c.most = max(c.most, c.running)
	c.mutex.Unlock()
	<-c.release
	c.mutex.Lock()
	c.running--
	c.ran++
	c.mutex.Unlock()
}

func (c *crowd) count(err error) {
	c.mutex.Lock()
	defer c.mutex.Unlock()
	switch {
	case errors.Is(err, ErrBusy):
		c.busy++
	case err != nil:
		c.left++
	}
}

// finish lets everybody go on.
func (c *crowd) finish() {
	close(c.release)
	c.all.Wait()
}

func (c *crowd) check(t *testing.T, running, ran, busy, left int) {
	t.Helper()
	c.mutex.Lock()
	defer c.mutex.Unlock()
	if c.running != running || c.ran != ran || c.busy != busy || c.left != left || c.most > 2 {
		t.Errorf("running %d, ran %d, busy %d, left %d, at most %d at once; want %d, %d, %d, %d, 2",
			c.running, c.ran, c.busy, c.left, c.most, running, ran, busy, left)
	}
}

func TestQueueBoundsWhoRunsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.join(t.Context(), 2+16)
		c.check(t, 2, 0, 0, 0)
		c.join(t.Context(), 1)
		c.check(t, 2, 0, 1, 0) // one too many
		c.release <- struct{}{}
		synctest.Wait()
		c.check(t, 2, 1, 1, 0) // the next runs
		c.join(t.Context(), 2)
		c.check(t, 2, 1, 2, 0) // one place was free
		c.finish()
		c.check(t, 0, 19, 2, 0)
	})
}

func TestQueueLeftByCancelledContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.join(t.Context(), 2)
		ctx, cancel := context.WithCancel(t.Context())
		c.join(ctx, 16)
		cancel()
		synctest.Wait()
		c.check(t, 2, 0, 0, 16)
		c.join(t.Context(), 16+1) // all their places are free again
		c.check(t, 2, 0, 1, 16)
		c.finish()
		c.check(t, 0, 18, 1, 16)
	})
}

func TestQueueEndsLongWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.join(t.Context(), 2+16)
		for range 3 {
			c.expire <- time.Time{}
		}
		synctest.Wait()
		c.check(t, 2, 0, 3, 0)
		c.join(t.Context(), 4)
		c.check(t, 2, 0, 4, 0)
		c.finish()
		c.check(t, 0, 18, 4, 0)
	})
}

func TestQueueRefusesEndedContexts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		c.join(ctx, 1)
		c.check(t, 0, 0, 0, 1)
		c.finish()
	})
}

func TestQueueGoesOnAfterAPanic(t *testing.T) {
	c := newCrowd()
	for range 2 + 16 + 1 {
		func() {
			defer func() { _ = recover() }()
			_ = c.queue.do(t.Context(), func() { panic("in the work") })
		}()
	}
	if err := c.queue.do(t.Context(), func() {}); err != nil {
		t.Error(err)
	}
}

// All work of a hasher and of those made from it meets in one queue, whose
// defaults are those of the design: 8 waiting for each running, 5 s.
func TestHasherIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hasher := newTestHasher(t, HasherConfig{AtOnce: 2})
		stored := mustHash(t, hasher, "purple otter 41")
		codes, err := hasher.With(CodeParams())
		if err != nil {
			t.Fatal(err)
		}
		done := hasher.Work()

		release := make(chan struct{})
		var all sync.WaitGroup
		for range 2 + 8*2 {
			all.Go(func() { _ = hasher.queue.do(t.Context(), func() { <-release }) })
		}
		synctest.Wait()
		began := time.Now()
		for name, try := range map[string]func() error{
			"hash":   func() error { _, err := hasher.Hash(t.Context(), "purple otter 41"); return err },
			"verify": func() error { _, err := hasher.Verify(t.Context(), stored, "purple otter 41"); return err },
			"burn":   func() error { return hasher.Burn(t.Context(), "purple otter 41") },
			"code":   func() error { return codes.Burn(t.Context(), "purple otter 41") },
		} {
			err := try()
			var busy *BusyError
			if !errors.Is(err, ErrBusy) || !errors.As(err, &busy) || busy.RetryAfter != 5*time.Second {
				t.Errorf("%s in a full queue: %v", name, err)
			}
		}
		if waited := time.Since(began); waited != 0 {
			t.Errorf("waited %v where there is no place to wait", waited)
		}
		if hasher.Work() != done {
			t.Errorf("being refused took work: %+v, before %+v", hasher.Work(), done)
		}
		close(release)
		all.Wait()
		if ok, err := hasher.Verify(t.Context(), stored, "purple otter 41"); err != nil || !ok {
			t.Errorf("afterwards: %v, %v", ok, err)
		}
	})
}

// Left to itself a hasher waits by the real clock, which the bubble fakes.
func TestHasherWaitsFiveSeconds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hasher := newTestHasher(t, HasherConfig{AtOnce: 1})
		release := make(chan struct{})
		var all sync.WaitGroup
		all.Go(func() { _ = hasher.queue.do(t.Context(), func() { <-release }) })
		synctest.Wait()
		began := time.Now()
		err := hasher.Burn(t.Context(), "purple otter 41")
		if waited := time.Since(began); !errors.Is(err, ErrBusy) || waited != 5*time.Second {
			t.Errorf("%v after %v", err, waited)
		}
		close(release)
		all.Wait()
	})
}
