package test

import (
	"fmt"
	"net/http"
	"slices"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// BenchmarkFlood measures what a flood of wrong passwords costs others: how
// long requests of somebody who is signed in take beside their quiet value,
// how many people with the right password get in at the first try, and how much
// memory the server takes.
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
	s := scene.Start(b, scene.Options{Caddyfile: behindProxy, NoDebugLog: true})
	ada, bob := s.Administrator("ada"), s.Invited("bob")
	ada.Browser.Visit(s.At("app", "/"))
	bob.Browser.Follow(bob.Browser.Submit(bob.Browser.Visit(s.At("login", "/sign-out")).Form(), nil))
	p99Of(b, s, ada) // by then memory of setting up has been given back
	quiet := p99Of(b, s, ada)
	b.ReportMetric(megabytes(b, s), "MB-quiet")
	stop := flood(b, s, rate, ofManyNetworks)
	p99Of(b, s, ada) // by then the queue is full
	b.ReportMetric(p99Of(b, s, ada)/quiet, "p99/quiet")
	b.ReportMetric(megabytes(b, s), "MB-flood")
	const people = 12
	known, strangers := 0.0, 0.0
	for i := range people {
		g := guess{name: bob.Name, password: bob.Password, address: fmt.Sprintf("203.0.%d.2", i)}
		for browser, in := range map[*harness.Client]*float64{bob.Browser: &known, s.Client(): &strangers} {
			page, err := browser.Send(g.asRequest(s))
			if err != nil {
				b.Fatal(err)
			}
			if page.Status == http.StatusSeeOther {
				*in++
			}
		}
	}
	stop()
	p99Of(b, s, ada)
	b.ReportMetric(megabytes(b, s), "MB-after")
	b.ReportMetric(known/people, "known-in")
	b.ReportMetric(strangers/people, "strangers-in")
}

// p99Of returns within how many seconds 99 of 100 requests of somebody who is
// signed in are answered, who sends one every 20 milliseconds.
func p99Of(b *testing.B, s *scene.Scene, p *scene.Person) float64 {
	const requests = 400
	took := make([]float64, requests)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for i := range took {
		<-ticker.C
		began := time.Now()
		page, err := p.Browser.Send(harness.Request{Method: http.MethodGet, URL: s.At("app", "/")})
		if err != nil || page.Status != http.StatusOK {
			b.Fatalf("%+v, %v", page, err)
		}
		took[i] = time.Since(began).Seconds()
	}
	slices.Sort(took)
	return took[requests*99/100]
}

func megabytes(b *testing.B, s *scene.Scene) float64 { return residentMemory(b, s) / (1 << 20) }
