package test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// BenchmarkServer measures what a whole request costs the server, behind the
// gate and with reverse_proxy alone, by the allocations that the process
// itself reports. "bare again" is the null test: how far two measurements of
// the same thing lie apart.
func BenchmarkServer(b *testing.B) {
	s := scene.Start(b, scene.Options{Caddyfile: scene.Caddyfile + `
http://bare.localhost:{{.Port "web"}} {
	reverse_proxy {{.Vars.app}}
}
`})
	alice := s.Administrator("alice")
	if page := alice.Browser.Visit(s.At("app", "/")); page.Status != 200 {
		b.Fatalf("opening the app: %d %s", page.Status, page.Text())
	}
	cookie := "__Host-mfa=" + alice.Browser.Cookie(s.At("app", "/"), "__Host-mfa")
	for _, run := range []struct{ name, host string }{
		{"bare", "bare"}, {"gated", "app"}, {"bare again", "bare"}, {"gated again", "app"},
	} {
		b.Run(run.name, func(b *testing.B) { load(b, s, run.host+".localhost", cookie) })
	}
}

// load sends b.N requests over one connection at a time.
func load(b *testing.B, s *scene.Scene, host, cookie string) {
	request, err := http.NewRequest(http.MethodGet, "http://"+s.Addr("web")+"/wiki/page", nil)
	if err != nil {
		b.Fatal(err)
	}
	request.Host = host
	request.Header.Set("Cookie", cookie)
	send := func() {
		response, err := http.DefaultClient.Do(request)
		if err != nil {
			b.Fatal(err)
		}
		_, _ = io.Copy(io.Discard, response.Body)
		_ = response.Body.Close()
		if response.StatusCode != http.StatusOK {
			b.Fatalf("%s answered %d", host, response.StatusCode)
		}
	}
	for range 100 {
		send()
	}
	s.App.Reset()
	requests := 0
	before := mallocs(b, s.Server)
	for b.Loop() {
		send()
		if requests++; requests%1000 == 0 {
			s.App.Reset()
		}
	}
	b.ReportMetric(float64(mallocs(b, s.Server)-before)/float64(requests), "server-allocs/op")
}

// mallocs is how many objects the server has allocated since its start.
func mallocs(b *testing.B, s *harness.Server) uint64 {
	metrics, err := s.AdminGet("/metrics")
	if err != nil {
		b.Fatal(err)
	}
	for line := range strings.Lines(metrics) {
		if value, ok := strings.CutPrefix(line, "go_memstats_mallocs_total "); ok {
			n, err := strconv.ParseFloat(strings.TrimSpace(value), 64)
			if err != nil {
				b.Fatal(err)
			}
			return uint64(n)
		}
	}
	b.Fatal("the metrics name no allocations")
	return 0
}
