package harness

import (
	"bufio"
	"bytes"
	"fmt"
	"io"
	"net"
	"net/http"
	"strings"
	"time"
)

// Request1 composes an HTTP/1.1 request: a request line of the method and
// target as they are, the lines of the header as they are, and the body. It
// adds a Host line, where host isn't empty, and nothing else: a body wants a
// Content-Length line.
func Request1(method, target, host string, body string, header ...string) []byte {
	var request strings.Builder
	fmt.Fprintf(&request, "%s %s HTTP/1.1\r\n", method, target)
	if host != "" {
		fmt.Fprintf(&request, "Host: %s\r\n", host)
	}
	for _, line := range header {
		request.WriteString(line + "\r\n")
	}
	request.WriteString("\r\n" + body)
	return []byte(request.String())
}

// Send sends the bytes over a new HTTP/1.1 connection and returns the first
// response. Safe for concurrent use.
func (target Target) Send(raw []byte) Response {
	connection, err := target.HTTP1()
	if err != nil {
		return Response{Err: err}
	}
	defer connection.Close()
	return connection.Send(raw)
}

// HTTP1Conn is one HTTP/1.1 connection, for one goroutine. After a response
// of 101 it is what was upgraded to: read and write it.
type HTTP1Conn struct {
	connection net.Conn
	reader     *bufio.Reader
}

// HTTP1 connects.
func (target Target) HTTP1() (*HTTP1Conn, error) {
	connection, err := target.dial("http/1.1")
	if err != nil {
		return nil, err
	}
	return &HTTP1Conn{connection: connection, reader: bufio.NewReader(connection)}, nil
}

// Send sends the bytes and returns the next final response.
func (c *HTTP1Conn) Send(raw []byte) Response {
	_ = c.connection.SetDeadline(time.Now().Add(exchangeLimit))
	if _, err := c.connection.Write(raw); err != nil {
		// The server may have answered and hung up before all was sent.
		if response := c.Receive(methodOf(raw)); response.Status != 0 {
			return response
		}
		return Response{Err: fmt.Errorf("sending: %w", err)}
	}
	return c.Receive(methodOf(raw))
}

// Receive returns the next final response, to a request of the given method:
// a second one after a single Send is a smuggled request's.
func (c *HTTP1Conn) Receive(method string) Response {
	_ = c.connection.SetDeadline(time.Now().Add(exchangeLimit))
	for {
		received, err := http.ReadResponse(c.reader, &http.Request{Method: method})
		if err != nil {
			return Response{Err: fmt.Errorf("reading a response: %w", err)}
		}
		if received.StatusCode >= 200 || received.StatusCode == http.StatusSwitchingProtocols {
			return c.finish(received)
		}
	}
}

func (c *HTTP1Conn) finish(received *http.Response) Response {
	response := Response{Status: received.StatusCode, Proto: received.Proto, Header: received.Header}
	if received.StatusCode == http.StatusSwitchingProtocols {
		_ = c.connection.SetDeadline(time.Time{})
		return response
	}
	body, err := io.ReadAll(received.Body)
	response.Body, response.Trailer = string(body), received.Trailer
	if err != nil {
		response.Err = fmt.Errorf("reading the body: %w", err)
	}
	return response
}

// SetDeadline bounds what Read and Write wait for.
func (c *HTTP1Conn) SetDeadline(t time.Time) error { return c.connection.SetDeadline(t) }

// Read implements io.Reader.
func (c *HTTP1Conn) Read(p []byte) (int, error) { return c.reader.Read(p) }

// Write implements io.Writer.
func (c *HTTP1Conn) Write(p []byte) (int, error) { return c.connection.Write(p) }

// Close hangs up.
func (c *HTTP1Conn) Close() { _ = c.connection.Close() }

// methodOf is the first word, which tells whether the response has a body.
func methodOf(raw []byte) string {
	method, _, _ := bytes.Cut(raw, []byte(" "))
	return string(method)
}
