package harness

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"html"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"
)

// recordedBody is how much of a request's body is kept.
const recordedBody = 16 << 20

// Recorded is one request as the app saw it. Header names are canonical, as
// net/http makes them; "Remote_User" and "REMOTE_USER" are both "Remote_user".
type Recorded struct {
	Method     string
	RequestURI string // the request line's own, not cleaned
	Proto      string
	Host       string
	Header     http.Header
	Trailer    http.Header
	Body       string
	// Complete says that the whole body came.
	Complete bool
	// Ended is when the app was done with it, or saw that nobody waits for an
	// answer any more; zero while it is under way.
	Ended time.Time
}

// Answer is what the app answers. A zero status is 200; without a body the
// app greets whoever Remote-User names, with a page.
type Answer struct {
	Status  int
	Header  http.Header
	Trailer http.Header
	Body    string
	// Endless sends the body again and again, until the other end goes away.
	Endless bool
}

// againAfter is how often an endless answer goes on.
const againAfter = 10 * time.Millisecond

// Recorder is the app behind the gate, and the oracle: what it has not seen
// did not pass. It speaks HTTP/1.1 and HTTP/2 without TLS, echoes WebSocket
// messages, and streams events to whoever accepts text/event-stream. Safe for
// concurrent use.
type Recorder struct {
	t        testing.TB
	listener net.Listener

	mu       sync.Mutex
	requests []*Recorded
	answer   func(Recorded) Answer
	streams  map[*stream]struct{}
}

// stream is one open WebSocket or event stream.
type stream struct{ events chan string }

// NewRecorder starts an app on a free port; it ends with the test.
func NewRecorder(t testing.TB) *Recorder {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatalf("starting the recording app: %v", err)
	}
	r := &Recorder{t: t, listener: listener, streams: map[*stream]struct{}{}}
	base, cancel := context.WithCancel(context.Background())
	server := &http.Server{
		Handler:     r,
		Protocols:   new(http.Protocols),
		BaseContext: func(net.Listener) context.Context { return base },
		// What the tests send may be malformed on purpose.
		ErrorLog: nil,
	}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	served := make(chan struct{})
	go func() {
		defer close(served)
		_ = server.Serve(listener) // ends with Close
	}()
	t.Cleanup(func() {
		cancel()
		_ = server.Close()
		<-served
	})
	return r
}

// Addr returns where the app listens, as 127.0.0.1:PORT: what reverse_proxy
// is given.
func (r *Recorder) Addr() string { return r.listener.Addr().String() }

// Answer makes the app give this answer from now on.
func (r *Recorder) Answer(answer Answer) { r.AnswerFunc(func(Recorded) Answer { return answer }) }

// AnswerFunc makes the app answer by the function, called concurrently; nil
// returns to the greeting.
func (r *Recorder) AnswerFunc(answer func(Recorded) Answer) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.answer = answer
}

// Requests returns copies of all requests since the start or the last Reset,
// those whose bodies are still coming included.
func (r *Recorder) Requests() []Recorded {
	r.mu.Lock()
	defer r.mu.Unlock()
	copies := make([]Recorded, len(r.requests))
	for i, request := range r.requests {
		copies[i] = request.clone()
	}
	return copies
}

func (r Recorded) clone() Recorded {
	r.Header, r.Trailer = r.Header.Clone(), r.Trailer.Clone()
	return r
}

// Reset forgets the requests, not the answer.
func (r *Recorder) Reset() {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = nil
}

// ExpectNone fails the test where the app has seen a request.
func (r *Recorder) ExpectNone(t testing.TB) {
	t.Helper()
	for _, seen := range r.Requests() {
		t.Errorf("the app saw a request: %s %s (%s, host %s), header %v", seen.Method, seen.RequestURI, seen.Proto, seen.Host, seen.Header)
	}
}

// ExpectOne returns the one request that the app has seen, and fails the test
// where it has seen none or more.
func (r *Recorder) ExpectOne(t testing.TB) Recorded {
	t.Helper()
	seen := r.Requests()
	if len(seen) != 1 {
		t.Fatalf("the app saw %d requests, not one: %v", len(seen), seen)
	}
	return seen[0]
}

// Streams returns how many WebSockets and event streams are open.
func (r *Recorder) Streams() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.streams)
}

// Publish sends an event to every open event stream and WebSocket.
func (r *Recorder) Publish(event string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for open := range r.streams {
		select {
		case open.events <- event:
		default: // a reader that far behind isn't what is tested
		}
	}
}

// ServeHTTP implements http.Handler. It records before it does anything else,
// so that a request that never ends has been seen too.
func (r *Recorder) ServeHTTP(w http.ResponseWriter, request *http.Request) {
	seen := r.record(request)
	defer r.ended(seen)
	switch {
	case wantsWebSocket(request):
		r.serveWebSocket(w, request)
	case slices.Contains(request.Header.Values("Accept"), "text/event-stream"):
		r.serveEvents(w, request)
	default:
		r.serveAnswer(w, request, seen)
	}
}

func (r *Recorder) record(request *http.Request) *Recorded {
	seen := &Recorded{
		Method:     request.Method,
		RequestURI: request.RequestURI,
		Proto:      request.Proto,
		Host:       request.Host,
		Header:     request.Header.Clone(),
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, seen)
	return seen
}

