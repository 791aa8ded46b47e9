package test

import (
	"crypto/tls"
	"fmt"
	"io"
	"net/http"
	"path/filepath"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// handshakeCaddyfile has one app behind a gate that devices pass by their
// certificates, behind Caddy's own check of certificates, and behind TLS alone.
const handshakeCaddyfile = `
{
	skip_install_trust
	auto_https disable_redirects
	servers {
		protocols h1 h2
	}
	mfa {
		portal https://login.localhost:{{.Port "web"}}
		admins group admins
		certificate {
			trust_pool file {{.Vars.ca}}
			map subject CN
		}
	}
}

https://login.localhost:{{.Port "web"}} {
	tls internal
	mfa_portal
}

https://gated.localhost:{{.Port "web"}} {
	tls internal {
		client_auth {
			mode request
		}
	}
	mfa
	reverse_proxy {{.Vars.app}}
}

https://mutual.localhost:{{.Port "web"}} {
	tls internal {
		client_auth {
			mode require_and_verify
			trust_pool file {{.Vars.ca}}
		}
	}
	reverse_proxy {{.Vars.app}}
}

https://bare.localhost:{{.Port "web"}} {
	tls internal
	reverse_proxy {{.Vars.app}}
}
`

const (
	// handshakesPerPhase is how many connections one phase of a round makes, by
	// so many clients at once.
	handshakesPerPhase, handshakeClients = 1_000, 8
)

// BenchmarkHandshakes makes a new TLS connection for each request: with a
// certificate that the gate looks at, with one that Caddy itself checks, and
// with none. One iteration is one round of the three, and the figures are
// medians over the rounds; docs/performance.md tells more.
//
//   - handshakes/s, handshakes/s-caddy, handshakes/s-bare
//   - ratio-caddy: of the gate's rate over that of Caddy's own check
func BenchmarkHandshakes(b *testing.B) {
	ca := newCertifier(b, "Company CA")
	file := filepath.Join(b.TempDir(), "ca.pem")
	writePEM(b, file, "CERTIFICATE", ca.certificate.Raw)
	s := scene.Start(b, scene.Options{Caddyfile: handshakeCaddyfile, Scheme: "https", Vars: map[string]string{"ca": file}})
	s.Administrator("alice")
	laptop := ca.device("alice", nil)
	rates := map[string][]float64{}
	sites := []string{"gated", "mutual", "bare"}
	for _, site := range sites {
		handshakes(b, s, site, laptop)
	}
	for b.Loop() {
		for _, site := range sites {
			rates[site] = append(rates[site], handshakes(b, s, site, laptop))
		}
	}
	median := func(site string) float64 {
		return medianOf(rates[site], func(rate float64) float64 { return rate })
	}
	b.ReportMetric(0, "ns/op") // of a round, which nobody asks for
	b.ReportMetric(median("gated"), "handshakes/s")
	b.ReportMetric(median("mutual"), "handshakes/s-caddy")
	b.ReportMetric(median("bare"), "handshakes/s-bare")
	b.ReportMetric(median("gated")/median("mutual"), "ratio-caddy")
}

// handshakes asks a site over connections that serve one request each, and
// returns how many of them there were in a second.
func handshakes(b *testing.B, s *scene.Scene, site string, certificate tls.Certificate) float64 {
	b.Helper()
	address := s.At(site, "/")
	var clients sync.WaitGroup
	failed := make(chan error, handshakeClients)
	began := time.Now()
	for range handshakeClients {
		browser := s.Client().ShowingHTTP1(certificate)
		browser.Transport().DisableKeepAlives = true
		clients.Go(func() {
			for range handshakesPerPhase / handshakeClients {
				if err := fetchOnce(browser, address); err != nil {
					failed <- err
					return
				}
			}
		})
	}
	clients.Wait()
	took := time.Since(began)
	select {
	case err := <-failed:
		b.Fatalf("%s: %v", site, err)
	default:
	}
	return handshakesPerPhase / took.Seconds()
}

// fetchOnce gets a page of the app.
func fetchOnce(browser *harness.Client, address string) error {
	request, err := http.NewRequest(http.MethodGet, address, nil)
	if err != nil {
		return err
	}
	response, err := browser.Transport().RoundTrip(request)
	if err != nil {
		return err
	}
	defer response.Body.Close()
	if response.StatusCode != http.StatusOK {
		return fmt.Errorf("%s", response.Status)
	}
	_, err = io.Copy(io.Discard, response.Body)
	return err
}
