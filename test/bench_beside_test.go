package test

import (
	"bufio"
	"bytes"
	"cmp"
	"fmt"
	"io"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/crypto/bcrypt"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// besideCaddyfile is a Caddy without mfa: the app by itself, and behind what
// Caddy has in place of a gate.
const besideCaddyfile = `
http://bare.localhost:{{.Port "bare"}} {
	reverse_proxy {{.Vars.app}}
}

http://basic.localhost:{{.Port "basic"}} {
	basic_auth {
		alice {{.Vars.hash}}
	}
	reverse_proxy {{.Vars.app}}
}

http://forward.localhost:{{.Port "forward"}} {
	forward_auth {{.Vars.verifier}} {
		uri /verify
		copy_headers Remote-User Remote-Name Remote-Email Remote-Groups
	}
	reverse_proxy {{.Vars.app}}
}
`

const (
	// besideConnections are open at once, each with one request under way, and
	// besidePhase is how many requests one phase sends over all of them.
	besideConnections, besidePhase = 32, 1_000
	// besideRounds is how many rounds one iteration has: short ones, so that what
	// else the machine does meets all contestants alike.
	besideRounds = 9
	// besideSignOns take turns.
	besideSignOns = 320
)

// EnvBeside names more builds of this program that take part in BenchmarkBeside,
// such as one from before a change: NAME=FILE, separated by commas.
const EnvBeside = "PORTCULLIS_BESIDE"

// contestant is one site, with the requests that are sent to it.
type contestant struct {
	name     string
	server   *harness.Server
	address  string
	requests [][]byte  // sent in turn
	spent    []float64 // seconds of processor time for one request, by round
}

// BenchmarkBeside compares the processor time that one request takes of a server
// with a gate, and of Caddy's own basic_auth and forward_auth, with that of
// reverse_proxy alone, in a process that has no mfa. All get the same requests,
// cookies included. Bare takes part twice, and each over the other is the null
// test. docs/performance.md tells more.
func BenchmarkBeside(b *testing.B) {
	contestants := besideContestants(b)
	for i := range contestants {
		contestants[i].warm(b)
	}
	for b.Loop() {
		for round := range besideRounds {
			for i := range contestants {
				c := &contestants[(i+round)%len(contestants)]
				c.spent = append(c.spent, c.send(b, besidePhase))
			}
		}
	}
	b.ReportMetric(0, "ns/op") // of an iteration, which nobody asks for
	var table strings.Builder
	table.WriteString(besideHead)
	for i := range contestants {
		ratios := besideBare(contestants, i)
		b.ReportMetric(ratios[len(ratios)/2], contestants[i].name+"-ratio")
		table.WriteString(contestants[i].row(ratios))
	}
	fmt.Printf("\n%s\n", table.String())
}

// besideBare returns a contestant's processor time over that of the bare ones in
// the same round, in ascending order. Each of the bare ones is held against the
// other.
func besideBare(contestants []contestant, at int) []float64 {
	ratios := make([]float64, len(contestants[at].spent))
	for round := range ratios {
		base := (contestants[0].spent[round] + contestants[1].spent[round]) / 2
		if at < 2 {
			base = contestants[1-at].spent[round]
		}
		ratios[round] = contestants[at].spent[round] / base
	}
	slices.Sort(ratios)
	return ratios
}

// besideHead and row make the table of docs/performance.md.
const besideHead = `| site | CPU a request | of bare | half of the rounds | all rounds |
| --- | ---: | ---: | ---: | ---: |
`

func (c *contestant) row(ratios []float64) string {
	last := len(ratios) - 1
	return fmt.Sprintf("| %s | %.0f µs | %.2f | %.2f to %.2f | %.2f to %.2f |\n", c.name,
		1e6*medianOf(c.spent, func(seconds float64) float64 { return seconds }), ratios[last/2+last%2],
		ratios[last/4], ratios[last-last/4], ratios[0], ratios[last])
}

// besideContestants are the sites that are compared. The first two are bare.
func besideContestants(b *testing.B) []contestant {
	b.Helper()
	vars := map[string]string{"app": startApp(b), "verifier": startVerifier(b), "hash": hashOf(b, besidePassword)}
	caddy := harness.Start(b, harness.Options{NoDebugLog: true, Caddyfile: besideCaddyfile, Vars: vars, Env: onOneCore})
	gated := startBusyWith(b, besideSignOns, harness.Options{Vars: vars, Env: onOneCore})
	pin(b, caddy)
	pin(b, gated.Server)
	site := func(name, site string, header http.Header) contestant {
		return contestant{name: name, server: caddy, address: caddy.Addr(site), requests: gated.requests(b, site, caddy.Addr(site), siteGated, header)}
	}
	all := []contestant{
		site("bare", "bare", nil), site("bare-again", "bare", nil),
		site("basic_auth", "basic", http.Header{"Authorization": {basicAuthorization}}),
		site("forward_auth", "forward", nil),
		gated.contestant(b, "mfa", siteGated), gated.contestant(b, "everything-on", siteFull),
	}
	if incumbent := os.Getenv(EnvCaddySecurity); incumbent != "" {
		all = append(all, startCaddySecurity(b, incumbent, vars))
	}
	for another := range strings.SplitSeq(os.Getenv(EnvBeside), ",") {
		name, file, named := strings.Cut(another, "=")
		if !named {
			continue
		}
		other := startBusyWith(b, besideSignOns, harness.Options{Vars: vars, Env: onOneCore, Binary: file})
		pin(b, other.Server)
		all = append(all, other.contestant(b, "mfa-"+name, siteGated), other.contestant(b, "everything-on-"+name, siteFull))
	}
	return all
}

func (s *busyServer) contestant(b *testing.B, name, site string) contestant {
	address := s.Addr(site + " http")
	return contestant{name: name, server: s.Server, address: address, requests: s.requests(b, site, address, site, nil)}
}

// requests are what the browsers of all sign-ons send to a site at an address, as
// they go over the wire, with the cookies of one site.
func (s *busyServer) requests(b *testing.B, site, address, cookies string, header http.Header) [][]byte {
	b.Helper()
	var all [][]byte
	for i := range besideSignOns {
		cookie, err := s.cookieHeader(i, cookies)
		if err != nil {
			b.Fatal(err)
		}
		all = append(all, requestOf(b, site, address, cookie, header))
	}
	return all
}

// requestOf is what a browser sends to a site, as it goes over the wire.
func requestOf(b *testing.B, site, address, cookie string, header http.Header) []byte {
	b.Helper()
	r := httptest.NewRequest(http.MethodGet, "http://"+site+".localhost/wiki/page?id=7", nil)
	r.Host += address[strings.LastIndexByte(address, ':'):]
	r.Header = browserHeader.Clone()
	maps.Copy(r.Header, header)
	r.Header.Set("Cookie", cookie)
	var written bytes.Buffer
	if err := r.Write(&written); err != nil {
		b.Fatal(err)
	}
	return written.Bytes()
}

const besidePassword = "correct horse battery staple"

var basicAuthorization = func() string {
	r := http.Request{Header: make(http.Header)}
	r.SetBasicAuth("alice", besidePassword)
	return r.Header.Get("Authorization")
}()

func hashOf(b *testing.B, password string) string {
	b.Helper()
	// Caddy remembers which passwords were right, so the cost doesn't matter.
	hash, err := bcrypt.GenerateFromPassword([]byte(password), bcrypt.MinCost)
	if err != nil {
		b.Fatal(err)
	}
	return string(hash)
}

// startVerifier starts what says of everybody that they are alice.
func startVerifier(b *testing.B) string {
	verifier := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header()["Remote-User"] = []string{"alice"}
		w.Header()["Remote-Name"] = []string{"Alice Example"}
		w.Header()["Remote-Email"] = []string{"alice@example.com"}
		w.Header()["Remote-Groups"] = []string{"engineers,on-call,wiki"}
	}))
	b.Cleanup(verifier.Close)
	return verifier.Listener.Addr().String()
}

