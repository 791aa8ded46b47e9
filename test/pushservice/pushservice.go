// Package pushservice is a push service for tests, such as Mozilla runs one. Firefox
// subscribes over a WebSocket; servers send notifications over HTTPS, through an HTTP
// proxy that leads nowhere else.
package pushservice

import (
	"crypto/tls"
	"encoding/base64"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"golang.org/x/net/websocket"
)

// Host is the name of the service in the addresses that it hands out.
const Host = "push.example.net"

// Sent is a notification that a server sent.
type Sent struct {
	Path   string
	Header http.Header
	Body   []byte
	// Key is the server's key that the browser subscribed with.
	Key string
}

// Service is a running push service. It is safe for concurrent use.
type Service struct {
	// Browsers is the WebSocket's address.
	Browsers string
	// Proxy is the proxy's address.
	Proxy string

	service *httptest.Server

	mu       sync.Mutex
	sent     []Sent
	tunnels  int
	status   int
	channels map[string]subscriber // by channel
}

// subscriber is a browser, and the server's key that it subscribed with.
type subscriber struct {
	browser *websocket.Conn
	key     string
}

// Start starts a service with a certificate for Host. It ends with the test.
func Start(t testing.TB, certificate tls.Certificate) *Service {
	t.Helper()
	s := &Service{status: http.StatusCreated, channels: make(map[string]subscriber)}
	s.service = httptest.NewUnstartedServer(http.HandlerFunc(s.take))
	s.service.TLS = &tls.Config{Certificates: []tls.Certificate{certificate}}
	s.service.StartTLS()
	t.Cleanup(s.service.Close)
	browsers := httptest.NewServer(websocket.Server{Handshake: takeProtocol, Handler: s.serve})
	t.Cleanup(browsers.Close)
	s.Browsers = "ws" + strings.TrimPrefix(browsers.URL, "http")
	proxy := httptest.NewServer(http.HandlerFunc(s.tunnel))
	t.Cleanup(proxy.Close)
	s.Proxy = proxy.URL
	t.Cleanup(s.hangUp)
	return s
}

// Answer has the service answer servers with a status from now on.
func (s *Service) Answer(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.status = status
}

// Sent returns what servers have sent.
func (s *Service) Sent() []Sent {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Sent(nil), s.sent...)
}

// Tunnels returns how many connections the proxy has made.
func (s *Service) Tunnels() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.tunnels
}

func (s *Service) hangUp() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, to := range s.channels {
		_ = to.browser.Close()
	}
}

func takeProtocol(c *websocket.Config, _ *http.Request) error {
	if len(c.Protocol) > 1 {
		c.Protocol = c.Protocol[:1]
	}
	return nil
}

// told is a message of Firefox.
type told struct {
	Type    string `json:"messageType"`
	Channel string `json:"channelID"`
	Key     string `json:"key"`
}

// serve speaks with Firefox, as its Push service does.
func (s *Service) serve(browser *websocket.Conn) {
	for {
		var message told
		if websocket.JSON.Receive(browser, &message) != nil {
			return
		}
		var answer map[string]any
		switch message.Type {
		case "":
			answer = map[string]any{} // a ping
		case "hello":
			answer = map[string]any{"messageType": "hello", "status": 200, "uaid": "0123456789abcdef0123456789abcdef", "use_webpush": true, "broadcasts": map[string]any{}}
		case "register":
			answer = map[string]any{"messageType": "register", "status": 200, "channelID": message.Channel, "pushEndpoint": "https://" + Host + "/" + message.Channel}
			s.mu.Lock()
			s.channels[message.Channel] = subscriber{browser, message.Key}
			s.mu.Unlock()
		case "unregister":
			answer = map[string]any{"messageType": "unregister", "status": 200, "channelID": message.Channel}
		default:
			continue
		}
		if websocket.JSON.Send(browser, answer) != nil {
			return
		}
	}
}

// take takes a notification, and passes it on.
func (s *Service) take(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	channel := strings.TrimPrefix(r.URL.Path, "/")
	to := s.channels[channel]
	s.sent = append(s.sent, Sent{r.URL.Path, r.Header, body, to.key})
	if to.browser != nil && s.status < 300 {
		_ = websocket.JSON.Send(to.browser, map[string]any{
			"messageType": "notification", "channelID": channel, "version": "v" + channel,
			"data": base64.RawURLEncoding.EncodeToString(body), "headers": map[string]string{"encoding": "aes128gcm"},
		})
	}
	w.WriteHeader(s.status)
}

// tunnel is the proxy.
func (s *Service) tunnel(w http.ResponseWriter, r *http.Request) {
	if r.Method != http.MethodConnect || r.Host != Host+":443" {
		http.Error(w, "This proxy leads to the push service only.", http.StatusForbidden)
		return
	}
	to, err := net.Dial("tcp", s.service.Listener.Addr().String())
	if err != nil {
		http.Error(w, err.Error(), http.StatusBadGateway)
		return
	}
	defer to.Close()
	from, _, err := http.NewResponseController(w).Hijack()
	if err != nil {
		return
	}
	defer from.Close()
	s.mu.Lock()
	s.tunnels++
	s.mu.Unlock()
	if _, err := io.WriteString(from, "HTTP/1.1 200 OK\r\n\r\n"); err != nil {
		return
	}
	go func() {
		_, _ = io.Copy(to, from)
		_ = to.Close()
	}()
	_, _ = io.Copy(from, to)
}
