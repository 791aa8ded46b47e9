package upload_test

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/portcullis-mfa/portcullis/upload"
)

// line is a listener of connections within the process, which keep time with
// the bubble of a test.
type line struct{ dialed chan net.Conn }

func (l line) Accept() (net.Conn, error) {
	conn, open := <-l.dialed
	if !open {
		return nil, net.ErrClosed
	}
	return conn, nil
}

func (l line) Close() error { return nil }

func (l line) Addr() net.Addr { return &net.TCPAddr{} }

func (l line) dial() net.Conn {
	ours, theirs := net.Pipe()
	l.dialed <- theirs
	return ours
}

// writer is wrapped as Caddy wraps it.
type writer struct{ http.ResponseWriter }

func (w writer) Unwrap() http.ResponseWriter { return w.ResponseWriter }

// serve runs a server of HTTP/1.1 and HTTP/2 for as long as the test.
func serve(t *testing.T, handler http.HandlerFunc) line {
	t.Helper()
	l := line{make(chan net.Conn)}
	wrapped := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { handler(writer{w}, r) })
	server := &http.Server{Handler: wrapped, Protocols: new(http.Protocols), IdleTimeout: 5 * time.Minute}
	server.Protocols.SetHTTP1(true)
	server.Protocols.SetUnencryptedHTTP2(true)
	done := make(chan error)
	go func() { done <- server.Serve(l) }()
	t.Cleanup(func() {
		close(l.dialed)
		_ = server.Close() // the listener is closed already
		<-done
		time.Sleep(time.Second) // connections that are cut linger for half of one
	})
	return l
}

// portal reads forms of POSTs and no other bodies.
func portal(w http.ResponseWriter, r *http.Request) {
	var err error
	if r.Method == http.MethodPost && strings.HasPrefix(r.Header.Get("Content-Type"), "application/x-www-form-urlencoded") {
		err = upload.ReadForm(w, r)
	} else {
		upload.Ignore(w, r)
	}
	status := http.StatusOK
	switch {
	case errors.Is(err, upload.ErrTooLarge):
		status = http.StatusRequestEntityTooLarge
	case errors.Is(err, upload.ErrTooSlow):
		status = http.StatusRequestTimeout
	case err != nil:
		status = http.StatusBadRequest
	}
	w.WriteHeader(status)
	fmt.Fprintf(w, "%q", r.PostFormValue("a"))
}

// exchange sends raw bytes and then one more byte every second until the
// server has answered, and returns the answer, after how long it came, and
// whether the connection goes on.
func exchange(t *testing.T, conn net.Conn, raw string, trickles bool) (status int, body string, took time.Duration, goesOn bool) {
	t.Helper()
	began := time.Now()
	answered := make(chan struct{})
	go func() {
		_, _ = io.WriteString(conn, raw) // the server may hang up
		for trickles {
			select {
			case <-answered:
				return
			case <-time.After(time.Second):
				if _, err := io.WriteString(conn, "x"); err != nil {
					return
				}
			}
		}
	}()
	response, err := http.ReadResponse(bufio.NewReader(conn), &http.Request{Method: "GET"})
	if err != nil {
		t.Fatalf("no answer after %s: %v", time.Since(began), err)
	}
	content, err := io.ReadAll(response.Body)
	if err != nil {
		t.Fatal(err)
	}
	took = time.Since(began)
	close(answered)
	return response.StatusCode, string(content), took, !response.Close
}

func post(kind string, length int, body string) string {
	return fmt.Sprintf("POST / HTTP/1.1\r\nHost: a\r\nContent-Type: %s\r\nContent-Length: %d\r\n\r\n%s", kind, length, body)
}

const form = "application/x-www-form-urlencoded"

