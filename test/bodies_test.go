package test

import (
	"fmt"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// TestL02BodiesThatTrickle holds 250 connections by bodies that never come to
// their end, on paths that take forms and on paths that don't. Each is
// answered before long, nothing is put on disk, and others go on.
func TestL02BodiesThatTrickle(t *testing.T) {
	t.Parallel()
	temporary := t.TempDir()
	s := scene.Start(t, scene.Options{Settled: 1, Env: []string{"TMPDIR=" + temporary}})
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
	target := s.Raw("web")
	stop := make(chan struct{})
	defer close(stop)
	var held sync.WaitGroup
	for i := range 250 {
		k := kinds[i%len(kinds)]
		host := fmt.Sprintf("%s.localhost:%d", k.host, s.Port("web"))
		raw := harness.Request1(k.method, k.path, host, k.body, k.kind, "Content-Length: 100000", "Origin: http://"+host)
		connection, err := target.HTTP1()
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
	if page := ada.SignIn(s.Client(), s.At("app", "/")); page.H1() != "Hello ada" {
		t.Errorf("meanwhile: %d %s", page.Status, page.Text())
	}
	held.Wait() // as long as the harness waits for an answer
	if left, err := os.ReadDir(temporary); err != nil || len(left) > 0 {
		t.Errorf("left in the folder of temporary files: %v, %v", left, err)
	}
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
