package test

import (
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// cost is what one request cost, on average over a phase.
type cost struct {
	allocs float64 // objects that the server allocated
	cpu    float64 // seconds of processor time that the server took
	rate   float64 // requests a second, over all clients
	p99    float64 // seconds that 99 of 100 were answered within, at the client
}

// cost sends requests to a site.
func (s *busyServer) cost(t testing.TB, l *load, site string, requests int) cost {
	t.Helper()
	before := s.metrics(t)
	result := l.send(t, site, requests)
	after := s.metrics(t)
	per := func(metric string) float64 { return (after[metric] - before[metric]) / float64(requests) }
	return cost{
		allocs: per("go_memstats_mallocs_total"), cpu: per("process_cpu_seconds_total"),
		rate: float64(requests) / result.took.Seconds(),
		p99:  result.latencies[requests*99/100].Seconds(),
	}
}

// metrics returns the server's metrics that have no labels.
func (s *busyServer) metrics(t testing.TB) map[string]float64 {
	t.Helper()
	text, err := s.AdminGet("/metrics")
	if err != nil {
		t.Fatal(err)
	}
	found := make(map[string]float64)
	for line := range strings.Lines(text) {
		name, value, _ := strings.Cut(strings.TrimSpace(line), " ")
		if number, err := strconv.ParseFloat(value, 64); err == nil {
			found[name] = number
		}
	}
	return found
}

// heap returns how many bytes the server holds on to.
func (s *busyServer) heap(t testing.TB) float64 {
	t.Helper()
	// What a first collection finds unused in pools goes with the second.
	for range 2 {
		if _, err := s.AdminGet("/debug/pprof/heap?gc=1"); err != nil {
			t.Fatal(err)
		}
	}
	return s.metrics(t)["go_memstats_heap_alloc_bytes"]
}

// profile is processor time, and how much of it was ours.
type profile struct{ ours, all time.Duration }

func (p profile) plus(q profile) profile { return profile{p.ours + q.ours, p.all + q.all} }

func (p profile) share() float64 { return float64(p.ours) / float64(p.all) }

// profile takes a profile of the server while requests go to a site.
func (s *busyServer) profile(t testing.TB, l *load, site string) profile {
	t.Helper()
	var taking sync.WaitGroup
	taken := make(chan struct{})
	file := filepath.Join(t.TempDir(), "cpu")
	var failure error
	taking.Go(func() {
		defer close(taken)
		failure = fetchProfile(s.Server, file)
	})
	l.sendWhile(t, site, func(int) (int, bool) {
		select {
		case <-taken:
			return 0, false
		default:
			return rand.IntN(l.signOns), true
		}
	})
	taking.Wait()
	if failure != nil {
		t.Fatal(failure)
	}
	traces, err := exec.Command("go", "tool", "pprof", "-traces", "-unit", "us", file).Output()
	if err != nil {
		t.Fatalf("reading the profile: %v", err)
	}
	return sumUp(string(traces))
}

func fetchProfile(s *harness.Server, file string) error {
	response, err := http.Get(fmt.Sprintf("http://%s/debug/pprof/profile?seconds=%d", s.Admin(), int(perProfile.Seconds())))
	if err != nil {
		return err
	}
	defer func() { _ = response.Body.Close() }()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode != http.StatusOK {
		err = fmt.Errorf("taking a profile: %s: %s", response.Status, content)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(file, content, 0o600)
}

// sumUp adds up the stacks that `go tool pprof -traces` prints: after a line of
// dashes the time and the innermost function, then one caller a line. It leaves
// out the writing down of activity, which comes once a minute: by chance a
// profile has one or none. BenchmarkTouchSignOns measures it.
func sumUp(traces string) profile {
	var sum profile
	for block := range strings.SplitSeq(traces, "-----------+") {
		_, block, _ = strings.Cut(block, "\n")
		block = strings.TrimSpace(block)
		value, rest, _ := strings.Cut(block, " ")
		took, err := time.ParseDuration(value)
		if err != nil {
			continue // what stands before the first stack
		}
		var stack []string
		for line := range strings.Lines(rest) {
			stack = append(stack, strings.TrimSpace(line))
		}
		if within(stack, writingDown) {
			continue
		}
		sum.all += took
		if isOurs(stack) {
			sum.ours += took
		}
	}
	return sum
}

// isOurs reports whether a stack, innermost function first, is work of ours.
//
// All that the gate does itself is: it stands on the stack, but reverse_proxy,
// which it calls, doesn't. So are the reads of the store and the upkeep of
// caches, which run on goroutines of their own. While an app's response passes
// the gate's guard, on the other hand, what the guard calls is mostly the server
// writing: there only the guard's own code is ours, with what it has the runtime
// do. Neither is the growth of a goroutine's stack, which is paid by whoever
// comes first to where it is too small: reverse_proxy goes deeper than the gate.
// Collecting garbage is nobody's in a profile; the allocations say it.
func isOurs(stack []string) bool {
	if within(stack, stackGrowth) {
		return false
	}
	if !within(stack, proxyPackage) {
		return within(stack, modulePath) || within(stack, cachePackage) || within(stack, storePackage)
	}
	for _, function := range stack {
		if !isRuntime(function) {
			return strings.HasPrefix(function, modulePath)
		}
	}
	return false
}

const (
	proxyPackage = "github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy."
	cachePackage = "github.com/maypok86/otter/v2"
	storePackage = "modernc.org/sqlite"
	stackGrowth  = "runtime.newstack"
	writingDown  = modulePath + "/session.(*Keeper).Flush"
)

func within(stack []string, begins string) bool {
	return slices.ContainsFunc(stack, func(function string) bool { return strings.HasPrefix(function, begins) })
}

// isRuntime reports whether a function is of those that code calls without
// naming them, or compares texts by.
func isRuntime(function string) bool {
	return slices.ContainsFunc([]string{
		"runtime.", "internal/", "strings.", "aeshashbody", "memeqbody", "indexbytebody", "cmpbody",
	}, func(begins string) bool { return strings.HasPrefix(function, begins) })
}