// onOneCore is the environment of a server that is to have one core of its own.
var onOneCore = []string{"GOMAXPROCS=1"}

// pin keeps a server on the first core and the clients and the app on the
// others, as far as the system lets it.
func pin(b *testing.B, s *harness.Server) {
	if runtime.NumCPU() < 2 {
		return
	}
	for _, to := range []struct {
		cores string
		id    int
	}{{"0", s.PID()}, {fmt.Sprintf("1-%d", runtime.NumCPU()-1), os.Getpid()}} {
		if out, err := exec.Command("taskset", "-acp", to.cores, strconv.Itoa(to.id)).CombinedOutput(); err != nil {
			b.Logf("nothing is pinned to a core: %v: %s", err, out)
		}
	}
}

// warm has the site seen by everybody, twice, before anything is measured.
func (c *contestant) warm(b *testing.B) {
	b.Helper()
	c.send(b, 2*len(c.requests))
	c.send(b, besidePhase)
}

// send sends requests over fresh connections, and returns how many seconds of
// processor time each took of the server.
func (c *contestant) send(b *testing.B, requests int) float64 {
	b.Helper()
	lines := make([]*bufio.ReadWriter, besideConnections)
	for i := range lines {
		line, err := net.Dial("tcp", c.address)
		if err != nil {
			b.Fatal(err)
		}
		defer func() { _ = line.Close() }()
		lines[i] = bufio.NewReadWriter(bufio.NewReader(line), bufio.NewWriter(line))
		if err := c.exchange(lines[i], i); err != nil { // its connection is set up
			b.Fatal(err)
		}
	}
	before := spentBy(b, c.server.PID())
	var sending sync.WaitGroup
	var next atomic.Int64
	var failure atomic.Pointer[error]
	for _, line := range lines {
		sending.Go(func() {
			for i := next.Add(1); i <= int64(requests); i = next.Add(1) {
				if err := c.exchange(line, int(i)); err != nil {
					failure.Store(&err)
					return
				}
			}
		})
	}
	sending.Wait()
	if err := failure.Load(); err != nil {
		b.Fatalf("%s: %v", c.name, *err)
	}
	return (spentBy(b, c.server.PID()) - before).Seconds() / float64(requests)
}

