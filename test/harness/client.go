package harness

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/quic-go/quic-go/http3"
)

// longestChain is how many redirects browsers follow.
const longestChain = 20

// Mode is how a browser came to send a request (Fetch standard, 2.2.5).
type Mode string

// The modes.
const (
	Navigate Mode = "navigate" // somebody opens a page
	Fetch    Mode = "cors"     // a script calls fetch or XMLHttpRequest
)

// Request is one that a browser sends; zero fields mean a navigation by GET
// that somebody typed into the address bar.
type Request struct {
	Method string
	URL    string
	Body   string
	// Upload is sent in place of Body, and its length isn't told beforehand.
	Upload io.Reader
	// Header adds to and overrides what a browser sends by itself. A present
	// name without values is not sent at all.
	Header http.Header
	Mode   Mode
	// From is the URL of the page that sends it; "": the person.
	From string
	// FromPolicy is that page's Referrer-Policy; "": the browsers' own.
	FromPolicy string
	// WithCookies lets a script's request to another origin carry cookies.
	WithCookies bool

	// chain holds the URLs already gone through by redirects.
	chain []*url.URL
}

// Client is a browser without a screen: it keeps cookies as Chromium does and
// sends the headers that tell a server who asks, and follows no redirect
// unless told. It reaches this machine only. Send, Open, Cookies and SetCookie
// are safe for concurrent use; the other methods are for the test's goroutine
// and fail the test where nothing answers.
type Client struct {
	t         testing.TB
	transport *http.Transport
	over3     *http3.Transport // in its place; nil: none
	jar       *jar
	// certificate is what it shows to sites that ask; nil: none.
	certificate *tls.Certificate

	mu      sync.Mutex
	current *Page // what the window shows; nil: an empty tab
}

// Client returns a new browser with no cookies, which trusts the server's own
// certificate authority. It speaks HTTP/2 where TLS offers it.
func (s *Server) Client() *Client {
	return &Client{t: s.t, transport: newTransport(s.t, s.RootCAs()), jar: newJar()}
}

func newTransport(t testing.TB, roots *x509.CertPool) *http.Transport {
	transport := &http.Transport{
		DialContext:       dialHere,
		TLSClientConfig:   &tls.Config{RootCAs: roots},
		ForceAttemptHTTP2: true,
		MaxIdleConns:      100,
	}
	t.Cleanup(transport.CloseIdleConnections)
	return transport
}

// HTTP1 returns another tab of the same browser that speaks HTTP/1.1 alone, as
// behind some companies' proxies, over connections of its own.
func (c *Client) HTTP1() *Client {
	transport := newTransport(c.t, c.transport.TLSClientConfig.RootCAs)
	transport.ForceAttemptHTTP2 = false
	transport.Protocols = new(http.Protocols)
	transport.Protocols.SetHTTP1(true)
	return &Client{t: c.t, transport: transport, jar: c.jar}
}

// Tab returns another tab of the same browser, with the same cookies.
func (c *Client) Tab() *Client { return &Client{t: c.t, transport: c.transport, jar: c.jar} }

// Clone returns another browser with copies of the cookies, as a thief has it.
func (c *Client) Clone() *Client {
	return &Client{t: c.t, transport: c.transport, jar: c.jar.clone()}
}

// ClientLike returns a new browser at this server with copies of another's
// cookies, whichever server those came from.
func (s *Server) ClientLike(other *Client) *Client {
	c := s.Client()
	c.jar = other.jar.clone()
	return c
}

// dialHere resolves the names that tests use, and no others.
func dialHere(ctx context.Context, network, address string) (net.Conn, error) {
	host, port, err := net.SplitHostPort(address)
	if err != nil {
		return nil, fmt.Errorf("reading the address: %w", err)
	}
	if host != "localhost" && host != "127.0.0.1" && !strings.HasSuffix(host, ".localhost") && !strings.HasSuffix(host, ".example.test") {
		return nil, fmt.Errorf("%s is not on this machine", host)
	}
	return new(net.Dialer).DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port))
}

// BlockCookies makes the browser refuse and send none, as some are set up.
func (c *Client) BlockCookies(blocked bool) { c.jar.block(blocked) }

// ClearCookies forgets all cookies.
func (c *Client) ClearCookies() { c.jar.clear() }

// Cookies returns what the browser would send to the URL by itself.
func (c *Client) Cookies(address string) []http.Cookie {
	return c.jar.get(c.parse(address), circumstances{sameSite: true, topLevel: true, safe: true})
}

// Cookie returns the value of the named cookie for the URL, or "".
func (c *Client) Cookie(address, name string) string {
	cookies := c.Cookies(address)
	i := slices.IndexFunc(cookies, func(cookie http.Cookie) bool { return cookie.Name == name })
	if i < 0 {
		return ""
	}
	return cookies[i].Value
}

// SetCookie plants a cookie as if a response from the URL had set it, and
// fails the test where a browser would not take it.
func (c *Client) SetCookie(address string, cookie http.Cookie) {
	c.t.Helper()
	at := c.parse(address)
	c.jar.set(at, []*http.Cookie{&cookie})
	if cookie.MaxAge >= 0 && c.Cookie(address, cookie.Name) != cookie.Value {
		c.t.Errorf("no browser takes this cookie from %s: %s", address, cookie.String())
	}
}

