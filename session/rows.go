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
	// maxReads is how many reads run at once. Others wait for their turn, within
	// readTimeout.
	maxReads = 64
	// maxGone bounds how many rows are remembered as gone.
	maxGone = 10_000
	// maxRereads bounds how often a read begins again because something was
	// dropped meanwhile.
	maxRereads = 3

	shardCount = 64
)

// errOverloaded says that a read of the store never had its turn.
var errOverloaded = errors.New("too many simultaneous reads of the store")

// rows keeps rows of the store in memory until it is told to drop them. It is
// a positive list: what it doesn't have it reads, in one read for all who wait
// for the same row. Those that are in use are kept ready; more are on a shelf, if
// it has one.
//
// Nobody gets what was read before a drop that came before they asked: a drop
// takes the row away and detaches the reads that are under way, and such a read
// keeps nothing.
type rows[V any] struct {
	read func(ctx context.Context, id string) (V, error)
	// keeps reports whether what is read at this moment may be kept.
	keeps func() bool
	kept  *otter.Cache[string, *row[V]]
	// gone are rows of which a read said, by an error that is final, that they
	// will never be there again.
	gone  *otter.Cache[string, error]
	final func(error) bool

	// shelved says how the rows are written that are on the shelves of the shards.
	shelved shelved[V]

	// isLikely reports whether a row is probably there; nil: all are. Reads of the
	// others have slots of their own, so that made-up ids delay none that is there.
	isLikely func(id string) bool
	guesses  chan struct{}

	slots  chan struct{}
	epoch  atomic.Pointer[epoch]
	seed   maphash.Seed
	shards [shardCount]shard[V]
}

// row is a row of the store, as it was read. Whoever holds on to one asks
// whether it is current before each use.
type row[V any] struct {
	value V
	epoch *epoch // nil: what was read serves once and isn't kept
	// dropped says that it isn't kept any more, if only to make room.
	dropped atomic.Bool
}

// epoch is the time between two calls of dropAll. Each is another one, also
// among all rows of a process.
type epoch struct{ _ byte }

// shard is the reads under way for a part of the ids, and the shelf of the rows
// that aren't ready for use.
type shard[V any] struct {
	mu      sync.Mutex
	drops   uint64
	reading map[string]*reading[V]
	shelf   shelf
}

// reading is one read of the store, for all who wait for it.
type reading[V any] struct {
	done chan struct{}
	row  *row[V]
	err  error
}

func newRows[V any](size int, read func(context.Context, string) (V, error), keeps func() bool, final func(error) bool) *rows[V] {
	r := &rows[V]{
		read: read, keeps: keeps, final: final,
		kept: otter.Must(&otter.Options[string, *row[V]]{
			MaximumSize: size,
			// Before the entry is gone, so that no drop misses one who holds on
			// to its row.
			OnAtomicDeletion: func(e otter.DeletionEvent[string, *row[V]]) { e.Value.dropped.Store(true) },
		}),
		gone:    otter.Must(&otter.Options[string, error]{MaximumSize: maxGone}),
		slots:   make(chan struct{}, maxReads),
		guesses: make(chan struct{}, maxGuesses),
		seed:    maphash.MakeSeed(),
	}
	r.epoch.Store(new(epoch))
	for i := range r.shards {
		r.shards[i].reading = make(map[string]*reading[V])
	}
	return r
}

// shelve has the rows that don't fit among those that are ready for use kept on
// shelves. It must be called before any is asked for.
func (r *rows[V]) shelve(how shelved[V]) *rows[V] {
	r.shelved = how
	for i := range r.shards {
		r.shards[i].shelf = newShelf(how.size/shardCount, how.most/shardCount)
	}
	return r
}

// isCurrent reports whether a row that was found before would be found now.
func (r *rows[V]) isCurrent(known *row[V]) bool {
	return known.epoch == r.epoch.Load() && !known.dropped.Load()
}

// get is find for one who remembers where they found the row last.
func (r *rows[V]) get(ctx context.Context, id string, last *atomic.Pointer[row[V]]) (*row[V], error) {
	if known := last.Load(); known != nil && r.isCurrent(known) {
		return known, nil
	}
	known, err := r.find(ctx, id)
	if err != nil {
		return nil, err
	}
	last.Store(known)
	return known, nil
}

// find returns the row, from memory or read.
func (r *rows[V]) find(ctx context.Context, id string) (*row[V], error) {
	if known, ok := r.kept.GetIfPresent(id); ok && r.isCurrent(known) {
		return known, nil
	}
	if err, ok := r.gone.GetIfPresent(id); ok {
		return nil, err
	}
	if known, ok := r.unshelve(id); ok {
		return known, nil
	}
	return r.join(id).wait(ctx)
}

