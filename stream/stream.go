// Package stream keeps answers open that are written piece by piece, so that a client
// hears of something as soon as it happens. It bounds how many there are, and for how
// long.
//
// The package must not know what is streamed.
package stream

import (
	"io"
	"net/http"
	"sync"
	"time"
)

const (
	// Lifetime is how long a stream lasts at most. Clients begin another one. Servers and
	// proxies on the way often end answers that take a minute.
	Lifetime = 50 * time.Second
	// lookout is how often a stream looks whether the server is about to end: a server that
	// shuts down waits for its answers.
	lookout = time.Second
	// writeTime is how long a client may take to accept a part.
	writeTime = 10 * time.Second
)

// Source says when a stream has something to say.
type Source struct {
	// Heard gets a value when there may be something new.
	Heard <-chan struct{}
	// Every is how often it is asked without having heard anything, so that both sides
	// learn of a lost connection; 0: it isn't.
	Every time.Duration
	// Ending reports whether the server is about to end.
	Ending func() bool
}

// Serve answers with what say returns: at the beginning, and whenever the source has
// something. It returns once say returns no more, the client is gone, the server is about
// to end, or Lifetime is over. The caller has set the headers.
func Serve(w http.ResponseWriter, r *http.Request, s Source, say func() (text string, more bool)) {
	w.Header().Set("X-Accel-Buffering", "no") // nginx would hold the parts back
	tell := func() bool {
		text, more := say()
		return write(w, text) == nil && more
	}
	over, looking := time.NewTimer(Lifetime), time.NewTicker(lookout)
	defer over.Stop()
	defer looking.Stop()
	var every <-chan time.Time
	if s.Every > 0 {
		ticker := time.NewTicker(s.Every)
		defer ticker.Stop()
		every = ticker.C
	}
	for more := tell(); more; {
		select {
		case <-r.Context().Done():
			return
		case <-over.C:
			return
		case <-looking.C:
			more = !s.Ending()
		case <-s.Heard:
			more = tell()
		case <-every:
			more = tell()
		}
	}
}

// write sends a part at once.
func write(w http.ResponseWriter, text string) error {
	if text == "" {
		return nil
	}
	control := http.NewResponseController(w)
	_ = control.SetWriteDeadline(time.Now().Add(writeTime)) // it isn't always possible
	if _, err := io.WriteString(w, text); err != nil {
		return err
	}
	return control.Flush()
}

// Room bounds how many streams are open at the same time. It is safe for concurrent use.
type Room struct {
	// Each is how many one holder may have, and All how many there may be.
	Each, All int

	mu      sync.Mutex
	holders map[string]int
	all     int
}

// Enter takes a place for a holder and reports whether there was one. The caller gives it
// back by leave.
func (r *Room) Enter(holder string) (leave func(), ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.all >= r.All || r.holders[holder] >= r.Each {
		return nil, false
	}
	if r.holders == nil {
		r.holders = make(map[string]int)
	}
	r.holders[holder]++
	r.all++
	return func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		r.all--
		if r.holders[holder]--; r.holders[holder] == 0 {
			delete(r.holders, holder)
		}
	}, true
}