func (r *Recorder) ended(seen *Recorded) {
	r.mu.Lock()
	defer r.mu.Unlock()
	seen.Ended = time.Now()
}

func (r *Recorder) serveAnswer(w http.ResponseWriter, request *http.Request, seen *Recorded) {
	body, err := io.ReadAll(io.LimitReader(request.Body, recordedBody))
	r.mu.Lock()
	seen.Body, seen.Trailer, seen.Complete = string(body), request.Trailer.Clone(), err == nil
	answerBy, complete := r.answer, seen.clone()
	r.mu.Unlock()
	answer := Answer{}
	if answerBy != nil {
		answer = answerBy(complete)
	}
	if answer.Body == "" {
		answer = withGreeting(answer, complete)
	}
	answer.write(w)
	if answer.Endless {
		answer.goOn(request.Context(), w)
	}
}

// withGreeting makes the page that the app shows by itself. Its empty icon
// keeps browsers from asking for one, which would count as a request.
func withGreeting(answer Answer, seen Recorded) Answer {
	if answer.Header.Get("Content-Type") != "" || answer.Status >= 300 || answer.Status == http.StatusNoContent {
		return answer
	}
	name := seen.Header.Get("Remote-User")
	if name == "" {
		name = "nobody"
	}
	answer.Header = answer.Header.Clone()
	if answer.Header == nil {
		answer.Header = http.Header{}
	}
	answer.Header.Set("Content-Type", "text/html; charset=utf-8")
	answer.Body = fmt.Sprintf(`<!doctype html><html lang="en"><head><title>The app</title>`+
		`<meta name="viewport" content="width=device-width"><link rel="icon" href="data:,"></head>`+
		`<body><h1>Hello %s</h1><p>%s %s</p></body></html>`,
		html.EscapeString(name), html.EscapeString(seen.Method), html.EscapeString(seen.RequestURI))
	return answer
}

func (a Answer) write(w http.ResponseWriter) {
	for name, values := range a.Header {
		w.Header()[name] = values
	}
	for name, values := range a.Trailer {
		for _, value := range values {
			w.Header().Add(http.TrailerPrefix+name, value)
		}
	}
	if a.Status != 0 {
		w.WriteHeader(a.Status)
	}
	_, _ = io.WriteString(w, a.Body) // the client may be gone
}

// goOn sends the body until somebody has had enough.
func (a Answer) goOn(ctx context.Context, w http.ResponseWriter) {
	flusher := http.NewResponseController(w)
	ticker := time.NewTicker(againAfter)
	defer ticker.Stop()
	for {
		_, err := io.WriteString(w, a.Body)
		if errors.Join(err, flusher.Flush()) != nil {
			return
		}
		select {
		case <-ticker.C:
		case <-ctx.Done():
			return
		}
	}
}

// open counts a stream in until the returned function is called.
func (r *Recorder) open() (*stream, func()) {
	opened := &stream{events: make(chan string, 64)}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.streams[opened] = struct{}{}
	return opened, func() {
		r.mu.Lock()
		defer r.mu.Unlock()
		delete(r.streams, opened)
	}
}

// serveEvents streams "open" and then what is published, until the other end
// goes away.
func (r *Recorder) serveEvents(w http.ResponseWriter, request *http.Request) {
	opened, closed := r.open()
	defer closed()
	w.Header().Set("Content-Type", "text/event-stream")
	flusher := http.NewResponseController(w)
	for event := "open"; ; {
		_, err := fmt.Fprintf(w, "data: %s\n\n", event)
		if errors.Join(err, flusher.Flush()) != nil {
			return
		}
		select {
		case event = <-opened.events:
		case <-request.Context().Done():
			return
		}
	}
}

func wantsWebSocket(request *http.Request) bool {
	return strings.EqualFold(request.Header.Get("Upgrade"), "websocket")
}

// serveWebSocket answers the handshake (RFC 6455, 4.2.2) and echoes messages.
func (r *Recorder) serveWebSocket(w http.ResponseWriter, request *http.Request) {
	connection, buffered, err := http.NewResponseController(w).Hijack()
	if err != nil {
		http.Error(w, "this app takes WebSockets over HTTP/1.1 only", http.StatusNotImplemented)
		return
	}
	defer func() { _ = connection.Close() }()
	_ = connection.SetDeadline(time.Time{})
	stop := context.AfterFunc(request.Context(), func() { _ = connection.Close() })
	defer stop()
	opened, closed := r.open()
	defer closed()
	_, err = fmt.Fprintf(connection, "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: %s\r\n\r\n",
		webSocketAccept(request.Header.Get("Sec-WebSocket-Key")))
	if err != nil {
		return
	}
	socket := newWebSocket(struct {
		io.Reader
		io.Writer
	}{bufferedReader(buffered), connection}, false)
	done := make(chan struct{})
	go publishTo(socket, opened, done)
	defer close(done)
	echo(socket)
}

func bufferedReader(buffered *bufio.ReadWriter) io.Reader { return buffered.Reader }

func publishTo(socket *WebSocket, opened *stream, done <-chan struct{}) {
	for {
		select {
		case event := <-opened.events:
			if socket.WriteText(event) != nil {
				return
			}
		case <-done:
			return
		}
	}
}

func echo(socket *WebSocket) {
	for {
		message, err := socket.ReadText()
		if err != nil || socket.WriteText(message) != nil {
			return
		}
	}
}
