package identity

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"
)

// crowd is people who come to a queue, in which work runs until released.
type crowd struct {
	queue    *Queue
	limits   limits
	released atomic.Int32
	release  chan struct{} // lets one finish
	all      sync.WaitGroup

	mutex                          sync.Mutex
	running, most, ran, busy, left int
	order                          []string // of those who ran, by name
}

// newCrowd comes to a queue of two at once and sixteen waiting.
func newCrowd() *crowd {
	c := &crowd{release: make(chan struct{}), limits: limits{atOnce: 2, waiting: 16, memory: 1 << 20, maxWait: 5 * time.Second}}
	c.queue = newQueue(func() { c.released.Add(1) })
	return c
}

// join sends n more strangers to the queue and returns when all of them run,
// wait or have gone.
func (c *crowd) join(ctx context.Context, n int) {
	for range n {
		c.come(ctx, "", Turn{})
	}
}

// come sends one to the queue.
func (c *crowd) come(ctx context.Context, name string, turn Turn) {
	c.all.Go(func() { c.count(c.do(ctx, turn, func() { c.work(name) })) })
	synctest.Wait()
}

func (c *crowd) do(ctx context.Context, turn Turn, work func()) error {
	p, err := c.queue.enter(turn, c.limits, 64<<10)
	if err != nil {
		return err
	}
	return p.run(ctx, func() {
		p.makeRoom()
		work()
	})
}

func (c *crowd) work(name string) {
	c.mutex.Lock()
	c.running++
	c.most = max(c.most, c.running)
	c.order = append(c.order, name)
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

// finishOne lets one go on.
func (c *crowd) finishOne() {
	c.release <- struct{}{}
	synctest.Wait()
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
	if c.running != running || c.ran != ran || c.busy != busy || c.left != left || c.most > c.limits.atOnce {
		t.Errorf("running %d, ran %d, busy %d, left %d, at most %d at once; want %d, %d, %d, %d, %d",
			c.running, c.ran, c.busy, c.left, c.most, running, ran, busy, left, c.limits.atOnce)
	}
}

// checkIdle fails the test where a queue that is at rest remembers something.
func (c *crowd) checkIdle(t *testing.T) {
	t.Helper()
	q := c.queue
	if q.running != 0 || len(q.places) != 0 || len(q.shares) != 0 || q.memory.used != 0 {
		t.Errorf("left behind: %d running, %d places, shares %v, %d KiB", q.running, len(q.places), q.shares, q.memory.used)
	}
}

func TestQueueBoundsWhoRunsAndWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.join(t.Context(), 2+16)
		c.check(t, 2, 0, 0, 0)
		c.join(t.Context(), 1)
		c.check(t, 2, 0, 1, 0) // one too many
		c.finishOne()
		c.check(t, 2, 1, 1, 0) // the next runs
		c.join(t.Context(), 2)
		c.check(t, 2, 1, 2, 0) // one place was free
		c.finish()
		c.check(t, 0, 19, 2, 0)
		c.checkIdle(t)
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
		c.checkIdle(t)
	})
}

func TestQueueEndsLongWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.join(t.Context(), 2+3)
		time.Sleep(time.Second)
		c.join(t.Context(), 13)
		time.Sleep(4*time.Second - time.Nanosecond)
		synctest.Wait()
		c.check(t, 2, 0, 0, 0)
		time.Sleep(time.Nanosecond)
		synctest.Wait()
		c.check(t, 2, 0, 3, 0)
		c.join(t.Context(), 4)
		c.check(t, 2, 0, 4, 0)
		c.finish()
		c.check(t, 0, 18, 4, 0)
		c.checkIdle(t)
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
		c.checkIdle(t)
	})
}

func TestQueueGoesOnAfterAPanic(t *testing.T) {
	c := newCrowd()
	for range 2 + 16 + 1 {
		func() {
			defer func() { _ = recover() }()
			_ = c.do(t.Context(), Turn{}, func() { panic("in the work") })
		}()
	}
	if err := c.do(t.Context(), Turn{}, func() {}); err != nil {
		t.Error(err)
	}
	c.checkIdle(t)
}

