package test

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// way is how clients speak to a busy server.
type way struct {
	name, title string
	scheme      string
	major       int // of the HTTP version that has to be spoken
}

var ways = []way{
	{"http1", "HTTP/1.1", "http", 1},
	{"http2+tls", "HTTP/2, TLS", "https", 2},
}

// connections is how many there are at once, each with one request under way.
const connections = 24

const userAgent = "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/142.0.0.0 Safari/537.36"

// browserHeader is what a browser sends besides cookies when a page fetches
// something.
var browserHeader = http.Header{
	"Accept": {"*/*"}, "Accept-Encoding": {"gzip, deflate, br"}, "Accept-Language": {"en-GB,en;q=0.9"},
	"Sec-Ch-Ua": {`"Chromium";v="142", "Not_A Brand";v="99"`}, "Sec-Ch-Ua-Mobile": {"?0"}, "Sec-Ch-Ua-Platform": {`"Linux"`},
	"Sec-Fetch-Site": {"same-origin"}, "Sec-Fetch-Mode": {"cors"}, "Sec-Fetch-Dest": {"empty"},
	"User-Agent": {userAgent},
}

// load is clients that send requests as fast as they are answered. Each request
// is of one of the sign-ons, and bears the cookie of one gated site, whichever
// site it goes to: what is compared differs in nothing else.
type load struct {
	server  *busyServer
	way     way
	site    string // whose cookies are sent
	signOns int
	each    []*http.Client // one for a connection
	// addresses are the pages that are asked for, by site.
	addresses map[string]string
}

func (s *busyServer) clients(t testing.TB, w way, site string, signOns int) *load {
	t.Helper()
	l := &load{server: s, way: w, site: site, signOns: signOns, addresses: make(map[string]string)}
	for _, at := range []string{siteBare, siteFull, sitePlain} {
		l.addresses[at] = s.URL(w.scheme, at+".localhost", at+" "+w.scheme, "/wiki/page?id=7")
	}
	roots := s.RootCAs()
	for range connections {
		transport := &http.Transport{
			TLSClientConfig: &tls.Config{RootCAs: roots}, ForceAttemptHTTP2: true, DisableCompression: true,
			DialContext: dialHere,
		}
		t.Cleanup(transport.CloseIdleConnections)
		l.each = append(l.each, &http.Client{Transport: transport})
	}
	return l
}

// dialHere connects to this machine, whatever the name.
func dialHere(ctx context.Context, network, address string) (net.Conn, error) {
	_, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

// sent is what came of a number of requests.
type sent struct {
	took      time.Duration
	latencies []time.Duration // of each request, in ascending order
}

// send sends so many requests to a site, spread evenly over the sign-ons.
func (l *load) send(t testing.TB, site string, requests int) sent {
	t.Helper()
	return l.sendWhile(t, site, func(i int) (int, bool) { return rand.IntN(l.signOns), i < requests })
}

// sendEach sends one request of each of the first sign-ons.
func (l *load) sendEach(t testing.TB, site string, signOns int) {
	t.Helper()
	l.sendWhile(t, site, func(i int) (int, bool) { return i, i < signOns })
}

// sendWhile sends requests until next says that the i-th isn't to be sent; else
// it says of which sign-on it is.
func (l *load) sendWhile(t testing.TB, site string, next func(i int) (signOn int, more bool)) sent {
	t.Helper()
	var (
		sending  sync.WaitGroup
		position atomic.Int64
		result   sent
		mu       sync.Mutex // guards result and failure
		failure  error
	)
	started := time.Now()
	for _, client := range l.each {
		sending.Go(func() {
			var latencies []time.Duration
			var err error
			for err == nil {
				signOn, more := next(int(position.Add(1)) - 1)
				if !more {
					break
				}
				var latency time.Duration
				latency, err = l.exchange(client, site, signOn)
				latencies = append(latencies, latency)
			}
			mu.Lock()
			defer mu.Unlock()
			result.latencies = append(result.latencies, latencies...)
			if err != nil {
				failure = err
			}
		})
	}
	sending.Wait()
	if failure != nil {
		t.Fatal(failure)
	}
	result.took = time.Since(started)
	slices.Sort(result.latencies)
	return result
}

// exchange sends one request and returns how long the answer took to come whole.
func (l *load) exchange(client *http.Client, site string, signOn int) (time.Duration, error) {
	cookie, err := l.server.cookieHeader(signOn, l.site)
	if err != nil {
		return 0, err
	}
	request, err := http.NewRequest(http.MethodGet, l.addresses[site], nil)
	if err != nil {
		return 0, err
	}
	request.Header = browserHeader.Clone()
	request.Header.Set("Cookie", cookie)
	started := time.Now()
	response, err := client.Do(request)
	if err != nil {
		return 0, err
	}
	_, err = io.Copy(io.Discard, response.Body)
	_ = response.Body.Close()
	if err == nil && (response.StatusCode != http.StatusOK || response.ProtoMajor != l.way.major) {
		err = fmt.Errorf("%s answered %d over %s", request.URL, response.StatusCode, response.Proto)
	}
	return time.Since(started), err
}
