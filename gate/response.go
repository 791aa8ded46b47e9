package gate

import (
	"bufio"
	"io"
	"math"
	"net"
	"net/http"
	"sync"
	"sync/atomic"

	"github.com/portcullis-mfa/portcullis/gate/canonical"
)

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
	if err := canonical.Target(r); err != nil {
		g.ErrorPage(w, r, http.StatusBadRequest)
		return nil
	}
	return guard(w, identified, serve)
}

// responseGuard lets no header out of the app behind the gate that would undo
// what the gate does: neither with the response nor with an informational one,
// nor as a trailer, nor when the app leaves it to the server to write the
// headers. See filter. And it can be cut off; see cut.go.
// Everything else goes to the writer behind it, which http.ResponseController
// finds by Unwrap.
type responseGuard struct {
	http.ResponseWriter
	protocol int // major version of HTTP
	// wroteHeader says that the headers of the final response have left.
	wroteHeader bool
	// private says that the response is for one person alone.
	private bool
	// unauthorized says that the app answered 401.
	unauthorized bool
	notice       *notice     // nil: none is offered
	cache        [1]string   // the value of Cache-Control, where that isn't the app's
	cut          atomic.Bool // changes under mu

	mu       sync.Mutex // guards what follows
	begun    bool       // the final response may have begun to leave
	finished bool       // the writer may not be used any more
	hijacked net.Conn   // nil unless a handler has taken the connection over
	cancel   func()     // of the request's context; may be nil
}

// finish is called once the app is done. What is there then goes out as headers
// that it never wrote, or as trailers.
func (g *responseGuard) finish() {
	if g.notice.isPending() && g.begin() {
		g.notice.finish(g.ResponseWriter)
	}
	g.mu.Lock()
	before := g.finished
	g.finished = true
	g.mu.Unlock()
	if !before {
		g.filter()
	}
}

// leave prepares the headers of a response for leaving, those of the final one
// once.
func (g *responseGuard) leave(status int) {
	g.filter()
	if isFinal(status) {
		g.unauthorized = status == http.StatusUnauthorized
		g.notice.begin(g.Header(), status)
	}
}

// isFinal reports whether no other response follows one of that status.
func isFinal(status int) bool {
	return status < 100 || status > 199 || status == http.StatusSwitchingProtocols
}

// WriteHeader implements http.ResponseWriter. Informational responses carry
// headers too, and others follow them.
func (g *responseGuard) WriteHeader(status int) {
	if isFinal(status) && !g.begin() {
		return // a body that follows meets the error
	} else if !g.wroteHeader {
		g.leave(status)
		g.wroteHeader = isFinal(status)
	}
	g.ResponseWriter.WriteHeader(status)
}

// Write implements http.ResponseWriter.
func (g *responseGuard) Write(p []byte) (int, error) {
	if !g.beforeBody() {
		return 0, errCut
	}
	if g.notice.isPending() {
		return g.notice.write(g.ResponseWriter, p)
	}
	return g.ResponseWriter.Write(p)
}

// pieceBytes is how much of a body leaves before it is asked again whether the
// exchange was cut off.
const pieceBytes = 1 << 20

// ReadFrom implements io.ReaderFrom, by which files leave without a copy: Copy
// looks for it at the writer behind, which looks for a file in a LimitedReader.
func (g *responseGuard) ReadFrom(source io.Reader) (total int64, err error) {
	if !g.beforeBody() {
		return 0, errCut
	}
	if g.notice.isPending() {
		return io.Copy(struct{ io.Writer }{g}, source)
	}
	whole, ok := source.(*io.LimitedReader)
	if !ok {
		whole = &io.LimitedReader{R: source, N: math.MaxInt64}
	}
	for {
		if !g.beforeBody() {
			return total, errCut
		}
		size := min(whole.N, pieceBytes)
		piece := io.LimitedReader{R: whole.R, N: size}
		n, err := io.Copy(g.ResponseWriter, &piece)
		total += n
		whole.N -= size - piece.N
		if err != nil || piece.N > 0 || whole.N <= 0 {
			return total, err
		}
	}
}

// FlushError is what http.ResponseController looks for. Where the writer behind
// can't flush, the headers stay to be written.
func (g *responseGuard) FlushError() error {
	if !g.begin() {
		return errCut
	}
	if g.wroteHeader {
		if err := g.notice.flush(g.ResponseWriter); err != nil {
			return err
		}
		return http.NewResponseController(g.ResponseWriter).Flush()
	}
	g.leave(http.StatusOK)
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
// It reports false where nothing may leave any more.
func (g *responseGuard) beforeBody() bool {
	if !g.begin() {
		return false
	}
	if !g.wroteHeader {
		g.leave(http.StatusOK)
		g.wroteHeader = true
	}
	return true
}

// What proxies, encoders and file servers look for.
var (
	_ http.Flusher  = (*responseGuard)(nil)
	_ http.Hijacker = (*responseGuard)(nil)
	_ http.Pusher   = (*responseGuard)(nil)
	_ io.ReaderFrom = (*responseGuard)(nil)
)
