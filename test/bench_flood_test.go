package test

import (
	"fmt"
	"net/http"
	"os/exec"
	"slices"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// floodRounds is how often the phases of BenchmarkFlood take turns.
const floodRounds = 3

// besideFlood has a site beside the usual ones that answers a flood without
// doing anything for it.
var besideFlood = behindProxy + `
http://null.localhost:{{.Port "web"}} {
	respond 503
}
`

// BenchmarkFlood measures what a flood of wrong passwords costs others: how
// long requests of somebody who is signed in take, how many people with the
// right password get in at the first try, and how much memory the server takes.
//
// Clients and server share the machine, so a flood slows requests down for
// being sent and received, too. Four phases take turns, so that other work on
// the machine is spread over them: quiet; a flood that a site answers without any
// work; the same while another process keeps a core busy, as hashing does; and
// the flood of passwords.
func BenchmarkFlood(b *testing.B) {
	for _, rate := range []int{15, 150, 1000} {
		b.Run(fmt.Sprintf("%d a second", rate), func(b *testing.B) {
			for range b.N {
				measureFlood(b, rate)
			}
		})
	}
}

func measureFlood(b *testing.B, rate int) {
	s := scene.Start(b, scene.Options{Caddyfile: besideFlood, NoDebugLog: true})
	ada, bob := s.Administrator("ada"), s.Invited("bob")
	ada.Browser.Visit(s.At("app", "/"))
	bob.Browser.Follow(bob.Browser.Submit(bob.Browser.Visit(s.At("login", "/sign-out")).Form(), nil))
	phases := []*floodPhase{
		{name: "quiet"},
		{name: "null", flood: s.At("null", "/sign-in")},
		{name: "busy", flood: s.At("null", "/sign-in"), busy: true},
		{name: "flood", flood: s.At("login", "/sign-in")},
	}
	known, strangers := 0.0, 0.0
	for round := range floodRounds {
		for _, phase := range phases {
			phase.run(b, s, ada, rate, func() {
				if phase.name == "flood" {
					in := tryToSignIn(b, s, bob, round)
					known, strangers = known+in[0], strangers+in[1]
				}
			})
		}
	}
	for _, phase := range phases {
		phase.report(b)
	}
	quiet, busy, flooded := phases[0], phases[2], phases[3]
	for _, percent := range []int{50, 90, 99} {
		name := fmt.Sprintf("p%d", percent)
		b.ReportMetric(flooded.within(percent)/quiet.within(percent), name+"-flood/quiet")
		b.ReportMetric(flooded.within(percent)/busy.within(percent), name+"-flood/busy")
	}
	b.ReportMetric(known/floodRounds, "known-in")
	b.ReportMetric(strangers/floodRounds, "strangers-in")
}

// floodPhase is what is measured while one kind of flood comes, or none.
type floodPhase struct {
	name  string
	flood string // where it is sent; empty: there is none
	busy  bool   // whether another process keeps a core busy meanwhile

	took         []float64 // seconds, by each request of somebody who is signed in
	lasted       float64   // seconds
	sent         float64
	server, here float64 // seconds of processor time
	memory       float64 // the most, in MB
}

// run lets the flood come, waits until it has filled what it fills, measures,
// and then does what else is to be done while it comes.
func (p *floodPhase) run(b *testing.B, s *scene.Scene, who *scene.Person, rate int, meanwhile func()) {
	stop := func() map[int]int { return nil }
	if p.flood != "" {
		stop = flood(b, p.flood, rate, ofManyNetworks)
	}
	if p.busy {
		loop := exec.Command("sh", "-c", "while :; do :; done")
		if err := loop.Start(); err != nil {
			b.Fatal(err)
		}
		defer func() {
			_ = loop.Process.Kill()
			_ = loop.Wait() // it was killed
		}()
	}
	requestsOf(b, s, who, 100)
	server, here, began := serverTime(b, s), ownTime(b), time.Now()
	p.took = append(p.took, requestsOf(b, s, who, 300)...)
	p.lasted += time.Since(began).Seconds()
	p.server += serverTime(b, s) - server
	p.here += ownTime(b) - here
	p.memory = max(p.memory, residentMemory(b, s)/(1<<20))
	meanwhile()
	for _, answers := range stop() {
		p.sent += float64(answers)
	}
}

func (p *floodPhase) report(b *testing.B) {
	b.ReportMetric(1e3*p.within(50), "ms-p50-"+p.name)
	b.ReportMetric(1e3*p.within(99), "ms-p99-"+p.name)
	b.ReportMetric(p.server/p.lasted, "cores-server-"+p.name)
	b.ReportMetric(p.here/p.lasted, "cores-clients-"+p.name)
	b.ReportMetric(p.memory, "MB-"+p.name)
}

// within returns in how many seconds so many of a hundred requests were answered.
func (p *floodPhase) within(percent int) float64 {
	slices.Sort(p.took)
	return p.took[(len(p.took)-1)*percent/100]
}

// requestsOf sends so many requests of somebody who is signed in, one every ten
// milliseconds whether or not the ones before were answered, and returns how
// many seconds each took.
func requestsOf(b *testing.B, s *scene.Scene, p *scene.Person, requests int) []float64 {
	took := make([]float64, requests)
	ticker := time.NewTicker(10 * time.Millisecond)
	defer ticker.Stop()
	var sending sync.WaitGroup
	for i := range took {
		<-ticker.C
		sending.Go(func() {
			began := time.Now()
			page, err := p.Browser.Send(harness.Request{Method: http.MethodGet, URL: s.At("app", "/")})
			took[i] = time.Since(began).Seconds()
			if err != nil || page.Status != http.StatusOK {
				b.Errorf("%+v, %v", page, err)
			}
		})
	}
	sending.Wait()
	return took
}

// tryToSignIn has two people with the right password try once in a known browser,
// and twice as strangers, and returns the shares that got in.
func tryToSignIn(b *testing.B, s *scene.Scene, p *scene.Person, round int) [2]float64 {
	var in [2]float64
	const people = 2
	for i := range people {
		g := guess{name: p.Name, password: p.Password, address: fmt.Sprintf("203.0.%d.2", round*people+i)}
		for kind, browser := range []*harness.Client{p.Browser, s.Client()} {
			page, err := browser.Send(g.asRequest(s))
			if err != nil {
				b.Fatal(err)
			}
			if page.Status == http.StatusSeeOther {
				in[kind] += 1.0 / people
			}
		}
	}
	return in
}

// serverTime is how many seconds of processor time the server has taken.
func serverTime(b *testing.B, s *scene.Scene) float64 {
	return (&busyServer{Server: s.Server}).metrics(b)["process_cpu_seconds_total"]
}

// ownTime is how many seconds of processor time this process has taken.
func ownTime(b *testing.B) float64 {
	var used syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano()).Seconds()
}