// TestL02Bodies sends bodies of every kind over HTTP/1.1.
func TestL02Bodies(t *testing.T) {
	const multipart = "multipart/form-data; boundary=b"
	part := "--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"f\"\r\n\r\n"
	for _, c := range []struct {
		what     string
		raw      string
		trickles bool
		status   int
		within   time.Duration // 0: at once
		goesOn   bool
	}{
		{"a form", post(form, 3, "a=1"), false, 200, 0, true},
		{"no body", "GET / HTTP/1.1\r\nHost: a\r\n\r\n", false, 200, 0, true},
		{"the body of a GET that came whole", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na=1", false, 200, 0, true},
		{"a malformed form", post(form, 3, "%zz"), false, 400, 0, true},
		{"a form that stops", post(form, 100, "a=1234"), false, 408, upload.FormTime, false},
		{"a form that trickles", post(form, 100, "a=1234"), true, 408, upload.FormTime, false},
		{"a form in chunks that trickles", "POST / HTTP/1.1\r\nHost: a\r\nContent-Type: " + form + "\r\nTransfer-Encoding: chunked\r\n\r\n64\r\na=1", true, 408, upload.FormTime, false},
		{"a form that is too large and stops", post(form, 200_000, "a="+strings.Repeat("x", upload.MaxForm)), false, 413, upload.IgnoredTime, false},
		{"a body of another kind that trickles", post("text/plain", 100, "a=1234"), true, 200, upload.IgnoredTime, false},
		{"files that trickle", post(multipart, 100_000, part), true, 200, upload.IgnoredTime, false},
		{"the body of a GET that trickles", "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\na=1", true, 200, upload.IgnoredTime, false},
		{"files of a GET that trickle", "GET / HTTP/1.1\r\nHost: a\r\nContent-Type: " + multipart + "\r\nContent-Length: 100000\r\n\r\n" + part, true, 200, upload.IgnoredTime, false},
		{"a body in chunks of a DELETE that trickles", "DELETE / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n64\r\na", true, 200, upload.IgnoredTime, false},
		{"a body of 200 MB", "PUT / HTTP/1.1\r\nHost: a\r\nContent-Length: 200000000\r\n\r\na", true, 200, upload.IgnoredTime, false},
	} {
		t.Run(c.what, func(t *testing.T) {
			temporary := t.TempDir()
			t.Setenv("TMPDIR", temporary)
			synctest.Test(t, func(t *testing.T) {
				conn := serve(t, portal).dial()
				defer conn.Close()
				status, _, took, goesOn := exchange(t, conn, c.raw, c.trickles)
				if status != c.status || took != c.within || goesOn != c.goesOn {
					t.Errorf("%d after %s, goes on: %t; want %d after %s, %t", status, took, goesOn, c.status, c.within, c.goesOn)
				}
			})
			if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
				t.Errorf("files were left: %v, %v", left, err)
			}
		})
	}
}

// TestHonestClientsKeepTheirConnection sends forms with long pauses between
// them, and one whose answer takes longer than a form may.
func TestHonestClientsKeepTheirConnection(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var cancelled error
		conn := serve(t, func(w http.ResponseWriter, r *http.Request) {
			portal(w, r)
			time.Sleep(10 * upload.FormTime)
			cancelled = context.Cause(r.Context())
		}).dial()
		defer conn.Close()
		for _, raw := range []string{
			post(form, 3, "a=1"), "GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\na=1", post("text/plain", 3, "a=1"), post(form, 3, "a=1"),
		} {
			status, _, _, goesOn := exchange(t, conn, raw, false)
			if status != http.StatusOK || !goesOn || cancelled != nil {
				t.Fatalf("%q: %d, goes on: %t, cancelled: %v", raw, status, goesOn, cancelled)
			}
			time.Sleep(4 * time.Minute)
		}
	})
}

// TestL02BodiesOverHTTP2 has a form that stops, and other streams of the
// connection that go on.
func TestL02BodiesOverHTTP2(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := serve(t, portal)
		transport := &http.Transport{Protocols: new(http.Protocols), DialContext: func(context.Context, string, string) (net.Conn, error) {
			return l.dial(), nil
		}}
		transport.Protocols.SetUnencryptedHTTP2(true)
		defer transport.CloseIdleConnections()
		send := func(method string, body io.Reader) (int, string) {
			request, err := http.NewRequest(method, "http://a/", body)
			if err != nil {
				t.Fatal(err)
			}
			request.Header.Set("Content-Type", form)
			response, err := transport.RoundTrip(request)
			if err != nil {
				t.Fatal(err)
			}
			defer response.Body.Close()
			content, err := io.ReadAll(response.Body)
			if err != nil {
				t.Fatal(err)
			}
			return response.StatusCode, string(content)
		}
		stopping, hold := io.Pipe()
		go func() { _, _ = io.WriteString(hold, "a=1") }()
		began := time.Now()
		if status, _ := send("POST", stopping); status != http.StatusRequestTimeout || time.Since(began) != upload.FormTime {
			t.Errorf("a form that stops: %d after %s", status, time.Since(began))
		}
		_ = hold.Close()
		stopping, hold = io.Pipe()
		began = time.Now()
		if status, _ := send("GET", stopping); status != http.StatusOK || time.Since(began) != 0 {
			t.Errorf("the body of a GET that doesn't come: %d after %s", status, time.Since(began))
		}
		_ = hold.Close()
		if status, body := send("POST", strings.NewReader("a=1")); status != http.StatusOK || body != `"1"` {
			t.Errorf("afterwards: %d %s", status, body)
		}
	})
}
