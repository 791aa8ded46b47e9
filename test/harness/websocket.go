package harness

import (
	"bufio"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"sync"
)

// The opcodes of RFC 6455, 5.2, that occur here.
const (
	opText  = 0x1
	opClose = 0x8
	opPing  = 0x9
	opPong  = 0xA
)

// longestMessage bounds what a frame may claim to hold.
const longestMessage = 1 << 20

// ErrWebSocketClosed says that the other end said goodbye, as against a
// connection that was cut.
var ErrWebSocketClosed = errors.New("the other end closed the WebSocket")

// WebSocket exchanges text messages over a connection whose handshake is
// done. One goroutine may read while others write.
type WebSocket struct {
	reader *bufio.Reader
	masked bool // a client masks what it sends

	mu     sync.Mutex
	writer io.Writer
}

// NewWebSocket is the client's end, over what HTTP1Conn or HTTP2Stream became.
func NewWebSocket(connection io.ReadWriter) *WebSocket { return newWebSocket(connection, true) }

func newWebSocket(connection io.ReadWriter, masked bool) *WebSocket {
	return &WebSocket{reader: bufio.NewReader(connection), writer: connection, masked: masked}
}

// WriteText sends one message.
func (w *WebSocket) WriteText(message string) error { return w.write(opText, []byte(message)) }

// ReadText returns the next message. It answers pings on the way, and returns
// ErrWebSocketClosed once the other end says goodbye. Messages in fragments
// are not put together.
func (w *WebSocket) ReadText() (string, error) {
	for {
		opcode, payload, err := w.read()
		if err != nil {
			return "", err
		}
		switch opcode {
		case opClose:
			return "", errors.Join(ErrWebSocketClosed, w.write(opClose, payload))
		case opPing:
			if err := w.write(opPong, payload); err != nil {
				return "", err
			}
		case opPong:
		default:
			return string(payload), nil
		}
	}
}

func (w *WebSocket) read() (opcode byte, payload []byte, err error) {
	var head [2]byte
	if _, err := io.ReadFull(w.reader, head[:]); err != nil {
		return 0, nil, fmt.Errorf("reading a frame: %w", err)
	}
	length, err := w.readLength(head[1] & 0x7f)
	if err != nil {
		return 0, nil, err
	}
	var mask [4]byte
	if head[1]&0x80 != 0 {
		if _, err := io.ReadFull(w.reader, mask[:]); err != nil {
			return 0, nil, fmt.Errorf("reading a frame's mask: %w", err)
		}
	}
	payload = make([]byte, length)
	if _, err := io.ReadFull(w.reader, payload); err != nil {
		return 0, nil, fmt.Errorf("reading a frame's payload: %w", err)
	}
	applyMask(payload, mask)
	return head[0] & 0x0f, payload, nil
}

func (w *WebSocket) readLength(short byte) (uint64, error) {
	length, extra := uint64(short), 0
	switch short {
	case 126:
		extra = 2
	case 127:
		extra = 8
	}
	if extra > 0 {
		var long [8]byte
		if _, err := io.ReadFull(w.reader, long[8-extra:]); err != nil {
			return 0, fmt.Errorf("reading a frame's length: %w", err)
		}
		length = binary.BigEndian.Uint64(long[:])
	}
	if length > longestMessage {
		return 0, fmt.Errorf("a frame of %d bytes", length)
	}
	return length, nil
}

func (w *WebSocket) write(opcode byte, payload []byte) error {
	frame := []byte{0x80 | opcode}
	maskBit := byte(0)
	if w.masked {
		maskBit = 0x80
	}
	switch length := len(payload); {
	case length < 126:
		frame = append(frame, maskBit|byte(length))
	case length < 1<<16:
		frame = binary.BigEndian.AppendUint16(append(frame, maskBit|126), uint16(length))
	default:
		frame = binary.BigEndian.AppendUint64(append(frame, maskBit|127), uint64(length))
	}
	payload = append([]byte(nil), payload...)
	if w.masked {
		var mask [4]byte
		_, _ = rand.Read(mask[:]) // never fails
		frame = append(frame, mask[:]...)
		applyMask(payload, mask)
	}
	w.mu.Lock()
	defer w.mu.Unlock()
	if _, err := w.writer.Write(append(frame, payload...)); err != nil {
		return fmt.Errorf("writing a frame: %w", err)
	}
	return nil
}

func applyMask(payload []byte, mask [4]byte) {
	for i := range payload {
		payload[i] ^= mask[i%4]
	}
}

// webSocketAccept proves that the key was read (RFC 6455, 4.2.2, step 5.4).
func webSocketAccept(key string) string {
	sum := sha1.Sum([]byte(key + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"))
	return base64.StdEncoding.EncodeToString(sum[:])
}
