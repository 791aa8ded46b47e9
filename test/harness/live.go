package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"
)

// Pace is how fast the client of a Live reads.
type Pace int32

// The paces.
const (
	Slow Pace = iota // slower than anybody sends
	Stalled
	Fast
)

// slowly is how long a slow client rests after each piece that it reads, and
// before each that it writes.
const slowly = 10 * time.Millisecond

// Live is an exchange that goes on until one end ends it: a WebSocket, a
// stream of events, a long download or upload. A goroutine of its own reads
// and writes, slowly. Safe for concurrent use.
type Live struct {
	moved  atomic.Int64
	pace   atomic.Int32
	status chan int // gets the status once it is there
	done   chan struct{}
	err    error // once done is closed
	end    func()
}

func newLive(t testing.TB, end func()) *Live {
	l := &Live{status: make(chan int, 1), done: make(chan struct{}), end: end}
	t.Cleanup(l.Close)
	return l
}

// Moved returns how much has gone either way: bytes, or messages of a
// WebSocket.
func (l *Live) Moved() int64 { return l.moved.Load() }

// SetPace makes the client read at another pace than Slow. A WebSocket's reads
// what there is.
func (l *Live) SetPace(pace Pace) { l.pace.Store(int32(pace)) }

// Ended reports whether the exchange is over.
func (l *Live) Ended() bool {
	select {
	case <-l.done:
		return true
	default:
		return false
	}
}

// Err says how it ended: nil where all that was to come came. It waits for the
// end.
func (l *Live) Err() error {
	<-l.done
	return l.err
}

// Close ends it from this side, and waits for that.
func (l *Live) Close() {
	l.end()
	<-l.done
}

// awaitStatus fails the test unless the exchange begins with the status.
func (l *Live) awaitStatus(t testing.TB, what string, wanted int) {
	t.Helper()
	select {
	case got := <-l.status:
		if got != wanted {
			t.Fatalf("%s began with %d", what, got)
		}
	case <-l.done:
		t.Fatalf("%s never began: %v", what, l.err)
	case <-time.After(patience):
		t.Fatalf("waited %s for %s to begin", patience, what)
	}
}

// Download opens what goes on for long, and returns once it has begun.
func (c *Client) Download(t testing.TB, request Request) *Live {
	t.Helper()
	l := c.start(t, request)
	l.awaitStatus(t, request.URL, http.StatusOK)
	return l
}

// Upload posts a body that never ends, and returns once some of it was sent.
func (c *Client) Upload(t testing.TB, request Request) *Live {
	t.Helper()
	body := &endlessBody{}
	request.Method, request.Upload = http.MethodPost, body
	l := c.start(t, request, body)
	Eventually(t, patience, request.URL+" to begin", func() bool { return l.Moved() > 0 || l.Ended() })
	if l.Ended() {
		t.Fatalf("%s never began: %v", request.URL, l.Err())
	}
	return l
}

// start sends the request and reads what is answered.
func (c *Client) start(t testing.TB, request Request, body ...*endlessBody) *Live {
	ctx, cancel := context.WithCancel(context.Background())
	l := newLive(t, cancel)
	for _, b := range body {
		b.ctx, b.moved = ctx, &l.moved
	}
	go func() {
		defer close(l.done)
		defer cancel()
		response, err := c.Open(ctx, request)
		if err != nil {
			l.err = err
			return
		}
		defer func() { _ = response.Body.Close() }()
		l.status <- response.StatusCode
		l.err = l.read(ctx, response.Body)
		if request.Upload != nil {
			l.err = errors.Join(l.err, fmt.Errorf("the upload was answered %s", response.Status))
		}
	}()
	return l
}

