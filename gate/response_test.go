package gate

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"net/http/httptrace"
	"net/textproto"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

// The app sets cookies of ours in every form, among others of its own.
func setCookies(h http.Header) {
	for _, line := range []string{
		"theme=dark", "__Host-mfa=evil; Path=/; Secure", " __HOST-MFA-state-1=evil", "=__Host-mfa=evil", "__Host-mfa", "lang=en; Path=/",
	} {
		h.Add("Set-Cookie", line)
	}
	h["set-cookie"] = []string{"__Host-mfa=evil"}
}

var othersCookies = []string{"theme=dark", "lang=en; Path=/"}

// eachProtocol runs a test of a handler behind a guard over HTTP/1.1 and 2.
func eachProtocol(t *testing.T, handler http.HandlerFunc, test func(t *testing.T, server *httptest.Server)) {
	t.Helper()
	for _, protocol := range []string{"HTTP/1.1", "HTTP/2.0"} {
		t.Run(protocol, func(t *testing.T) {
			server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				if r.Proto != protocol {
					t.Errorf("came by %s", r.Proto)
				}
				err := guard(w, false, func(w http.ResponseWriter) error {
					handler(w, r)
					return nil
				})
				if err != nil {
					t.Error(err)
				}
			}))
			server.EnableHTTP2 = protocol == "HTTP/2.0"
			server.StartTLS()
			defer server.Close()
			test(t, server)
		})
	}
}

func get(t *testing.T, server *httptest.Server, body string) *http.Response {
	t.Helper()
	response, err := server.Client().Get(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	read, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	if string(read) != body {
		t.Errorf("body is %q, want %q", read, body)
	}
	return response
}

func checkCookies(t *testing.T, h http.Header) {
	t.Helper()
	if got := h["Set-Cookie"]; !slices.Equal(got, othersCookies) {
		t.Errorf("browser gets %q, want %q", got, othersCookies)
	}
}

func TestGuardRemovesOwnCookies(t *testing.T) {
	file := filepath.Join(t.TempDir(), "page")
	if err := os.WriteFile(file, []byte("hello"), 0o600); err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name   string
		finish func(t *testing.T, w http.ResponseWriter)
		body   string
	}{
		{"H04 WriteHeader", func(_ *testing.T, w http.ResponseWriter) { w.WriteHeader(http.StatusOK) }, ""},
		{"H04 Write", func(_ *testing.T, w http.ResponseWriter) { _, _ = io.WriteString(w, "hello") }, "hello"},
		{"H04 nothing", func(*testing.T, http.ResponseWriter) {}, ""},
		{"H04 ReadFrom", func(t *testing.T, w http.ResponseWriter) {
			if _, err := w.(io.ReaderFrom).ReadFrom(strings.NewReader("hello")); err != nil {
				t.Error(err)
			}
		}, "hello"},
		{"H04 io.Copy of a file", func(t *testing.T, w http.ResponseWriter) {
			f, err := os.Open(file)
			if err != nil {
				t.Fatal(err)
			}
			defer f.Close()
			if _, err := io.Copy(w, f); err != nil {
				t.Error(err)
			}
		}, "hello"},
		{"H04 flush by the controller", func(t *testing.T, w http.ResponseWriter) {
			if err := http.NewResponseController(w).Flush(); err != nil {
				t.Error(err)
			}
			_, _ = io.WriteString(w, "hello")
		}, "hello"},
		{"H04 flush", func(_ *testing.T, w http.ResponseWriter) {
			w.(http.Flusher).Flush()
			_, _ = io.WriteString(w, "hello")
		}, "hello"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			handler := func(w http.ResponseWriter, _ *http.Request) {
				setCookies(w.Header())
				test.finish(t, w)
			}
			eachProtocol(t, handler, func(t *testing.T, server *httptest.Server) {
				checkCookies(t, get(t, server, test.body).Header)
			})
		})
	}
}

