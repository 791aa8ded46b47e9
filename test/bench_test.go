package test

import (
	"cmp"
	"fmt"
	"math"
	"slices"
	"strings"
	"testing"
	"time"
)

const (
	// perPhase is how many requests one phase of a round sends, and perProfile
	// for how long a profile is taken in each round.
	perPhase   = 5_000
	perProfile = 2 * time.Second
	// mostVisited is how many sign-ons are seen before the rounds of a
	// population: more than any cache of the server holds. mostWarmed is how
	// many of them are seen again in each way of a case.
	mostVisited, mostWarmed = 120_000, 10_000
)

// BenchmarkServer measures what the gate costs the whole server, with
// everything on, against reverse_proxy alone. One iteration is one round: bare,
// gated, bare again, and a profile of the gated site. The figures are medians
// over the rounds; those named null compare bare with bare, and say how much of
// the others is chance. docs/performance.md tells more.
//
//   - allocs/op-over-bare, allocs/op-bare: objects that the server allocated
//   - cpu-ratio, rate-ratio, p99-ratio: gated over bare
//   - profile-%: the share of the server's processor time that is ours
//   - B/sign-on: what memory grew by for each sign-on that was seen
//
// With -short there are no million sign-ons.
func BenchmarkServer(b *testing.B) {
	populations := []int{1, 10_000, 1_000_000}
	if testing.Short() {
		populations = populations[:2]
	}
	s := startBusy(b, slices.Max(populations))
	var table strings.Builder
	table.WriteString(tableHead)
	for _, signOns := range populations {
		s.restart(b)
		grown := s.visit(b, min(signOns, mostVisited))
		for _, c := range casesFor(signOns) {
			name := fmt.Sprintf("sign-ons=%d/%s/%s", signOns, c.site, c.way.name)
			b.Run(name, func(b *testing.B) {
				measured := s.compare(b, c)
				measured.perSignOn = grown
				measured.report(b)
				table.WriteString(measured.row(c))
			})
		}
	}
	fmt.Printf("\n%s\n", table.String())
}

// benchCase is what one line of the results is about.
type benchCase struct {
	signOns int
	way     way
	site    string
}

// casesFor has the site without assertions only where tokens can't be cached:
// elsewhere it makes no difference.
func casesFor(signOns int) []benchCase {
	sites := []string{siteFull}
	if signOns > mostVisited {
		sites = append(sites, sitePlain)
	}
	var cases []benchCase
	for _, site := range sites {
		for _, w := range ways {
			cases = append(cases, benchCase{signOns, w, site})
		}
	}
	return cases
}

// comparison is what came of one case.
type comparison struct {
	allocsOver, allocsBare float64
	cpu, rate, p99         ratio
	profile                float64 // 0 to 1
	perSignOn              float64 // bytes; 0: not measured
}

// ratio is gated over bare, and beside it bare over bare.
type ratio struct{ value, null float64 }

// compare runs a benchmark's rounds and returns the medians.
func (s *busyServer) compare(b *testing.B, c benchCase) comparison {
	load := s.clients(b, c.way, c.site, c.signOns)
	load.send(b, siteBare, perPhase)
	load.sendEach(b, c.site, min(c.signOns, mostWarmed))
	load.send(b, c.site, perPhase)
	var rounds []round
	var total profile
	for b.Loop() {
		rounds = append(rounds, round{
			bare:  s.cost(b, load, siteBare, perPhase),
			gated: s.cost(b, load, c.site, perPhase),
			again: s.cost(b, load, siteBare, perPhase),
		})
		total = total.plus(s.profile(b, load, c.site))
	}
	median := func(of func(round) float64) float64 { return medianOf(rounds, of) }
	between := func(of func(cost) float64) ratio {
		return ratio{
			value: median(func(r round) float64 { return 2 * of(r.gated) / (of(r.bare) + of(r.again)) }),
			null:  median(func(r round) float64 { return of(r.again) / of(r.bare) }),
		}
	}
	return comparison{
		allocsOver: median(round.allocsOver),
		allocsBare: median(func(r round) float64 { return r.bare.allocs }),
		cpu:        between(func(c cost) float64 { return c.cpu }),
		rate:       between(func(c cost) float64 { return c.rate }),
		p99:        between(func(c cost) float64 { return c.p99 }),
		profile:    total.share(),
	}
}

// round is the cost of one request at each phase of a round.
type round struct{ bare, gated, again cost }

func (r round) allocsOver() float64 { return r.gated.allocs - (r.bare.allocs+r.again.allocs)/2 }

func medianOf[T any](rounds []T, of func(T) float64) float64 {
	values := make([]float64, len(rounds))
	for i, r := range rounds {
		values[i] = of(r)
	}
	slices.Sort(values)
	return (values[(len(values)-1)/2] + values[len(values)/2]) / 2
}

func (c comparison) report(b *testing.B) {
	b.ReportMetric(0, "ns/op") // of a round, which nobody asks for
	b.ReportMetric(c.allocsOver, "allocs/op-over-bare")
	b.ReportMetric(c.allocsBare, "allocs/op-bare")
	b.ReportMetric(c.cpu.value, "cpu-ratio")
	b.ReportMetric(c.cpu.null, "cpu-ratio-null")
	b.ReportMetric(c.rate.value, "rate-ratio")
	b.ReportMetric(c.rate.null, "rate-ratio-null")
	b.ReportMetric(c.p99.value, "p99-ratio")
	b.ReportMetric(c.p99.null, "p99-ratio-null")
	b.ReportMetric(100*c.profile, "profile-%")
	if c.perSignOn > 0 {
		b.ReportMetric(c.perSignOn, "B/sign-on")
	}
}

// tableHead and row make the table of docs/performance.md.
const tableHead = `| sign-ons | site | over | allocations over bare | of bare | profile | CPU (null) | throughput (null) | p99 (null) | bytes a sign-on |
| ---: | --- | --- | ---: | ---: | ---: | ---: | ---: | ---: | ---: |
`

func (c comparison) row(of benchCase) string {
	memory := "–"
	if c.perSignOn > 0 {
		memory = fmt.Sprintf("%.0f", c.perSignOn)
	}
	return fmt.Sprintf("| %d | %s | %s | %.1f | %.1f | %.1f %% | %s | %s | %s | %s |\n",
		of.signOns, siteTitles[of.site], of.way.title, noMinusZero(c.allocsOver), c.allocsBare, 100*c.profile, c.cpu, c.rate, c.p99, memory)
}

// String implements fmt.Stringer.
func (r ratio) String() string { return fmt.Sprintf("%.2f (%.2f)", r.value, r.null) }

// noMinusZero rounds to what is printed, and leaves no sign at zero.
func noMinusZero(f float64) float64 { return cmp.Or(math.Round(f*10)/10, 0) }

// visit has the first sign-ons seen by the server, each once, and returns by
// how many bytes its memory grew for each; 0 where that would say nothing.
func (s *busyServer) visit(b *testing.B, signOns int) float64 {
	b.Helper()
	load := s.clients(b, ways[0], siteFull, signOns)
	load.send(b, siteBare, perPhase)
	before := s.heap(b)
	load.sendEach(b, siteFull, signOns)
	if signOns == 1 {
		return 0
	}
	return (s.heap(b) - before) / float64(signOns)
}