func (l *Live) read(ctx context.Context, from io.Reader) error {
	ticker := time.NewTicker(slowly)
	defer ticker.Stop()
	piece := make([]byte, 16<<10)
	for {
		for Pace(l.pace.Load()) != Fast {
			select {
			case <-ticker.C:
			case <-ctx.Done():
				return ctx.Err()
			}
			if Pace(l.pace.Load()) != Stalled {
				break
			}
		}
		n, err := from.Read(piece)
		l.moved.Add(int64(n))
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
	}
}

// endlessBody is an upload that goes on until its context ends.
type endlessBody struct {
	ctx   context.Context
	moved *atomic.Int64
}

// Read implements io.Reader.
func (b *endlessBody) Read(p []byte) (int, error) {
	select {
	case <-time.After(slowly):
	case <-b.ctx.Done():
		return 0, b.ctx.Err()
	}
	n := min(len(p), 1<<10)
	clear(p[:n])
	b.moved.Add(int64(n))
	return n, nil
}

// webSocketKey is the nonce of RFC 6455's own example.
const webSocketKey = "dGhlIHNhbXBsZSBub25jZQ=="

// WebSocket opens one over a connection of its own, with the cookies of the
// browser, and returns once it is open: over HTTP/2 by extended CONNECT.
func (c *Client) WebSocket(t testing.TB, address string, overHTTP2 bool) *Live {
	t.Helper()
	at := c.parse(address)
	target := Target{Addr: loopbackOf(at), TLS: at.Scheme == "https", SNI: at.Hostname(), Certificate: c.certificate}
	open := target.webSocket1
	if overHTTP2 {
		open = target.webSocket2
	}
	connection, err := open(at, c.cookieHeader(address))
	if err != nil {
		t.Fatalf("opening a WebSocket at %s: %v", address, err)
	}
	l := newLive(t, connection.end)
	go func() {
		defer close(l.done)
		defer connection.end()
		socket := NewWebSocket(connection)
		for {
			_, err := socket.ReadText()
			if err != nil {
				l.err = err
				return
			}
			l.moved.Add(1)
		}
	}()
	return l
}

// upgraded is a connection or stream on which a WebSocket is open.
type upgraded struct {
	io.ReadWriter
	end func()
}

func (target Target) webSocket1(at *url.URL, cookie string) (*upgraded, error) {
	connection, err := target.HTTP1()
	if err != nil {
		return nil, err
	}
	response := connection.Send(Request1(http.MethodGet, at.RequestURI(), at.Host, "",
		"Upgrade: websocket", "Connection: Upgrade", "Sec-WebSocket-Version: 13", "Sec-WebSocket-Key: "+webSocketKey, "Cookie: "+cookie))
	if response.Status != http.StatusSwitchingProtocols {
		connection.Close()
		return nil, fmt.Errorf("answered %d: %w", response.Status, response.Err)
	}
	return &upgraded{connection, connection.Close}, nil
}

func (target Target) webSocket2(at *url.URL, cookie string) (*upgraded, error) {
	connection, err := target.HTTP2()
	if err != nil {
		return nil, err
	}
	fields := Fields2(http.MethodConnect, at.Scheme, at.Host, at.RequestURI(), "sec-websocket-version", "13", "cookie", cookie)
	stream, err := connection.Open(slices.Insert(fields, 4, Field{Name: ":protocol", Value: "websocket"}), false)
	if err != nil {
		connection.Close()
		return nil, err
	}
	if response := stream.Header(); response.Status != http.StatusOK {
		connection.Close()
		return nil, fmt.Errorf("answered %d: %w", response.Status, response.Err)
	}
	connection.Unbounded()
	return &upgraded{stream, connection.Close}, nil
}

// cookieHeader is what the browser sends to the URL.
func (c *Client) cookieHeader(address string) string {
	request := http.Request{Header: http.Header{}}
	for _, cookie := range c.Cookies(address) {
		request.AddCookie(&cookie)
	}
	return request.Header.Get("Cookie")
}

// loopbackOf is where the server of a URL is reached: every name is here.
func loopbackOf(at *url.URL) string { return "127.0.0.1:" + at.Port() }