func TestGuardRemovesOwnCookiesFromEarlyHints(t *testing.T) {
	handler := func(w http.ResponseWriter, _ *http.Request) {
		setCookies(w.Header())
		w.WriteHeader(http.StatusEarlyHints)
		w.Header().Add("Set-Cookie", "__Host-mfa=again")
		w.WriteHeader(http.StatusAccepted)
	}
	eachProtocol(t, handler, func(t *testing.T, server *httptest.Server) {
		var hints []http.Header
		trace := &httptrace.ClientTrace{Got1xxResponse: func(_ int, h textproto.MIMEHeader) error {
			hints = append(hints, http.Header(h))
			return nil
		}}
		r, err := http.NewRequestWithContext(httptrace.WithClientTrace(context.Background(), trace), "GET", server.URL, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if len(hints) != 1 || response.StatusCode != http.StatusAccepted {
			t.Fatalf("%d hints, status %d", len(hints), response.StatusCode)
		}
		checkCookies(t, hints[0])
		checkCookies(t, response.Header)
	})
}

func TestGuardRemovesOwnCookiesFromTrailers(t *testing.T) {
	handler := func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Trailer", "Set-Cookie")
		_, _ = io.WriteString(w, "hello")
		setCookies(w.Header())
		w.Header().Set(http.TrailerPrefix+"Set-Cookie", "__Host-mfa=evil")
		w.Header().Set(http.TrailerPrefix+"X-Checksum", "1")
	}
	eachProtocol(t, handler, func(t *testing.T, server *httptest.Server) {
		response := get(t, server, "hello")
		checkCookies(t, response.Trailer)
		if response.Trailer.Get("X-Checksum") != "1" {
			t.Errorf("other trailers are gone: %q", response.Trailer)
		}
	})
}

func TestGuardRemovesOwnCookiesFromUpgrade(t *testing.T) {
	raw := "GET / HTTP/1.1\r\nHost: a\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\nping"
	answer := exchange(t, func(w http.ResponseWriter, _ *http.Request) {
		_ = guard(w, false, func(w http.ResponseWriter) error {
			setCookies(w.Header())
			w.Header().Set("Connection", "Upgrade")
			w.Header().Set("Upgrade", "websocket")
			w.WriteHeader(http.StatusSwitchingProtocols)
			conn, buffered, err := http.NewResponseController(w).Hijack()
			if err != nil {
				t.Error(err)
				return nil
			}
			defer conn.Close()
			ping := make([]byte, 4)
			if _, err := io.ReadFull(buffered, ping); err != nil {
				t.Error(err)
			}
			_, _ = conn.Write(append(ping, "-pong"...))
			return nil
		})
	}, raw)
	if !strings.HasPrefix(answer, "HTTP/1.1 101") || !strings.HasSuffix(answer, "\r\n\r\nping-pong") {
		t.Errorf("answer is %q", answer)
	}
	if !strings.Contains(answer, "theme=dark") || strings.Contains(answer, "evil") {
		t.Errorf("cookies in %q", answer)
	}
}

// Over HTTP/2 nothing can be hijacked, and the app answers as usual.
func TestGuardAfterFailedHijack(t *testing.T) {
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_ = guard(w, false, func(w http.ResponseWriter) error {
			if _, _, err := w.(http.Hijacker).Hijack(); !errors.Is(err, http.ErrNotSupported) {
				t.Errorf("Hijack: %v", err)
			}
			setCookies(w.Header())
			w.WriteHeader(http.StatusUpgradeRequired)
			return nil
		})
	}))
	server.EnableHTTP2 = true
	server.StartTLS()
	defer server.Close()
	checkCookies(t, get(t, server, "").Header)
}

func TestGuardKeepsFullDuplexAndDeadlines(t *testing.T) {
	handler := func(w http.ResponseWriter, r *http.Request) {
		control := http.NewResponseController(w)
		if r.ProtoMajor == 1 {
			if err := control.EnableFullDuplex(); err != nil {
				t.Errorf("EnableFullDuplex: %v", err)
			}
		}
		line := make([]byte, 4)
		for {
			n, err := io.ReadFull(r.Body, line)
			if err != nil {
				return
			}
			_, _ = w.Write(line[:n])
			if err := control.Flush(); err != nil {
				t.Errorf("Flush: %v", err)
			}
		}
	}
	eachProtocol(t, handler, func(t *testing.T, server *httptest.Server) {
		body, writer := io.Pipe()
		r, err := http.NewRequest("POST", server.URL, body)
		if err != nil {
			t.Fatal(err)
		}
		go func() { _, _ = io.WriteString(writer, "one ") }()
		response, err := server.Client().Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		answer := make([]byte, 4)
		for _, message := range []string{"one ", "two ", "last"} {
			if message != "one " {
				if _, err := io.WriteString(writer, message); err != nil {
					t.Fatal(err)
				}
			}
			if _, err := io.ReadFull(response.Body, answer); err != nil || string(answer) != message {
				t.Fatalf("got %q, %v, want %q", answer, err, message)
			}
		}
		writer.Close()
	})
}