// TestF03KnownPeopleHavePlacesOfTheirOwn fills all that strangers have.
func TestF03KnownPeopleHavePlacesOfTheirOwn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.join(t.Context(), 2+16+100)
		c.check(t, 2, 0, 100, 0)
		for i := range 5 {
			c.come(t.Context(), fmt.Sprintf("known %d", i), Turn{Known: true, Sharer: fmt.Sprint("person ", i)})
		}
		c.check(t, 2, 0, 100, 0)
		for range 7 {
			c.finishOne()
		}
		// Strangers aren't kept out altogether either.
		want := []string{"", "", "known 0", "known 1", "known 2", "", "known 3", "known 4", ""}
		if !slices.Equal(c.order, want) {
			t.Errorf("the order was %q, want %q", c.order, want)
		}
		c.finish()
		c.checkIdle(t)
	})
}

// TestL02SharesOfPlaces has an address, and a network, come with more than
// their share: whoever comes with less gets in before them, and in their place
// where there is none.
func TestL02SharesOfPlaces(t *testing.T) {
	of := func(address int, network string) Turn {
		return Turn{Sharer: fmt.Sprintf("%s.%d", network, address), Network: network + ".0/24"}
	}
	for _, flood := range []struct {
		what string
		turn func(i int) Turn
	}{
		{"one address", func(int) Turn { return of(1, "198.51.100") }},
		{"many addresses of one network", func(i int) Turn { return of(i, "198.51.100") }},
		{"many addresses of many networks that have failed before", func(i int) Turn {
			return Turn{Sharer: fmt.Sprint("a", i), Network: fmt.Sprint("n", i), Failures: 1}
		}},
		{"one person who is known", func(int) Turn { return Turn{Known: true, Sharer: "eve"} }},
	} {
		t.Run(flood.what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd()
				for i := range 2 + 16 + 20 {
					c.come(t.Context(), "flood", flood.turn(i))
				}
				c.check(t, 2, 0, 20, 0)
				one := of(1, "192.0.2")
				one.Known = flood.turn(0).Known
				c.come(t.Context(), "one", one)
				c.check(t, 2, 0, 21, 0) // one of the flood had to go
				c.finishOne()
				if last := c.order[len(c.order)-1]; last != "one" {
					t.Errorf("the next was of the %s", last)
				}
				c.finish()
				c.checkIdle(t)
			})
		})
	}
}

// TestL02WhoeverWasTurnedAwayComesFirst has addresses come that were never seen
// before, without end, and others that came and were turned away long ago:
// whoever was turned away just now takes a place of theirs.
func TestL02WhoeverWasTurnedAwayComesFirst(t *testing.T) {
	for what, since := range map[string]time.Duration{"never seen before": 0, "turned away long ago": time.Minute} {
		t.Run(what, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c := newCrowd()
				for i := range 2 + 16 {
					turn := Turn{Sharer: fmt.Sprint("a", i), Network: fmt.Sprint("n", i)}
					if since > 0 {
						turn.Since = time.Now().Add(-since)
					}
					c.come(t.Context(), "flood", turn)
				}
				one := Turn{Sharer: "192.0.2.1", Network: "192.0.2.0/24"}
				c.come(t.Context(), "one", one)
				c.check(t, 2, 0, 1, 0)
				one.Since = time.Now()
				c.come(t.Context(), "one", one)
				c.check(t, 2, 0, 2, 0)
				c.finishOne()
				if last := c.order[len(c.order)-1]; last != "one" {
					t.Errorf("the next was of the %s", last)
				}
				c.finish()
				c.checkIdle(t)
			})
		})
	}
}

