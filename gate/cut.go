package gate

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/portcullis-mfa/portcullis/session"
)

// errCut says that the rest of a response is not for its receiver any more.
var errCut = errors.New("the sign-on of the request has ended")

// breakOffAfter is how long an exchange that was cut off may still be in
// the middle of a write before that is broken off, and how often that is said
// again.
const breakOffAfter = 200 * time.Millisecond

// Interrupt cuts the exchange off, wherever it is: nothing more is read from
// the client, and nothing more is begun to be written to it.
//
// A deadline for reading ends what waits for the client, and over HTTP/1 has the
// server cancel the request's context, which ends what waits for an app. Over
// HTTP/2 a deadline for writing resets the stream, with the same effect. Over
// HTTP/1, where it would leave a TLS record half written, it is for a client
// alone that holds up a write.
func (g *responseGuard) Interrupt() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cut.Store(true)
	if g.cancel != nil {
		g.cancel()
	}
	switch {
	case g.finished:
	case g.hijacked != nil:
		// Who reads and writes there meets the error. TLS says goodbye first, for
		// which a client that reads nothing makes it wait.
		go func() { _ = g.hijacked.Close() }()
	default:
		// Writers that know no deadlines have no connection to wait for.
		_ = http.NewResponseController(g.ResponseWriter).SetReadDeadline(longAgo)
		if g.protocol == 2 {
			g.forbidWriting()
		} else if g.begun {
			time.AfterFunc(breakOffAfter, g.breakOff)
		}
	}
}

// longAgo is a deadline that is over.
var longAgo = time.Unix(1, 0)

// breakOff ends a write that still waits for the client, and any that follows:
// Caddy sets a deadline of its own before each piece of a body, so ours is said
// again until the handler has returned.
func (g *responseGuard) breakOff() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.finished {
		g.forbidWriting()
		time.AfterFunc(breakOffAfter, g.breakOff)
	}
}

// forbidWriting sets the deadline at the innermost writer, the server's own.
// Those around it belong to the goroutine of the handler.
func (g *responseGuard) forbidWriting() {
	innermost := g.ResponseWriter
	for {
		wrapper, ok := innermost.(interface{ Unwrap() http.ResponseWriter })
		if !ok {
			break
		}
		innermost = wrapper.Unwrap()
	}
	_ = http.NewResponseController(innermost).SetWriteDeadline(longAgo)
}

// onCut has the request's context cancelled too when it is interrupted.
func (g *responseGuard) onCut(cancel func()) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.cancel = cancel
	if g.cut.Load() {
		cancel()
	}
}

// begin reports whether something of the final response may leave, and notes
// that it may have.
func (g *responseGuard) begin() bool {
	if g.wroteHeader {
		return !g.cut.Load()
	}
	g.mu.Lock()
	defer g.mu.Unlock()
	if !g.cut.Load() {
		g.begun = true
	}
	return !g.cut.Load()
}

// fate is what became of a response.
type fate int

const (
	// whole: nothing came in between.
	whole fate = iota
	// unbegun: it was cut off before anything of it left.
	unbegun
	// broken: it was cut off in the middle.
	broken
)

func (g *responseGuard) fate() fate {
	g.mu.Lock()
	defer g.mu.Unlock()
	switch {
	case !g.cut.Load() || g.hijacked != nil:
		return whole
	case g.begun || g.protocol == 2: // there its stream was reset
		return broken
	}
	return unbegun
}

// decideAgainTimeout bounds the second decision on a request that was cut off.
const decideAgainTimeout = 2 * time.Second

// answerCut answers a request that was cut off before the app had answered, as
// if it came only now.
func (g *Gate) answerCut(w http.ResponseWriter, r *request) {
	dropResponse(w.Header())
	if r.ProtoMajor == 1 {
		// What the client sends from now on is not read.
		w.Header().Set("Connection", "close")
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(r.Context()), decideAgainTimeout)
	defer cancel()
	again := r.recall(ctx)
	if again.rule == nil || again.rule.Open {
		g.unable(w, again, "serving what is open to everybody", errCut)
		return
	}
	c, err := g.identify(again, again.rule)
	switch {
	case err != nil:
		g.refuseUnidentified(w, again, err)
	case !again.allows(&c)(c.speaker.User):
		g.refuse(w, again, &c)
	default:
		g.unable(w, again, "serving a request to its end", errCut)
	}
}

// dropResponse removes what an app left in the headers of a response that is
// never going to leave.
func dropResponse(h http.Header) {
	for name := range h {
		switch name {
		case "Server", "Alt-Svc": // Caddy's own
		default:
			delete(h, name)
		}
	}
}

var _ session.Exchange = (*request)(nil)
