package gate

import (
	"bufio"
	"crypto/tls"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/session"
)

// cutter serves a handler behind a gate, over TLS, and cuts its requests off
// when it is told to.
type cutter struct {
	*testGate
	server *httptest.Server
	cut    chan session.Exchange // those that are open
}

func newCutter(t *testing.T, http2 bool, app http.HandlerFunc) *cutter {
	t.Helper()
	c := &cutter{testGate: newTestGate(t), cut: make(chan session.Exchange, 1)}
	c.server = httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Host = "app.example.com"
		err := c.ServeHTTP(w, r, func(w http.ResponseWriter, r *http.Request, _ *Visitor) error {
			c.cut <- c.exchange
			app(w, r)
			return nil
		})
		if err != nil {
			t.Error(err)
		}
	}))
	c.server.EnableHTTP2 = http2
	c.server.StartTLS()
	t.Cleanup(c.server.Close)
	return c
}

// end has the sign-on of the request that is under way end.
func (c *cutter) end() {
	exchange := <-c.cut
	c.live = func(string) error { return session.ErrEnded }
	exchange.Interrupt()
}

// A request that is cut off before anything of its answer has left is answered
// as if it came only now, in whole TLS records.
func TestCutBeforeTheFirstByte(t *testing.T) {
	for name, app := range map[string]http.HandlerFunc{
		"waits for an app": func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			http.Error(w, "a secret of the app's", http.StatusBadGateway)
		},
		"reads the body": func(w http.ResponseWriter, r *http.Request) {
			_, _ = io.Copy(io.Discard, r.Body)
			w.Header().Set("X-Secret", "of the app's")
			_, _ = io.WriteString(w, "a secret of the app's")
		},
		"flushes": func(w http.ResponseWriter, r *http.Request) {
			<-r.Context().Done()
			_ = http.NewResponseController(w).Flush()
		},
		"writes nothing": func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() },
	} {
		t.Run(name, func(t *testing.T) {
			c := newCutter(t, false, app)
			line := dialTLS(t, c.server)
			request := "GET /x HTTP/1.1\r\nHost: app.example.com\r\nCookie: " + cookieGood + "\r\n\r\n"
			if name == "reads the body" {
				request = "POST /x HTTP/1.1\r\nHost: app.example.com\r\nContent-Length: 10\r\nCookie: " + cookieGood + "\r\n\r\nhalf"
			}
			if _, err := io.WriteString(line, request); err != nil {
				t.Fatal(err)
			}
			c.end()
			answered := bufio.NewReader(line)
			response, err := http.ReadResponse(answered, nil)
			if err != nil {
				t.Fatal(err)
			}
			body, err := io.ReadAll(response.Body)
			if err != nil || response.StatusCode != http.StatusUnauthorized || response.Header.Get("X-Secret") != "" || strings.Contains(string(body), "secret") {
				t.Errorf("answered %d %v %q, %v", response.StatusCode, response.Header, body, err)
			}
			if rest, err := io.ReadAll(answered); err != nil || len(rest) > 0 {
				t.Errorf("the connection ends with %q, %v", rest, err)
			}
		})
	}
}

func dialTLS(t *testing.T, server *httptest.Server) *tls.Conn {
	t.Helper()
	line, err := tls.Dial("tcp", server.Listener.Addr().String(), &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"http/1.1"}})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = line.Close() })
	if err := line.SetDeadline(time.Now().Add(20 * time.Second)); err != nil {
		t.Fatal(err)
	}
	return line
}

// An answer that is cut off in the middle never looks whole, whatever the
// handlers do that are around the app's.
func TestCutInTheMiddle(t *testing.T) {
	for _, http2 := range []bool{false, true} {
		for name, goOn := range map[string]func(w http.ResponseWriter){
			"written": func(w http.ResponseWriter) {
				for {
					if _, err := io.WriteString(w, "more"); err != nil {
						return // as if all had been written
					}
					_ = http.NewResponseController(w).Flush()
				}
			},
			"copied": func(w http.ResponseWriter) { _, _ = io.Copy(w, endless{}) },
		} {
			c := newCutter(t, http2, func(w http.ResponseWriter, _ *http.Request) {
				_, _ = io.WriteString(w, "begun")
				_ = http.NewResponseController(w).Flush()
				goOn(w)
			})
			r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, c.server.URL+"/x", nil)
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Cookie", cookieGood)
			response, err := c.server.Client().Do(r)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			if _, err := io.ReadFull(response.Body, make([]byte, 5)); err != nil {
				t.Fatal(err)
			}
			go c.end()
			_, err = io.Copy(io.Discard, response.Body)
			if err == nil || strings.Contains(err.Error(), "MAC") {
				t.Errorf("%s, HTTP/2 %t: it ended with %v", name, http2, err)
			}
		}
	}
}

// endless is a body without an end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return len(p), nil }

// An answer to a client that reads nothing is broken off, though a writer in
// between sets a deadline of its own before each piece.
func TestCutOfAClientThatReadsNothing(t *testing.T) {
	done := make(chan struct{})
	c := newCutter(t, false, func(w http.ResponseWriter, _ *http.Request) {
		defer close(done)
		_, _ = io.Copy(hurried{w}, endless{})
	})
	line := dialTLS(t, c.server)
	if _, err := io.WriteString(line, "GET /x HTTP/1.1\r\nHost: app.example.com\r\nCookie: "+cookieGood+"\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	c.end()
	<-done
}

// hurried puts the deadline for writing ahead before each write, as Caddy does.
type hurried struct{ http.ResponseWriter }

func (h hurried) Write(p []byte) (int, error) {
	if err := http.NewResponseController(h.ResponseWriter).SetWriteDeadline(time.Now().Add(time.Hour)); err != nil {
		return 0, err
	}
	return h.ResponseWriter.Write(p)
}

// heedless is a writer between the server and the gate whose fields belong to
// the goroutine of the handler, as those of Caddy's do.
type heedless struct {
	http.ResponseWriter
	deadline time.Time
}

func (w *heedless) Unwrap() http.ResponseWriter { return w.ResponseWriter }

func (w *heedless) SetWriteDeadline(deadline time.Time) error {
	w.deadline = deadline
	return http.NewResponseController(w.ResponseWriter).SetWriteDeadline(deadline)
}

// Whoever interrupts touches no writer of others. The race detector says so.
func TestInterruptLeavesOthersWritersAlone(t *testing.T) {
	guarded := &responseGuard{ResponseWriter: &heedless{ResponseWriter: httptest.NewRecorder()}, protocol: 2}
	var interrupting sync.WaitGroup
	interrupting.Go(guarded.Interrupt)
	_ = guarded.ResponseWriter.(*heedless).SetWriteDeadline(time.Now())
	interrupting.Wait()
	if _, err := guarded.Write([]byte("more")); !errors.Is(err, errCut) {
		t.Errorf("written with %v", err)
	}
}
