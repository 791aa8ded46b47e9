package test

import (
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// TestL02BodiesThatTrickle holds 250 connections by bodies that never come to
// their end, on paths that take forms and on paths that don't, and a few over
// HTTP/3 and to the admin endpoint. Each is answered before long, nothing is put
// on disk, and others go on.
func TestL02BodiesThatTrickle(t *testing.T) {
	t.Parallel()
	temporary := t.TempDir()
	s := scene.Start(t, scene.Options{
		Settled: 1, Env: []string{"TMPDIR=" + temporary}, Scheme: "https",
		Caddyfile: strings.ReplaceAll(scene.Caddyfile, "http://", "https://"),
	})
	ada := s.Administrator("ada")
	const form = "Content-Type: application/x-www-form-urlencoded"
	const files = "Content-Type: multipart/form-data; boundary=b"
	part := "--b\r\nContent-Disposition: form-data; name=\"a\"; filename=\"f\"\r\n\r\n"
	kinds := []struct {
		method, host, path, kind, body string
		statuses                       string
	}{
		{"POST", "login", "/sign-in", form, "name=a", "408"},
		{"GET", "login", "/nothing", files, part, "404"},
		{"GET", "login", "/sign-in", form, "name=a", "200"},
		{"POST", "login", "/sign-in", files, part, "403"},
		{"DELETE", "login", "/flow", files, part, "404 405"},
		{"GET", "app", "/", files, part, "401 302"},
		{"POST", "app", "/", form, "a=b", "401 403"},
		{"GET", "app", "/.mfa/callback", files, part, "400"},
		{"POST", "app", "/.mfa/sign-out", form, "a=b", "200 403"},
		{"GET", "app", "/.mfa/nothing", files, part, "404"},
	}
	stop := make(chan struct{})
	defer close(stop)
	var held sync.WaitGroup
	for i := range 250 {
		k := kinds[i%len(kinds)]
		host := fmt.Sprintf("%s.localhost:%d", k.host, s.Port("web"))
		raw := harness.Request1(k.method, k.path, host, k.body, k.kind, "Content-Length: 100000", "Origin: https://"+host)
		connection, err := s.RawTLS("web", k.host+".localhost").HTTP1()
		if err != nil {
			t.Fatal(err)
		}
		defer connection.Close()
		held.Go(func() {
			if _, err := connection.Write(raw); err != nil {
				t.Error(err)
				return
			}
			go trickle(connection, stop)
			response := connection.Receive(k.method)
			if response.Status == 0 || !strings.Contains(k.statuses, fmt.Sprint(response.Status)) {
				t.Errorf("%s %s%s: %d, %v; want %s", k.method, k.host, k.path, response.Status, response.Err, k.statuses)
			}
		})
	}
	holdOverHTTP3(t, s, &held)
	holdAdmin(t, s, &held)
	if page := ada.SignIn(s.Client(), s.At("app", "/")); page.H1() != "Hello ada" {
		t.Errorf("meanwhile: %d %s", page.Status, page.Text())
	}
	held.Wait() // as long as the harness waits for an answer
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left in the folder of temporary files: %v, %v", left, err)
	}
}

// holdOverHTTP3 sends bodies over one connection of HTTP/3 that stop or never
// end.
func holdOverHTTP3(t *testing.T, s *scene.Scene, held *sync.WaitGroup) {
	const form, files = "application/x-www-form-urlencoded", "multipart/form-data; boundary=b"
	tab := s.Client().HTTP3()
	for _, k := range []struct {
		method, host, path, kind string
		endless                  bool
		status                   int
	}{
		{"POST", "login", "/sign-in", form, false, http.StatusRequestTimeout},
		{"POST", "login", "/sign-in", form, true, http.StatusRequestEntityTooLarge},
		{"POST", "login", "/sign-in", files, true, http.StatusForbidden},
		{"GET", "login", "/nothing", files, true, http.StatusNotFound},
		{"PUT", "login", "/nothing", files, false, http.StatusNotFound},
		{"GET", "app", "/.mfa/callback", files, true, http.StatusBadRequest},
		{"DELETE", "app", "/", "text/plain", false, http.StatusUnauthorized},
	} {
		stopping, end := io.Pipe()
		t.Cleanup(func() { _ = end.Close() })
		body := &counted{Reader: io.MultiReader(strings.NewReader("a=1"), stopping)}
		if k.endless {
			body.Reader = io.MultiReader(strings.NewReader("a="), endless{})
		}
		request := harness.Request{Method: k.method, URL: s.At(k.host, k.path), From: s.At(k.host, "/"), Upload: body, Header: http.Header{"Content-Type": {k.kind}}}
		held.Go(func() {
			page, err := tab.Send(request)
			if err != nil || page.Status != k.status {
				t.Errorf("%s %s%s over HTTP/3: %v, %v; want %d", k.method, k.host, k.path, page, err, k.status)
			}
			if sent := body.total.Load(); sent > 4<<20 {
				t.Errorf("%s %s%s over HTTP/3 took %d bytes", k.method, k.host, k.path, sent)
			}
		})
	}
}

// holdAdmin sends bodies to the admin endpoint that stop or never end.
func holdAdmin(t *testing.T, s *scene.Scene, held *sync.WaitGroup) {
	client := &http.Client{Transport: new(http.Transport)}
	t.Cleanup(client.CloseIdleConnections)
	stopping, end := io.Pipe()
	t.Cleanup(func() { _ = end.Close() })
	for _, k := range []struct {
		what, kind string
		body       io.Reader
		status     int
	}{
		{"a body that stops", "application/json", io.MultiReader(strings.NewReader(`{"name":"x`), stopping), http.StatusRequestTimeout},
		{"a body without end", "application/json", io.MultiReader(strings.NewReader(`{"name":"`), endless{}), http.StatusRequestEntityTooLarge},
		{"files without end", "multipart/form-data; boundary=b", endless{}, http.StatusForbidden},
	} {
		held.Go(func() {
			response, err := client.Post("http://"+s.Server.Admin()+"/mfa/users", k.kind, k.body)
			if err != nil {
				t.Errorf("%s at the admin endpoint: %v", k.what, err)
				return
			}
			defer func() { _ = response.Body.Close() }()
			if response.StatusCode != k.status {
				t.Errorf("%s at the admin endpoint: %d; want %d", k.what, response.StatusCode, k.status)
			}
		})
	}
}

// endless is a body without end.
type endless struct{}

func (endless) Read(b []byte) (int, error) {
	for i := range b {
		b[i] = 'x'
	}
	return len(b), nil
}

// counted counts what is read of a body.
type counted struct {
	io.Reader
	total atomic.Int64
}

func (c *counted) Read(b []byte) (int, error) {
	n, err := c.Reader.Read(b)
	c.total.Add(int64(n))
	return n, err
}

// trickle sends a byte of a body now and then.
func trickle(connection *harness.HTTP1Conn, stop <-chan struct{}) {
	for {
		select {
		case <-stop:
			return
		case <-time.After(time.Second):
			if _, err := connection.Write([]byte("x")); err != nil {
				return
			}
		}
	}
}
