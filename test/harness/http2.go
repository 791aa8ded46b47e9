package harness

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"strconv"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// Field is one header field of HTTP/2, pseudo fields (":path") included. Names
// and values are sent as they are.
type Field = hpack.HeaderField

// Request2 is an HTTP/2 request, field by field and in their order.
type Request2 struct {
	Fields   []Field
	Body     string
	Trailers []Field
}

// Fields2 returns the four pseudo fields of a request, then pairs of further
// names and values. It panics on a name without a value.
func Fields2(method, scheme, authority, path string, header ...string) []Field {
	fields := []Field{
		{Name: ":method", Value: method},
		{Name: ":scheme", Value: scheme},
		{Name: ":authority", Value: authority},
		{Name: ":path", Value: path},
	}
	if len(header)%2 != 0 {
		panic("a header name without a value")
	}
	for i := 0; i < len(header); i += 2 {
		fields = append(fields, Field{Name: header[i], Value: header[i+1]})
	}
	return fields
}

// SendHTTP2 sends one request over a new HTTP/2 connection and returns its
// response. Without TLS it speaks HTTP/2 at once, as gRPC does. Safe for
// concurrent use.
func (target Target) SendHTTP2(request Request2) Response {
	connection, err := target.HTTP2()
	if err != nil {
		return Response{Err: err}
	}
	defer connection.Close()
	return connection.Send(request)
}

// Sizes of HTTP/2's windows and frames (RFC 9113, 6.9.2 and 4.2).
const (
	usualWindow  = 65535
	usualFrame   = 16384
	ourWindow    = 1 << 30
	maxHeaderOut = usualFrame
)

// HTTP2Conn is one HTTP/2 connection, for one goroutine. It reads frames only
// while it is asked for something.
type HTTP2Conn struct {
	connection net.Conn
	framer     *http2.Framer
	encoded    bytes.Buffer
	encoder    *hpack.Encoder
	streams    map[uint32]*HTTP2Stream
	next       uint32
	window     int // what may still be sent
	settings   map[http2.SettingID]uint32
	settled    bool // the server's settings came
	goAway     error
	// unbounded says that a stream is open on which nothing may come for long.
	unbounded bool
}

// HTTP2 connects, and returns once the server has sent its settings.
func (target Target) HTTP2() (*HTTP2Conn, error) {
	connection, err := target.dial(http2.NextProtoTLS)
	if err != nil {
		return nil, err
	}
	c := &HTTP2Conn{
		connection: connection,
		framer:     http2.NewFramer(connection, connection),
		streams:    map[uint32]*HTTP2Stream{},
		next:       1,
		window:     usualWindow,
		settings:   map[http2.SettingID]uint32{},
	}
	c.encoder = hpack.NewEncoder(&c.encoded)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.framer.AllowIllegalWrites = true
	if err := c.start(); err != nil {
		_ = connection.Close()
		return nil, fmt.Errorf("starting HTTP/2: %w", err)
	}
	return c, nil
}

func (c *HTTP2Conn) start() error {
	c.extend()
	_, err := io.WriteString(c.connection, http2.ClientPreface)
	return errors.Join(err,
		c.framer.WriteSettings(http2.Setting{ID: http2.SettingInitialWindowSize, Val: ourWindow}),
		c.framer.WriteWindowUpdate(0, ourWindow-usualWindow),
		c.readUntil(func() bool { return c.settled }))
}

// ExtendedConnect reports whether the server takes extended CONNECT (RFC 8441).
func (c *HTTP2Conn) ExtendedConnect() bool {
	return c.settings[http2.SettingEnableConnectProtocol] == 1
}

// Send sends a request and waits for its response.
func (c *HTTP2Conn) Send(request Request2) Response {
	stream, err := c.Open(request.Fields, request.Body == "" && len(request.Trailers) == 0)
	if err != nil {
		return Response{Err: err}
	}
	if request.Body != "" {
		if err := stream.send([]byte(request.Body), len(request.Trailers) == 0); err != nil && stream.status == 0 {
			return Response{Err: err}
		}
	}
	if len(request.Trailers) > 0 {
		if err := c.writeFields(stream.id, request.Trailers, true); err != nil {
			return Response{Err: err}
		}
	}
	return stream.Response()
}

