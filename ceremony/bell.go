package ceremony

import (
	"sync"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// Bell tells whoever waits for a user's questions when one of them may have changed, on
// any node. It is a store.Follower, and safe for concurrent use.
type Bell struct {
	mu      sync.Mutex
	waiting map[string]map[chan struct{}]bool // by user
}

var _ store.Follower = (*Bell)(nil)

// Listen returns a channel that gets a value when something may have changed. The
// caller must call stop in the end.
func (b *Bell) Listen(user string) (heard <-chan struct{}, stop func()) {
	rung := make(chan struct{}, 1)
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.waiting == nil {
		b.waiting = make(map[string]map[chan struct{}]bool)
	}
	if b.waiting[user] == nil {
		b.waiting[user] = make(map[chan struct{}]bool)
	}
	b.waiting[user][rung] = true
	return rung, func() {
		b.mu.Lock()
		defer b.mu.Unlock()
		delete(b.waiting[user], rung)
		if len(b.waiting[user]) == 0 {
			delete(b.waiting, user)
		}
	}
}

func (b *Bell) ring(user string) {
	for rung := range b.waiting[user] {
		select {
		case rung <- struct{}{}:
		default: // it has a value already
		}
	}
}

// Changed implements store.Follower.
func (b *Bell) Changed(changes []store.Change) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, change := range changes {
		if change.Kind == store.RecordsChanged {
			b.ring(change.ID)
		}
	}
}

// Heartbeat implements store.Follower.
func (b *Bell) Heartbeat(time.Time) {}

// Renewed implements store.Follower.
func (b *Bell) Renewed(string) { b.ringAll() }

// Lost implements store.Follower.
func (b *Bell) Lost() { b.ringAll() }

func (b *Bell) ringAll() {
	b.mu.Lock()
	defer b.mu.Unlock()
	for user := range b.waiting {
		b.ring(user)
	}
}