func (c *contestant) exchange(line *bufio.ReadWriter, turn int) error {
	_, err := line.Write(c.requests[turn%len(c.requests)])
	if err = cmp.Or(err, line.Flush()); err != nil {
		return err
	}
	response, err := http.ReadResponse(line.Reader, nil)
	if err != nil {
		return err
	}
	body, err := io.Copy(io.Discard, response.Body)
	if err == nil && (response.StatusCode != http.StatusOK || body < 1000) {
		err = fmt.Errorf("%d with %d bytes", response.StatusCode, body)
	}
	return err
}

// spentBy returns the processor time that a process has spent, to the
// nanosecond (Linux: sched-stats.txt). Go ends no threads while it serves.
func spentBy(b *testing.B, process int) time.Duration {
	b.Helper()
	threads, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/schedstat", process))
	if err != nil || len(threads) == 0 {
		b.Skip("the processor time of a process can't be read here")
	}
	var sum time.Duration
	for _, thread := range threads {
		content, err := os.ReadFile(thread)
		if err != nil {
			b.Fatal(err)
		}
		spent, _, _ := strings.Cut(string(content), " ")
		nanoseconds, err := strconv.ParseInt(spent, 10, 64)
		if err != nil {
			b.Fatal(err)
		}
		sum += time.Duration(nanoseconds)
	}
	return sum
}
