package identity

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

// ErrBusy says that too much hashing is waiting already. Nothing was decided
// about the password. The error that matches it is a *BusyError.
var ErrBusy = errors.New("too many passwords are waiting to be checked")

// BusyError is ErrBusy with a hint for the caller's answer.
type BusyError struct {
	// RetryAfter is how long to wait before trying again.
	RetryAfter time.Duration
}

// Error implements error.
func (e *BusyError) Error() string { return ErrBusy.Error() }

// Is makes errors.Is(err, ErrBusy) true.
func (e *BusyError) Is(target error) bool { return target == ErrBusy }

const (
	// knownInARow is how many of those who are known go before a stranger does.
	knownInARow = 3
	// networkShare is how many places of a network weigh as much as one of an
	// address: many people may share it.
	networkShare = 4
)

// Turn says who waits for a password to be hashed. There are places for people
// who are known and others for strangers, so no crowd of strangers keeps the
// known ones out. Among those who wait, whoever has fewer failures and fewer
// places comes first, and takes the place of one with more where there is none
// left.
type Turn struct {
	// Known says that the server knows who asks by something else than the
	// password: a browser in which they signed in before, a sign-on, or a link to
	// set up by.
	Known bool
	// Sharer is who shares their places: a person or link that is known, or a
	// stranger's address. Empty: nobody in particular.
	Sharer string
	// Network is the wider network that a stranger's address belongs to.
	Network string
	// Failures is how often the address and its network have failed lately.
	Failures int
	// Since is when they were turned away first, of late; zero: they weren't.
	// Where all else is equal it puts them before those who come anew.
	Since time.Time
}

// limits are what a queue holds a piece of work to. They come with the work,
// since the queue outlives the configuration that sets them.
type limits struct {
	atOnce  int           // pieces of work that run
	waiting int           // places for those who are known, and as many for strangers
	memory  uint64        // in KiB, of what runs and of what the collector hasn't taken yet
	maxWait time.Duration // in a place
}

// Queue bounds how much hashing runs at once, how much memory it takes and how
// much waits for it. All hashers of a process share one. It is safe for
// concurrent use.
type Queue struct {
	memory *memory
	worker Worker // nil: all work is done here

	mu       sync.Mutex
	running  int
	places   []*place       // those who don't run yet
	shares   map[string]int // places and running work, by sharer and by network
	inARow   int            // of those who are known
	arrivals uint64
}

// place is one piece of work on its way through a queue. Its fields are the
// queue's to change.
type place struct {
	queue  *Queue
	turn   Turn
	limits limits
	need   uint64 // KiB
	left   uint64 // KiB of garbage, in this process

	used    atomic.Bool // by work that runs in it or has run
	order   uint64      // of arrival
	until   time.Time
	asks    bool          // for a slot
	granted chan struct{} // closed with a slot
	evicted chan struct{} // closed when somebody else has the place
}

// NewQueue returns an empty queue. The worker does its work. If it can't, or is nil, this
// process does.
func NewQueue(worker Worker) *Queue {
	q := newQueue(debug.FreeOSMemory)
	q.worker = worker
	return q
}

// newQueue returns a queue that gives memory back by release.
func newQueue(release func()) *Queue {
	return &Queue{shares: make(map[string]int), memory: &memory{release: release}}
}

// enter takes a place, or returns a *BusyError where there is none and nobody
// with less of a claim to theirs. The place is to be left.
func (q *Queue) enter(turn Turn, l limits, need uint64) (*place, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.arrivals++
	p := &place{
		queue: q, turn: turn, limits: l, need: need, order: q.arrivals, until: time.Now().Add(l.maxWait),
		granted: make(chan struct{}), evicted: make(chan struct{}),
	}
	q.count(p, 1)
	if q.waiting(turn.Known) >= l.waiting+max(0, l.atOnce-q.running) {
		last := p
		for _, other := range q.places {
			if other.turn.Known == turn.Known && q.before(last, other) {
				last = other
			}
		}
		if last == p {
			q.count(p, -1)
			return nil, &BusyError{RetryAfter: l.maxWait}
		}
		q.remove(last)
		close(last.evicted)
	}
	q.places = append(q.places, p)
	return p, nil
}

// waiting returns how many of a kind have a place.
func (q *Queue) waiting(known bool) int {
	waiting := 0
	for _, p := range q.places {
		if p.turn.Known == known {
			waiting++
		}
	}
	return waiting
}

// before reports whether a comes before b.
func (q *Queue) before(a, b *place) bool {
	if x, y := q.load(a), q.load(b); x != y {
		return x < y
	}
	if a, b := a.turn.Since, b.turn.Since; !a.Equal(b) {
		// Whoever was turned away comes before those who weren't yet, and lately
		// before long ago: a flood that comes again and again is an old one.
		return a.After(b)
	}
	return a.order < b.order
}

