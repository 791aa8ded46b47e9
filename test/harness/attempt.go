package harness

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/url"
	"strings"
)

// The methods of this file are for a server that may be gone at any moment:
// they return an error where the others fail the test, and so can be called by
// several goroutines at once.

// errLoop says that a browser would have given up.
var errLoop = errors.New("too many redirects")

// ClientFrom is Client on another machine: its connections come from the
// address, which is one of this machine's loopback addresses.
func (s *Server) ClientFrom(address string) *Client {
	from := &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}}
	transport := newTransport(s.t, s.RootCAs())
	transport.DialContext = func(ctx context.Context, network, to string) (net.Conn, error) {
		_, port, err := net.SplitHostPort(to)
		if err != nil {
			return nil, fmt.Errorf("reading the address: %w", err)
		}
		return from.DialContext(ctx, network, net.JoinHostPort("127.0.0.1", port)) // every name is here
	}
	return &Client{t: s.t, transport: transport, jar: newJar()}
}

// TryVisit is Visit.
func (c *Client) TryVisit(address string) (*Page, error) {
	page, err := c.Send(Request{URL: address})
	if err != nil {
		return nil, err
	}
	return c.TryFollow(page)
}

// TryFollow is Follow, and returns the last page.
func (c *Client) TryFollow(page *Page) (*Page, error) {
	for range longestChain {
		next, err := c.TryNext(page)
		if err != nil || next == nil {
			return page, err
		}
		page = next
	}
	return nil, fmt.Errorf("%w, the last one to %s", errLoop, page.URL)
}

// TryNext returns the page that a page redirects to; nil where it doesn't.
func (c *Client) TryNext(page *Page) (*Page, error) {
	request, redirected, err := page.next()
	if err != nil || !redirected {
		return nil, err
	}
	return c.Send(request)
}

// TrySubmit is Submit of a form that posts: it stays at a redirect.
func (c *Client) TrySubmit(form Form, values map[string]string) (*Page, error) {
	filled, err := form.fill(values)
	if err != nil {
		return nil, fmt.Errorf("filling in the form of %s: %w", form.page.URL, err)
	}
	return c.Send(Request{
		Method: http.MethodPost, URL: form.Action.String(), Body: filled.Encode(),
		Header: http.Header{"Content-Type": {"application/x-www-form-urlencoded"}},
		From:   form.page.URL.String(), FromPolicy: form.page.Header.Get("Referrer-Policy"),
	})
}

// FormWith returns the first form of the page that has inputs of the given
// names or autocomplete values.
func (p *Page) FormWith(inputs ...string) (Form, bool) {
	for _, form := range p.Forms() {
		has := true
		for _, name := range inputs {
			has = has && form.Has(name)
		}
		if has {
			return form, true
		}
	}
	return Form{}, false
}

// AdminDo sends a request with a body of JSON to Caddy's admin endpoint, as the
// commands do, and returns the answer. Every status from 400 on is an error.
func (s *Server) AdminDo(method, path string, body string) ([]byte, error) {
	target := url.URL{Scheme: "http", Host: s.admin, Path: path}
	request, err := http.NewRequest(method, target.String(), strings.NewReader(body))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/json")
	client := &http.Client{Timeout: patience}
	defer client.CloseIdleConnections()
	response, err := client.Do(request)
	if err != nil {
		return nil, fmt.Errorf("asking the admin endpoint: %w", err)
	}
	defer func() { _ = response.Body.Close() }()
	answer, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 400 {
		err = fmt.Errorf("the admin endpoint answered %s: %s", response.Status, bytes.TrimSpace(answer))
	}
	return answer, err
}