// recordedWriter is a writer of which one can see how a body came.
type recordedWriter struct {
	http.ResponseWriter
	readFrom, pushed bool
}

func (w *recordedWriter) ReadFrom(r io.Reader) (int64, error) {
	w.readFrom = true
	return io.Copy(w.ResponseWriter, r)
}

func (w *recordedWriter) Push(string, *http.PushOptions) error {
	w.pushed = true
	return nil
}

func TestGuardPassesOn(t *testing.T) {
	behind := &recordedWriter{ResponseWriter: httptest.NewRecorder()}
	err := guard(behind, false, func(w http.ResponseWriter) error {
		if _, err := io.Copy(w, struct{ io.Reader }{strings.NewReader("hello")}); err != nil {
			t.Error(err)
		}
		if err := w.(http.Pusher).Push("/style.css", nil); err != nil {
			t.Error(err)
		}
		return io.ErrUnexpectedEOF
	})
	if !errors.Is(err, io.ErrUnexpectedEOF) || !behind.readFrom || !behind.pushed {
		t.Errorf("error %v, ReadFrom %v, Push %v", err, behind.readFrom, behind.pushed)
	}
}

// bareWriter can do nothing but what every writer must.
type bareWriter struct {
	header http.Header
	sent   []string
	body   strings.Builder
}

func (w *bareWriter) Header() http.Header { return w.header }

func (w *bareWriter) WriteHeader(int) { w.sent = slices.Clone(w.header["Set-Cookie"]) }

func (w *bareWriter) Write(p []byte) (int, error) { return w.body.Write(p) }

func TestGuardOfABareWriter(t *testing.T) {
	behind := &bareWriter{header: http.Header{}}
	_ = guard(behind, false, func(w http.ResponseWriter) error {
		if err := http.NewResponseController(w).Flush(); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("Flush: %v", err)
		}
		if err := w.(http.Pusher).Push("/", nil); !errors.Is(err, http.ErrNotSupported) {
			t.Errorf("Push: %v", err)
		}
		setCookies(w.Header())
		w.WriteHeader(http.StatusOK)
		_, err := io.Copy(w, strings.NewReader("hello"))
		return err
	})
	if behind.body.String() != "hello" || !slices.Equal(behind.sent, othersCookies) {
		t.Errorf("sent %q with %q", behind.body.String(), behind.sent)
	}
}

func TestGuardLeavesSharedCookiesAlone(t *testing.T) {
	shared := []string{"a=1", "__Host-mfa=x", "b=2"}
	_ = guard(httptest.NewRecorder(), false, func(w http.ResponseWriter) error {
		w.Header()["Set-Cookie"] = shared
		w.WriteHeader(http.StatusOK)
		return nil
	})
	if !slices.Equal(shared, []string{"a=1", "__Host-mfa=x", "b=2"}) {
		t.Errorf("what the app keeps became %q", shared)
	}
}

// A panic of the app comes through, and what it left in the headers is clean
// for whoever writes an answer instead.
func TestGuardOnPanic(t *testing.T) {
	recorder := httptest.NewRecorder()
	func() {
		defer func() {
			if recover() != http.ErrAbortHandler {
				t.Error("the panic is gone")
			}
		}()
		_ = guard(recorder, false, func(w http.ResponseWriter) error {
			setCookies(w.Header())
			panic(http.ErrAbortHandler)
		})
	}()
	checkCookies(t, recorder.Header())
}

func TestGuardAllocatesOnce(t *testing.T) {
	behind := &bareWriter{header: http.Header{"Content-Type": {"text/html"}, "Set-Cookie": {"a=1"}}}
	if n := testing.AllocsPerRun(100, func() {
		_ = guard(behind, false, func(w http.ResponseWriter) error {
			_, err := w.Write(nil)
			return err
		})
	}); n > 1 {
		t.Errorf("%v allocations", n)
	}
}

func BenchmarkGuard(b *testing.B) {
	behind := &bareWriter{header: http.Header{
		"Content-Type": {"text/html"}, "Set-Cookie": {"a=1"}, "Cache-Control": {"no-cache"}, "Etag": {`"x"`}, "Vary": {"Accept"},
	}}
	b.ReportAllocs()
	for b.Loop() {
		_ = guard(behind, false, func(w http.ResponseWriter) error {
			_, err := w.Write(nil)
			return err
		})
	}
}