// Get opens a URL typed into the address bar, and stays at a redirect.
func (c *Client) Get(address string) *Page {
	c.t.Helper()
	return c.must(Request{URL: address})
}

// Visit opens a URL typed into the address bar, follows redirects, and
// returns where it ended.
func (c *Client) Visit(address string) *Page {
	c.t.Helper()
	return last(c.Follow(c.Get(address)))
}

// Click opens a URL as a link on the current page does, and stays at a
// redirect. Relative ones are resolved.
func (c *Client) Click(address string) *Page {
	c.t.Helper()
	request := c.fromCurrent(address)
	return c.must(request)
}

// PostForm posts as a form on the current page does, or on a page of the same
// origin where there is none, and stays at a redirect.
func (c *Client) PostForm(address string, values url.Values) *Page {
	c.t.Helper()
	request := c.fromCurrent(address)
	if request.From == "" {
		request.From = request.URL
	}
	request.Method = http.MethodPost
	request.Body = values.Encode()
	request.Header = http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	return c.must(request)
}

// Submit sends a form with what is typed into it, and stays at a redirect.
// Values are named by the input's name or by its autocomplete value; what is
// not named stays as the page has it. The form's first button is the one
// pressed, as by the Enter key.
func (c *Client) Submit(form Form, values map[string]string) *Page {
	c.t.Helper()
	filled, err := form.fill(values)
	if err != nil {
		c.t.Fatalf("filling in the form of %s: %v", form.page.URL, err)
	}
	c.setCurrent(form.page)
	if form.Method == http.MethodGet {
		target := *form.Action
		target.RawQuery = filled.Encode()
		return c.Click(target.String())
	}
	return c.PostForm(form.Action.String(), filled)
}

// Follow follows the redirects that begin with the page, at most 20, and
// returns every page on the way, the given one first. It fails the test for
// more, as a browser gives up.
func (c *Client) Follow(page *Page) []*Page {
	c.t.Helper()
	hops := []*Page{page}
	for {
		request, redirected, err := last(hops).next()
		if err != nil {
			c.t.Fatalf("following the redirect of %s: %v", last(hops).URL, err)
		}
		if !redirected {
			return hops
		}
		if len(hops) > longestChain {
			c.t.Fatalf("more than %d redirects:\n%s", longestChain, chainOf(hops))
		}
		hops = append(hops, c.must(request))
	}
}

// Send sends a request and reads its response, and stays at a redirect. A
// navigation's response becomes the current page.
func (c *Client) Send(request Request) (*Page, error) {
	response, err := c.Open(context.Background(), request)
	if err != nil {
		return nil, err
	}
	defer func() { _ = response.Body.Close() }()
	body, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", request.URL, err)
	}
	page := newPage(c.t, request, response, string(body))
	if request.mode() == Navigate && !page.redirects() {
		c.setCurrent(page)
	}
	return page, nil
}

// Open sends a request and returns the response with its body unread, for
// event streams and long downloads. The caller closes it.
func (c *Client) Open(ctx context.Context, request Request) (*http.Response, error) {
	outgoing, err := request.build(ctx, c.jar)
	if err != nil {
		return nil, err
	}
	response, err := c.roundTrip(outgoing)
	if err != nil {
		return nil, fmt.Errorf("asking for %s: %w", request.URL, err)
	}
	if request.mode() == Navigate || request.sendsCookies(outgoing.URL) {
		c.jar.set(outgoing.URL, response.Cookies())
	}
	return response, nil
}

func (c *Client) roundTrip(request *http.Request) (*http.Response, error) {
	if c.over3 != nil {
		return c.over3.RoundTrip(request)
	}
	return c.transport.RoundTrip(request)
}

func (c *Client) must(request Request) *Page {
	c.t.Helper()
	page, err := c.Send(request)
	if err != nil {
		c.t.Fatal(err)
	}
	return page
}

// fromCurrent is a navigation that the current page starts.
func (c *Client) fromCurrent(address string) Request {
	c.t.Helper()
	c.mu.Lock()
	current := c.current
	c.mu.Unlock()
	if current == nil {
		return Request{URL: address}
	}
	target, err := current.URL.Parse(address)
	if err != nil {
		c.t.Fatalf("reading the URL %q: %v", address, err)
	}
	return Request{URL: target.String(), From: current.URL.String(), FromPolicy: current.Header.Get("Referrer-Policy")}
}

func (c *Client) setCurrent(page *Page) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.current = page
}

func (c *Client) parse(address string) *url.URL {
	c.t.Helper()
	parsed, err := url.Parse(address)
	if err != nil {
		c.t.Fatalf("reading the URL %q: %v", address, err)
	}
	return parsed
}

func last(pages []*Page) *Page { return pages[len(pages)-1] }

func chainOf(pages []*Page) string {
	var chain strings.Builder
	for _, page := range pages {
		fmt.Fprintf(&chain, "%d %s\n", page.Status, page.URL)
	}
	return chain.String()
}