// load is what somebody has had of the queue, and has now.
func (q *Queue) load(p *place) int {
	return p.turn.Failures + q.shares[p.turn.Sharer] + q.shares[p.turn.Network]/networkShare
}

// count adds to what somebody has of the queue, or takes away from it.
func (q *Queue) count(p *place, change int) {
	for _, of := range []string{p.turn.Sharer, p.turn.Network} {
		if of == "" {
			continue
		}
		if q.shares[of] += change; q.shares[of] == 0 {
			delete(q.shares, of)
		}
	}
}

// remove takes a place from whoever has it, if they still do.
func (q *Queue) remove(p *place) bool {
	i := slices.Index(q.places, p)
	if i < 0 {
		return false
	}
	q.places = slices.Delete(q.places, i, i+1)
	q.count(p, -1)
	return true
}

// grant gives the free slots to those who come first.
func (q *Queue) grant() {
	for {
		next := q.next()
		if next == nil || q.running >= next.limits.atOnce || !q.memory.fits(next.need, next.limits.memory) {
			return
		}
		q.places = slices.DeleteFunc(q.places, func(p *place) bool { return p == next })
		q.running++
		q.memory.take(next.need)
		if q.inARow++; !next.turn.Known {
			q.inARow = 0
		}
		close(next.granted)
	}
}

// next returns whose turn it is; nil: nobody asks.
func (q *Queue) next() *place {
	var known, stranger *place
	for _, p := range q.places {
		first := &stranger
		if p.turn.Known {
			first = &known
		}
		if p.asks && (*first == nil || q.before(p, *first)) {
			*first = p
		}
	}
	if known == nil || stranger != nil && q.inARow >= knownInARow {
		return stranger
	}
	return known
}

// run waits for a slot and runs work, once. It returns a *BusyError where
// somebody else has the place by now or the wait grew too long, or the
// context's error where that ended first. Work that has begun is finished.
func (p *place) run(ctx context.Context, work func()) error {
	if err := p.await(ctx); err != nil {
		return err
	}
	defer p.done()
	if err := ctx.Err(); err != nil { // both may have been ready
		return fmt.Errorf("waiting to hash a password: %w", err)
	}
	work()
	return nil
}

// do has the worker do a task, or else does it in this process. It is work for run.
func (p *place) do(task Task) (Outcome, error) {
	if p.queue.worker != nil {
		if outcome, err := p.queue.worker.Do(task); err == nil {
			return outcome, nil
		}
	}
	p.makeRoom()
	return task.Do()
}

// makeRoom has memory free for work in this process, which leaves garbage.
func (p *place) makeRoom() {
	p.queue.memory.makeRoom(p.limits.memory)
	p.left = p.need
}

// await returns with a slot, or an error.
func (p *place) await(ctx context.Context) error {
	p.ask()
	select {
	case <-p.granted: // nobody waits: needs no timer
		return nil
	default:
	}
	timer := time.NewTimer(time.Until(p.until))
	defer timer.Stop()
	var err error
	select {
	case <-p.granted:
		return nil
	case <-p.evicted:
		return &BusyError{RetryAfter: p.limits.maxWait}
	case <-timer.C:
		err = &BusyError{RetryAfter: p.limits.maxWait}
	case <-ctx.Done():
		err = fmt.Errorf("waiting to hash a password: %w", ctx.Err())
	}
	select {
	case <-p.granted: // at the same moment
		return nil
	default:
	}
	if !p.giveUp() {
		return nil
	}
	return err
}

func (p *place) ask() {
	p.queue.mu.Lock()
	defer p.queue.mu.Unlock()
	p.asks = true
	p.queue.grant()
}

// giveUp leaves, and reports whether it came before a slot.
func (p *place) giveUp() bool {
	p.queue.mu.Lock()
	defer p.queue.mu.Unlock()
	p.queue.remove(p)
	select {
	case <-p.granted:
		return false
	default:
		return true
	}
}

// done gives the slot back.
func (p *place) done() {
	q := p.queue
	q.mu.Lock()
	defer q.mu.Unlock()
	q.running--
	q.count(p, -1)
	q.memory.giveBack(p.need, p.left)
	q.grant()
	if q.running == 0 {
		q.memory.idle()
	}
}

// leave gives up a place that wasn't used; it may be called in any case.
func (p *place) leave() {
	p.queue.mu.Lock()
	defer p.queue.mu.Unlock()
	p.queue.remove(p)
}
