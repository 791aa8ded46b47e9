package gate

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"sync"
	"sync/atomic"
	"time"
)

// errCut says that the rest of a response is not for its receiver any more.
var errCut = errors.New("the sign-on of the request has ended")

// guard runs serve with a guarded writer. private says that somebody is signed
// in, for whom alone the response is.
func guard(w http.ResponseWriter, private bool, serve func(http.ResponseWriter) error) error {
	guarded := &responseGuard{ResponseWriter: w, private: private}
	defer guarded.finish()
	return serve(guarded)
}

// Resume serves, in an error route, a request that a gate of the site let
// through before: what answers it there is held to the same. Caddy has given it
// the target back with which it came. identified says that it passed with an
// identity.
func (g *Gate) Resume(w http.ResponseWriter, r *http.Request, identified bool, serve func(http.ResponseWriter) error) error {
	if err := Canonicalise(r); err != nil {
		g.ErrorPage(w, r, http.StatusBadRequest)
		return nil
	}
	return guard(w, identified, serve)
}

// responseGuard lets no header out of the app behind the gate that would undo
// what the gate does: neither with the response nor with an informational one,
// nor as a trailer, nor when the app leaves it to the server to write the
// headers. See filter. And it can be cut off.
// Everything else goes to the writer behind it, which http.ResponseController
// finds by Unwrap.
type responseGuard struct {
	http.ResponseWriter
	// wroteHeader says that the headers of the final response have left.
	wroteHeader bool
	// private says that the response is for one person alone.
	private bool
	cache   [1]string // the value of Cache-Control, where that isn't the app's
	cut     atomic.Bool

	mu       sync.Mutex // guards what follows
	finished bool       // the writer may not be used any more
	hijacked net.Conn   // nil unless a handler has taken the connection over
	cancel   func()     // of the request's context; may be nil
}

// Interrupt cuts the exchange off, wherever it is: nothing more is read from
// the client or written to it, also where a slow one holds up a write. Over
// HTTP/1 the deadline for reading, and over HTTP/2 the one for writing, make the
// server cancel the request's context, which ends what waits for an app.
func (g *responseGuard) Interrupt() {
	g.cut.Store(true)
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cancel != nil {
		g.cancel()
	}
	switch {
	case g.hijacked != nil:
		_ = g.hijacked.Close() // who reads and writes there meets the error
	case !g.finished:
		// Writers that know no deadlines have no connection to wait for.
		controller, past := http.NewResponseController(g.ResponseWriter), time.Unix(1, 0)
		_ = controller.SetReadDeadline(past)
		_ = controller.SetWriteDeadline(past)
	}
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

// finish is called once the app is done. What is there then goes out as headers
// that it never wrote, or as trailers.
func (g *responseGuard) finish() {
	g.mu.Lock()
	g.finished = true
	g.mu.Unlock()
	g.filter()
}

// WriteHeader implements http.ResponseWriter. Informational responses carry
// headers too, and others follow them.
func (g *responseGuard) WriteHeader(status int) {
	if !g.wroteHeader {
		g.filter()
		g.wroteHeader = status < 100 || status > 199 || status == http.StatusSwitchingProtocols
	}
	g.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (g *responseGuard) Write(p []byte) (int, error) {
	if g.cut.Load() {
		return 0, errCut
	}
	g.beforeBody()
	return g.ResponseWriter.Write(p)
}

// ReadFrom implements io.ReaderFrom, by which files leave without a copy: Copy
// looks for it at the writer behind.
func (g *responseGuard) ReadFrom(source io.Reader) (int64, error) {
	if g.cut.Load() {
		return 0, errCut
	}
	g.beforeBody()
	return io.Copy(g.ResponseWriter, source)
}

// FlushError is what http.ResponseController looks for. Where the writer behind
// can't flush, the headers stay to be written.
func (g *responseGuard) FlushError() error {
	if g.wroteHeader {
		return http.NewResponseController(g.ResponseWriter).Flush()
	}
	g.filter()
	err := http.NewResponseController(g.ResponseWriter).Flush()
	g.wroteHeader = err == nil
	return err
}

// Flush implements http.Flusher.
func (g *responseGuard) Flush() { _ = g.FlushError() }

// Hijack implements http.Hijacker. Where the writer behind can't, the app goes
// on with an ordinary response.
func (g *responseGuard) Hijack() (net.Conn, *bufio.ReadWriter, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.cut.Load() {
		return nil, nil, errCut
	}
	conn, buffer, err := http.NewResponseController(g.ResponseWriter).Hijack()
	g.hijacked = conn
	return conn, buffer, err
}

// Push implements http.Pusher.
func (g *responseGuard) Push(target string, options *http.PushOptions) error {
	pusher, ok := g.ResponseWriter.(http.Pusher)
	if !ok {
		return http.ErrNotSupported
	}
	return pusher.Push(target, options)
}

// Unwrap returns the writer behind, for http.ResponseController.
func (g *responseGuard) Unwrap() http.ResponseWriter { return g.ResponseWriter }

// beforeBody is for what sends the headers by itself if they were not written.
func (g *responseGuard) beforeBody() {
	if !g.wroteHeader {
		g.filter()
		g.wroteHeader = true
	}
}

// What proxies, encoders and file servers look for.
var (
	_ http.Flusher  = (*responseGuard)(nil)
	_ http.Hijacker = (*responseGuard)(nil)
	_ http.Pusher   = (*responseGuard)(nil)
	_ io.ReaderFrom = (*responseGuard)(nil)
)
