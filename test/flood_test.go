package test

import (
	"fmt"
	"net/http"
	"net/url"
	"runtime"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// flood sends wrong passwords for made-up names to a URL, so many a second and
// each from the address that is given for it, until it is stopped. stop returns
// how many got each status.
func flood(t testing.TB, to string, rate int, address func(i int) string) (stop func() map[int]int) {
	t.Helper()
	client := &http.Client{Transport: &http.Transport{DialContext: dialHere, MaxIdleConnsPerHost: 200}}
	stopped := make(chan struct{})
	statuses := make(map[int]int)
	var sending sync.WaitGroup
	var mu sync.Mutex
	sending.Go(func() {
		ticker := time.NewTicker(time.Second / time.Duration(rate))
		defer ticker.Stop()
		for i := 0; ; i++ {
			select {
			case <-stopped:
				return
			case <-ticker.C:
			}
			sending.Go(func() {
				status := 0
				form := url.Values{"name": {fmt.Sprintf("nobody%d", i)}, "password": {"guess"}}
				request, err := http.NewRequest(http.MethodPost, to, strings.NewReader(form.Encode()))
				if err == nil {
					request.Header.Set("Content-Type", "application/x-www-form-urlencoded")
					request.Header.Set("X-Forwarded-For", address(i))
					var response *http.Response
					if response, err = client.Do(request); err == nil {
						status = response.StatusCode
						_ = response.Body.Close()
					}
				}
				mu.Lock()
				defer mu.Unlock()
				statuses[status]++
			})
		}
	})
	var once sync.Once
	stop = func() map[int]int {
		once.Do(func() { close(stopped) })
		sending.Wait()
		client.CloseIdleConnections()
		return statuses
	}
	t.Cleanup(func() { stop() })
	return stop
}

// ofManyNetworks are addresses of a thousand networks.
func ofManyNetworks(i int) string { return fmt.Sprintf("10.%d.%d.7", i%4, i/4%250) }

// TestL02AFloodOfWrongPasswords sends several times as many as can be hashed,
// from a thousand networks. Known browsers get in at once, strangers with the
// right password when they try again, and memory stays bounded. Passwords are hashed
// outside the server's process, and within it once that is gone.
func TestL02AFloodOfWrongPasswords(t *testing.T) {
	s := scene.Start(t, scene.Options{Settled: 2, Caddyfile: behindProxy, NoDebugLog: true})
	ada := s.Administrator("ada")
	bob := s.Invited("bob")
	for _, p := range []*scene.Person{ada, bob} {
		p.Browser.Follow(p.Browser.Submit(p.Browser.Visit(s.At("login", "/sign-out")).Form(), nil))
	}
	began := time.Now()
	stop := flood(t, s.At("login", "/sign-in"), 60, ofManyNetworks)
	harness.Eventually(t, time.Minute, "the queue to be full", func() bool {
		page := send(t, s.Client(), guess{name: "nobody", password: "guess", address: "192.0.2.200"}.asRequest(s))
		return page.Status == http.StatusServiceUnavailable
	})
	shown := func(browser *harness.Client, p *scene.Person, address string) int {
		return send(t, browser, guess{name: p.Name, password: p.Password, address: address}.asRequest(s)).Status
	}
	hashing := 0
	harness.Eventually(t, time.Minute, "a process for hashing", func() (found bool) {
		hashing, found = hashingProcess(t, s)
		return found
	})
	ofHashing := memoryOf(t, hashing)
	for i := range 4 {
		if i == 2 {
			if err := syscall.Kill(hashing, syscall.SIGKILL); err != nil {
				t.Error(err)
			}
		}
		for _, p := range []*scene.Person{ada, bob} {
			if status := shown(p.Browser, p, "203.0.113.1"); status != http.StatusSeeOther {
				t.Errorf("try %d of %s in a known browser: %d", i+1, p.Name, status)
			}
		}
	}
	s.AwaitLog("that hashing is done by the server again", func(entry harness.LogEntry) bool {
		return strings.HasPrefix(entry.Text("msg"), "hashing passwords in the server's own process")
	})
	// Each of them is one of a thousand, and none waits before they try again.
	const strangers = 4
	in := 0
	for i := range strangers {
		for range 5 {
			if shown(s.Client(), bob, fmt.Sprintf("203.0.%d.2", i)) == http.StatusSeeOther {
				in++
				break
			}
		}
	}
	if in < strangers/2 {
		t.Errorf("%d of %d strangers with the right password got in", in, strangers)
	}
	// Hashes take nothing of what there is for requests.
	cores := runtime.GOMAXPROCS(0)
	if procs, want := (&busyServer{Server: s.Server}).metrics(t)["go_sched_gomaxprocs_threads"], cores+max(1, min(cores-1, 4)); procs != float64(want) {
		t.Errorf("GOMAXPROCS is %v on %d cores, want %d", procs, cores, want)
	}
	if used := residentMemory(t, s); used+float64(ofHashing) > 512<<20 {
		t.Errorf("the server takes %d MiB, and hashing %d MiB beside it", int(used)>>20, ofHashing>>20)
	}
	if statuses := stop(); statuses[http.StatusServiceUnavailable] == 0 || statuses[http.StatusUnprocessableEntity] == 0 {
		t.Errorf("the flood was answered %v", statuses)
	}
	// Being busy is no error, and says so a hundred times a minute at most.
	told := 0
	for _, entry := range s.LogEntries() {
		switch {
		case entry.Text("level") == "error" && entry.Text("logger") == "mfa.portal":
			t.Errorf("an error was logged: %v", entry)
		case strings.HasPrefix(entry.Text("msg"), "refusing a sign-in"):
			told++
		}
	}
	if told == 0 || time.Since(began) < time.Minute && told > 100 {
		t.Errorf("%d lines say that the server is busy", told)
	}
}
