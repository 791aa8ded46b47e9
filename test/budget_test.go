package test

import (
	"math"
	"os"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// TestAllocationBudget holds what a gate with everything on may allocate for a
// request of somebody who is signed in, over what reverse_proxy allocates by
// itself. Other work of the server only ever adds to either, so the lowest of
// some rounds counts, and of more of them where the machine is busy.
func TestAllocationBudget(t *testing.T) {
	if os.Getenv(harness.EnvRace) == "1" {
		t.Skip("the race detector empties pools at random")
	}
	const rounds, mostRounds, requests = 4, 16, 2_000
	// They are below zero: behind a gate, reverse_proxy prepares no headers for a
	// log that doesn't take them.
	budgets := map[string]float64{"http1": -25, "http2+tls": -25}
	// Collections empty the pools of whoever they meet; a few do less of it.
	s := startBusy(t, 1, "GOGC=2000")
	for _, w := range ways {
		t.Run(w.name, func(t *testing.T) {
			l := s.clients(t, w, siteFull, 1)
			l.send(t, siteBare, requests)
			l.send(t, siteFull, requests)
			bare, gated, budget := math.Inf(1), math.Inf(1), budgets[w.name]
			for round := 0; round < rounds || round < mostRounds && gated-bare > budget; round++ {
				bare = min(bare, s.cost(t, l, siteBare, requests).allocs)
				gated = min(gated, s.cost(t, l, siteFull, requests).allocs)
			}
			t.Logf("%.1f allocations, %.1f over reverse_proxy alone", gated, gated-bare)
			if gated-bare > budget {
				t.Errorf("%.1f allocations over reverse_proxy alone, not %.0f at most", gated-bare, budget)
			}
		})
	}
}

// TestProfileShare holds what counts as ours in a profile.
func TestProfileShare(t *testing.T) {
	const gate, proxy = "             " + modulePath + "/gate.(*Gate).ServeHTTP\n", "             " + proxyPackage + "(*Handler).ServeHTTP\n"
	for name, c := range map[string]struct {
		stack string // innermost first
		ours  bool
	}{
		"the gate itself":                {"    30000us   runtime.mallocgc\n" + gate, true},
		"a read of the store":            {"    30000us   syscall.Pread (inline)\n             " + storePackage + "/lib.seekAndRead\n", true},
		"the app's answer":               {"    30000us   internal/runtime/syscall.Syscall6\n             net.(*conn).Write\n" + proxy + gate, false},
		"the guard around the answer":    {"    30000us   runtime.mapIterNext\n             " + modulePath + "/gate.(*responseGuard).WriteHeader\n" + proxy + gate, true},
		"what the guard lets through":    {"    30000us   runtime.memmove\n             bufio.(*Writer).Write\n             " + modulePath + "/gate.(*responseGuard).Write\n" + proxy + gate, false},
		"a stack that grows":             {"    30000us   runtime.adjustframe\n             runtime.newstack\n" + gate, false},
		"what is none of our business":   {"    30000us   runtime.gcBgMarkWorker\n", false},
		"what another site's proxy does": {"    30000us   runtime.mallocgc\n" + proxy, false},
	} {
		const line = "-----------+-------------------------------------------------------\n"
		got := sumUp("Type: cpu\nDuration: 2s, Total samples = 40000us ( 2.00%)\n" + line + "    10000us   runtime.futex\n" + line + c.stack)
		want := profile{all: 40 * time.Millisecond}
		if c.ours {
			want.ours = 30 * time.Millisecond
		}
		if got != want {
			t.Errorf("%s: %v, want %v", name, got, want)
		}
	}
}