// Open begins a stream with the fields; ended says that no body follows. It
// waits for nothing, so that many can be under way.
func (c *HTTP2Conn) Open(fields []Field, ended bool) (*HTTP2Stream, error) {
	stream := &HTTP2Stream{conn: c, id: c.next, window: usualWindow}
	if initial, told := c.settings[http2.SettingInitialWindowSize]; told {
		stream.window = int(initial)
	}
	c.streams[stream.id] = stream
	c.next += 2
	if err := c.writeFields(stream.id, fields, ended); err != nil {
		return nil, err
	}
	return stream, nil
}

// Framer gives access to the frames, for what no method here sends.
func (c *HTTP2Conn) Framer() *http2.Framer { return c.framer }

// Close hangs up.
func (c *HTTP2Conn) Close() { _ = c.connection.Close() }

// Unbounded makes reading wait for as long as it takes, as HTTP1Conn does once
// it has been upgraded.
func (c *HTTP2Conn) Unbounded() { c.unbounded = true }

func (c *HTTP2Conn) extend() {
	deadline := time.Now().Add(exchangeLimit)
	if c.unbounded {
		deadline = time.Time{}
	}
	_ = c.connection.SetDeadline(deadline)
}

func (c *HTTP2Conn) writeFields(id uint32, fields []Field, ended bool) error {
	c.extend()
	c.encoded.Reset()
	for _, field := range fields {
		if err := c.encoder.WriteField(field); err != nil {
			return fmt.Errorf("encoding %q: %w", field.Name, err)
		}
	}
	block := c.encoded.Bytes()
	first := block[:min(len(block), maxHeaderOut)]
	rest := block[len(first):]
	err := c.framer.WriteHeaders(http2.HeadersFrameParam{
		StreamID: id, BlockFragment: first, EndStream: ended, EndHeaders: len(rest) == 0,
	})
	for err == nil && len(rest) > 0 {
		part := rest[:min(len(rest), maxHeaderOut)]
		rest = rest[len(part):]
		err = c.framer.WriteContinuation(id, len(rest) == 0, part)
	}
	if err != nil {
		return fmt.Errorf("sending the header: %w", err)
	}
	return nil
}

// readUntil takes in frames until the condition holds.
func (c *HTTP2Conn) readUntil(condition func() bool) error {
	for !condition() {
		c.extend()
		frame, err := c.framer.ReadFrame()
		if err != nil {
			return errors.Join(fmt.Errorf("reading a frame: %w", err), c.goAway)
		}
		if err := c.take(frame); err != nil {
			return err
		}
	}
	return nil
}

// take changes the connection's and the streams' state as the frame says.
func (c *HTTP2Conn) take(frame http2.Frame) error {
	stream := c.streams[frame.Header().StreamID]
	switch frame := frame.(type) {
	case *http2.SettingsFrame:
		return c.takeSettings(frame)
	case *http2.PingFrame:
		if !frame.IsAck() {
			return c.framer.WritePing(true, frame.Data)
		}
	case *http2.GoAwayFrame:
		c.goAway = fmt.Errorf("the server ends the connection: %s", frame.ErrCode)
	case *http2.WindowUpdateFrame:
		if frame.StreamID == 0 {
			c.window += int(frame.Increment)
		} else if stream != nil {
			stream.window += int(frame.Increment)
		}
	case *http2.MetaHeadersFrame:
		if stream != nil {
			stream.takeFields(frame)
		}
	case *http2.DataFrame:
		if stream != nil {
			stream.body.Write(frame.Data())
			stream.ended = stream.ended || frame.StreamEnded()
		}
	case *http2.RSTStreamFrame:
		if stream != nil {
			stream.reset, stream.ended = StreamResetError{Code: frame.ErrCode}, true
		}
	}
	return nil
}

