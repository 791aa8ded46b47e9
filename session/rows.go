package session

import (
	"context"
	"errors"
	"fmt"
	"hash/maphash"
	"sync"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"
)

const (
	// readTimeout bounds a read of the store for all who wait for it.
	readTimeout = 2 * time.Second
	// maxReads is how many reads run at once; whoever needs one more is told
	// that it could not be told.
	maxReads = 64
	// maxGone bounds how many rows are remembered as gone.
	maxGone = 10_000
	// maxRereads bounds how often a read begins again because something was
	// dropped meanwhile.
	maxRereads = 3

	shardCount = 64
)

// errOverloaded says that too many reads of the store were under way.
var errOverloaded = errors.New("too many reads of the store at once")

// rows keeps rows of the store in memory until it is told to drop them. It is
// a positive list: what it doesn't have it reads, in one read for all who wait
// for the same row.
//
// Nobody gets what was read before a drop that came before they asked: a drop
// takes the row away and detaches the reads that are under way, and such a read
// keeps nothing.
type rows[V any] struct {
	read func(ctx context.Context, id string) (V, error)
	// keeps reports whether what is read at this moment may be kept.
	keeps func() bool
	kept  *otter.Cache[string, keptRow[V]]
	// gone are rows of which a read said, by an error that is final, that they
	// will never be there again.
	gone  *otter.Cache[string, error]
	final func(error) bool

	slots  chan struct{}
	epoch  atomic.Uint64 // of dropAll
	seed   maphash.Seed
	shards [shardCount]shard[V]
}

type keptRow[V any] struct {
	value V
	epoch uint64
}

// shard is the reads under way for a part of the ids.
type shard[V any] struct {
	mu      sync.Mutex
	drops   uint64
	reading map[string]*reading[V]
}

// reading is one read of the store, for all who wait for it.
type reading[V any] struct {
	done  chan struct{}
	value V
	err   error
}

func newRows[V any](size int, read func(context.Context, string) (V, error), keeps func() bool, final func(error) bool) *rows[V] {
	r := &rows[V]{
		read: read, keeps: keeps, final: final,
		kept:  otter.Must(&otter.Options[string, keptRow[V]]{MaximumSize: size}),
		gone:  otter.Must(&otter.Options[string, error]{MaximumSize: maxGone}),
		slots: make(chan struct{}, maxReads),
		seed:  maphash.MakeSeed(),
	}
	for i := range r.shards {
		r.shards[i].reading = make(map[string]*reading[V])
	}
	return r
}

// get returns the row, from memory or read.
func (r *rows[V]) get(ctx context.Context, id string) (V, error) {
	if row, ok := r.kept.GetIfPresent(id); ok && row.epoch == r.epoch.Load() {
		return row.value, nil
	}
	if err, ok := r.gone.GetIfPresent(id); ok {
		var none V
		return none, err
	}
	return r.join(id).wait(ctx)
}

// again reads the row anew, for what is in no feed.
func (r *rows[V]) again(ctx context.Context, id string) (V, error) {
	r.kept.Invalidate(id)
	return r.get(ctx, id)
}

// drop forgets a row before it returns.
func (r *rows[V]) drop(id string) {
	s := r.shardOf(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drops++
	delete(s.reading, id)
	r.kept.Invalidate(id)
}

// dropAll forgets all rows before it returns.
func (r *rows[V]) dropAll() {
	r.epoch.Add(1)
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		s.drops++
		clear(s.reading)
		s.mu.Unlock()
	}
	r.kept.InvalidateAll()
}

func (r *rows[V]) shardOf(id string) *shard[V] {
	return &r.shards[maphash.String(r.seed, id)%shardCount]
}

// join returns the read of a row that is under way, or begins one. It has its
// own time, since those who wait for it come and go.
func (r *rows[V]) join(id string) *reading[V] {
	s := r.shardOf(id)
	s.mu.Lock()
	defer s.mu.Unlock()
	if under, ok := s.reading[id]; ok {
		return under
	}
	begun := &reading[V]{done: make(chan struct{})}
	s.reading[id] = begun
	go r.fill(s, id, begun)
	return begun
}

func (f *reading[V]) wait(ctx context.Context) (V, error) {
	select {
	case <-f.done:
		return f.value, f.err
	case <-ctx.Done():
		var none V
		return none, ctx.Err()
	}
}

// fill reads a row, and again where something was dropped meanwhile.
func (r *rows[V]) fill(s *shard[V], id string, into *reading[V]) {
	defer close(into.done)
	defer func() {
		s.mu.Lock()
		defer s.mu.Unlock()
		if s.reading[id] == into {
			delete(s.reading, id)
		}
	}()
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	default:
		into.err = errOverloaded
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	for range maxRereads {
		s.mu.Lock()
		drops, epoch := s.drops, r.epoch.Load()
		s.mu.Unlock()
		into.value, into.err = r.readSafely(ctx, id)
		if r.keep(s, id, into, drops, epoch) {
			return
		}
	}
}

// keep keeps what was read and reports true, unless something was dropped since
// the read began.
func (r *rows[V]) keep(s *shard[V], id string, read *reading[V], drops, epoch uint64) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drops != drops {
		return false
	}
	switch {
	case read.err == nil && r.keeps():
		r.kept.Set(id, keptRow[V]{read.value, epoch})
	case read.err != nil && r.final(read.err):
		r.gone.Set(id, read.err)
	}
	return true
}

// readSafely turns a panic into an error: it would otherwise end the process,
// since nobody above this goroutine could recover it.
func (r *rows[V]) readSafely(ctx context.Context, id string) (value V, err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic while reading the store: %v", cause)
		}
	}()
	return r.read(ctx, id)
}