// TestHashingIsBoundByMemory has room for three where five could run.
func TestHashingIsBoundByMemory(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		c.limits.atOnce, c.limits.memory = 5, 192<<10
		c.join(t.Context(), 5)
		c.check(t, 3, 0, 0, 0)
		c.finish()
		c.check(t, 0, 5, 0, 0)
		if used, garbage := c.queue.memory.used, c.queue.memory.garbage; used != 0 || garbage > 192<<10 {
			t.Errorf("%d KiB are used, %d garbage", used, garbage)
		}
	})
	t.Run("with what isn't collected yet", func(t *testing.T) {
		c := newCrowd()
		c.limits.memory = 192 << 10
		for i := range 10 {
			err := c.do(t.Context(), Turn{}, func() {
				if m := c.queue.memory; m.used+m.garbage > 192<<10 {
					t.Errorf("work %d: %d KiB are used, %d garbage", i+1, m.used, m.garbage)
				}
			})
			if err != nil {
				t.Fatal(err)
			}
		}
	})
	t.Run("one runs in any case", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			c := newCrowd()
			c.limits.memory = 1
			c.join(t.Context(), 2)
			c.check(t, 1, 0, 0, 0)
			c.finish()
			c.check(t, 0, 2, 0, 0)
		})
	})
}

// TestMemoryIsGivenBackWhenIdle waits for a pause after the last work, and
// gives nothing back twice.
func TestMemoryIsGivenBackWhenIdle(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c := newCrowd()
		for range 3 {
			if err := c.do(t.Context(), Turn{}, func() {}); err != nil {
				t.Fatal(err)
			}
			time.Sleep(idleBefore - 1)
		}
		if n := c.released.Load(); n != 0 {
			t.Errorf("given back %d times between work", n)
		}
		time.Sleep(time.Hour)
		if n := c.released.Load(); n != 1 || c.queue.memory.garbage != 0 {
			t.Errorf("given back %d times after it, %d KiB are left", n, c.queue.memory.garbage)
		}
	})
}

// All work of a hasher and of those made from it meets in one queue.
func TestHasherIsBusy(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hasher := newTestHasher(t, HasherConfig{AtOnce: 2, Waiting: 16})
		stored := mustHash(t, hasher, "purple otter 41")
		codes, err := hasher.With(CodeParams())
		if err != nil {
			t.Fatal(err)
		}
		done := hasher.Work()

		release := make(chan struct{})
		var all sync.WaitGroup
		for range 2 + 8*2 {
			all.Go(func() { block(t, hasher, release) })
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
		all.Go(func() { block(t, hasher, release) })
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

// block takes a place in a hasher's queue until it is released.
func block(t *testing.T, hasher *Hasher, release <-chan struct{}) {
	p, err := hasher.place(t.Context(), hasher.params)
	if err == nil {
		err = p.run(t.Context(), func() { <-release })
	}
	if err != nil {
		t.Error(err)
	}
}

// A place that was taken beforehand is used by one hash, and free again when
// it is left.
func TestHashingInAPlace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		hasher := newTestHasher(t, HasherConfig{AtOnce: 1, Waiting: 1})
		var leave []func()
		for range 2 {
			ctx, left, err := hasher.Enter(t.Context(), Turn{Sharer: "a"})
			if err != nil {
				t.Fatal(err)
			}
			leave = append(leave, left)
			if len(leave) == 2 {
				for range 2 { // the second time beside it, as somebody known
					if err := hasher.Burn(ctx, "purple otter 41"); err != nil {
						t.Error(err)
					}
				}
			}
		}
		again := func() error {
			_, left, err := hasher.Enter(t.Context(), Turn{Sharer: "a"})
			if err == nil {
				leave = append(leave, left)
			}
			return err
		}
		if err := again(); err != nil {
			t.Errorf("where one has been used: %v", err)
		}
		if err := again(); !errors.Is(err, ErrBusy) {
			t.Errorf("where all are taken: %v", err)
		}
		for _, left := range leave {
			left()
			left()
		}
		if err := again(); err != nil {
			t.Errorf("where all have left: %v", err)
		}
	})
}