func (c *HTTP2Conn) takeSettings(frame *http2.SettingsFrame) error {
	if frame.IsAck() {
		return nil
	}
	_ = frame.ForeachSetting(func(setting http2.Setting) error {
		if setting.ID == http2.SettingInitialWindowSize {
			before := usualWindow
			if told, ok := c.settings[setting.ID]; ok {
				before = int(told)
			}
			for _, stream := range c.streams {
				stream.window += int(setting.Val) - before
			}
		}
		c.settings[setting.ID] = setting.Val
		return nil
	})
	c.settled = true
	return c.framer.WriteSettingsAck()
}

// StreamResetError says that the server ended a stream without a response, or
// before its end.
type StreamResetError struct{ Code http2.ErrCode }

// Error implements error.
func (e StreamResetError) Error() string { return "the server reset the stream: " + e.Code.String() }

// HTTP2Stream is one request and its response. Where its header announced no
// end, it can be written and read, as extended CONNECT wants it.
type HTTP2Stream struct {
	conn     *HTTP2Conn
	id       uint32
	window   int
	status   int
	response http.Header
	trailer  http.Header
	body     bytes.Buffer
	ended    bool
	reset    error
}

// takeFields takes a header, an informational one, or the trailers.
func (s *HTTP2Stream) takeFields(frame *http2.MetaHeadersFrame) {
	s.ended = s.ended || frame.StreamEnded()
	header := http.Header{}
	for _, field := range frame.RegularFields() {
		header.Add(field.Name, field.Value)
	}
	if s.status != 0 {
		s.trailer = header
		return
	}
	status, _ := strconv.Atoi(frame.PseudoValue("status"))
	if status >= 200 {
		s.status, s.response = status, header
	}
}

// Header waits for the response's header alone; the body may never end.
func (s *HTTP2Stream) Header() Response {
	err := s.conn.readUntil(func() bool { return s.status != 0 || s.ended })
	return s.soFar(errors.Join(err, s.reset))
}

// Response waits for the whole response.
func (s *HTTP2Stream) Response() Response {
	err := s.conn.readUntil(func() bool { return s.ended })
	response := s.soFar(errors.Join(err, s.reset))
	response.Body = s.body.String()
	return response
}

func (s *HTTP2Stream) soFar(err error) Response {
	return Response{Status: s.status, Proto: "HTTP/2.0", Header: s.response, Trailer: s.trailer, Err: err}
}

// Write sends p as part of the body.
func (s *HTTP2Stream) Write(p []byte) (int, error) {
	if err := s.send(p, false); err != nil {
		return 0, err
	}
	return len(p), nil
}

// CloseWrite ends the body.
func (s *HTTP2Stream) CloseWrite() error { return s.send(nil, true) }

// Read returns what has come of the response's body, waiting for some.
func (s *HTTP2Stream) Read(p []byte) (int, error) {
	if err := s.conn.readUntil(func() bool { return s.body.Len() > 0 || s.ended }); err != nil {
		return 0, err
	}
	if s.body.Len() == 0 {
		if s.reset != nil {
			return 0, s.reset
		}
		return 0, io.EOF
	}
	return s.body.Read(p)
}

// send keeps to the windows that the server gave. It gives up where the
// server has answered or reset the stream without reading on.
func (s *HTTP2Stream) send(data []byte, end bool) error {
	for len(data) > 0 {
		err := s.conn.readUntil(func() bool { return s.ended || (s.window > 0 && s.conn.window > 0) })
		if err != nil {
			return err
		}
		if s.ended {
			return errors.Join(errors.New("the server ended the stream before the body was sent"), s.reset)
		}
		part := data[:min(len(data), usualFrame, s.window, s.conn.window)]
		data = data[len(part):]
		if err := s.frame(part, end && len(data) == 0); err != nil {
			return err
		}
		end = end && len(data) > 0
	}
	if end {
		return s.frame(nil, true)
	}
	return nil
}

func (s *HTTP2Stream) frame(data []byte, end bool) error {
	s.conn.extend()
	s.window -= len(data)
	s.conn.window -= len(data)
	if err := s.conn.framer.WriteData(s.id, end, data); err != nil {
		return fmt.Errorf("sending the body: %w", err)
	}
	return nil
}