// unshelve makes a row ready for use that is on the shelf. It holds the lock of
// the shard, so that no drop comes in between.
func (r *rows[V]) unshelve(id string) (*row[V], bool) {
	if r.shelved.size == 0 {
		return nil, false
	}
	hash := r.hashOf(id)
	s := r.shardAt(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.shelf.epoch != r.epoch.Load() {
		return nil, false
	}
	encoded, ok := s.shelf.get(hash, id)
	if !ok {
		return nil, false
	}
	value, ok := r.shelved.decode(id, encoded)
	if !ok {
		return nil, false
	}
	known := &row[V]{value: value, epoch: s.shelf.epoch}
	r.kept.Set(id, known)
	return known, true
}

// putOnShelf writes down a row that was read in its epoch, under the lock of the
// shard.
func (r *rows[V]) putOnShelf(s *shard[V], id string, known *row[V]) {
	if r.shelved.size == 0 {
		return
	}
	if s.shelf.epoch != known.epoch {
		s.shelf.clear()
		s.shelf.epoch = known.epoch
	}
	hash := r.hashOf(id)
	encoded, err := r.shelved.encode(known.value)
	if err != nil {
		s.shelf.drop(hash) // it is too long for the form
		return
	}
	s.shelf.put(hash, id, encoded)
}

// again reads the row anew, for what is in no feed.
func (r *rows[V]) again(ctx context.Context, id string) (*row[V], error) {
	r.forget(id)
	return r.find(ctx, id)
}

// forget has the row read when it is asked for next. Unlike drop it doesn't concern
// the reads that are under way.
func (r *rows[V]) forget(id string) {
	hash := r.hashOf(id)
	s := r.shardAt(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.shelf.drop(hash)
	r.kept.Invalidate(id)
}

// drop forgets a row before it returns.
func (r *rows[V]) drop(id string) {
	hash := r.hashOf(id)
	s := r.shardAt(hash)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.drops++
	delete(s.reading, id)
	s.shelf.drop(hash)
	r.kept.Invalidate(id)
}

// dropAll forgets all rows before it returns.
func (r *rows[V]) dropAll() {
	r.epoch.Store(new(epoch))
	for i := range r.shards {
		s := &r.shards[i]
		s.mu.Lock()
		s.drops++
		clear(s.reading)
		s.shelf.clear()
		s.mu.Unlock()
	}
	r.kept.InvalidateAll()
}

func (r *rows[V]) hashOf(id string) uint64 { return maphash.String(r.seed, id) }

func (r *rows[V]) shardAt(hash uint64) *shard[V] { return &r.shards[hash%shardCount] }

func (r *rows[V]) shardOf(id string) *shard[V] { return r.shardAt(r.hashOf(id)) }

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

func (f *reading[V]) wait(ctx context.Context) (*row[V], error) {
	select {
	case <-f.done:
		return f.row, f.err
	case <-ctx.Done():
		return nil, ctx.Err()
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
	ctx, cancel := context.WithTimeout(context.Background(), readTimeout)
	defer cancel()
	slots := r.slots
	if r.isLikely != nil && !r.isLikely(id) {
		slots = r.guesses
	}
	select {
	case slots <- struct{}{}:
		defer func() { <-slots }()
	case <-ctx.Done():
	}
	if ctx.Err() != nil {
		into.err = errOverloaded
		return
	}
	for range maxRereads {
		s.mu.Lock()
		drops, during := s.drops, r.epoch.Load()
		s.mu.Unlock()
		into.row, into.err = r.readSafely(ctx, id)
		if r.keep(s, id, into, drops, during) {
			return
		}
	}
}

// keep keeps what was read and reports true, unless something was dropped since
// the read began.
func (r *rows[V]) keep(s *shard[V], id string, read *reading[V], drops uint64, during *epoch) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.drops != drops {
		return false
	}
	switch {
	case read.err == nil && r.keeps():
		read.row.epoch = during
		r.putOnShelf(s, id, read.row)
		r.kept.Set(id, read.row)
	case read.err != nil && r.final(read.err):
		r.gone.Set(id, read.err)
	}
	return true
}

// readSafely turns a panic into an error: it would otherwise end the process,
// since nobody above this goroutine could recover it.
func (r *rows[V]) readSafely(ctx context.Context, id string) (known *row[V], err error) {
	defer func() {
		if cause := recover(); cause != nil {
			err = fmt.Errorf("panic while reading the store: %v", cause)
		}
	}()
	value, err := r.read(ctx, id)
	if err != nil {
		return nil, err
	}
	return &row[V]{value: value}, nil
}
