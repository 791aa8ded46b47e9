// Package smsgateway is an HTTP gateway for text messages for tests, whose inbox they
// read, and which fails in the ways that gateways do.
package smsgateway

import (
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
)

// Failure is how a gateway fails from now on.
type Failure struct {
	// Status is what it answers; 0: it takes the message.
	Status int
	// Body is what it answers besides; empty: an echo of the request.
	Body string
	// Location is where it redirects to.
	Location string
	// Hang has it answer nothing until the client goes. Cut has it close the
	// connection instead. It has read the message by then.
	Hang, Cut bool
	// Times is how many requests fail; 0: all.
	Times int
}

// Message is one that was taken.
type Message struct {
	To   string `json:"to"`
	Text string `json:"text"`
}

// Server is one that listens.
type Server struct {
	// URL is where messages go.
	URL string

	token string

	mu       sync.Mutex
	inbox    []Message
	requests int
	failure  Failure
}

// Start has a gateway listen on the loopback until the test ends. It takes JSON from
// whoever shows the token.
func Start(t *testing.T, token string) *Server {
	t.Helper()
	s := &Server{token: token}
	server := httptest.NewServer(s)
	t.Cleanup(func() {
		server.CloseClientConnections()
		server.Close()
	})
	s.URL = server.URL + "/send"
	return s
}

// Fail has the gateway fail from now on; the zero Failure mends it.
func (s *Server) Fail(f Failure) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.failure = f
}

// Inbox returns what was taken, oldest first.
func (s *Server) Inbox() []Message {
	s.mu.Lock()
	defer s.mu.Unlock()
	return append([]Message(nil), s.inbox...)
}

// Requests returns how often the gateway was asked.
func (s *Server) Requests() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.requests
}

// next counts a request, and returns how it fails.
func (s *Server) next() Failure {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.requests++
	f := s.failure
	if f.Times == 1 {
		s.failure = Failure{}
	} else if f.Times > 1 {
		s.failure.Times--
	}
	return f
}

// ServeHTTP implements http.Handler.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	content, err := io.ReadAll(r.Body)
	if err != nil {
		return
	}
	f := s.next()
	switch {
	case f.Hang:
		<-r.Context().Done()
		return
	case f.Cut:
		panic(http.ErrAbortHandler)
	case f.Location != "":
		w.Header().Set("Location", f.Location)
	}
	if f.Status != 0 {
		w.WriteHeader(f.Status)
		if f.Body == "" {
			f.Body = string(content) + " " + r.Header.Get("Authorization")
		}
		_, _ = io.WriteString(w, f.Body)
		return
	}
	s.take(w, r, content)
}

func (s *Server) take(w http.ResponseWriter, r *http.Request, content []byte) {
	var m Message
	decoder := json.NewDecoder(strings.NewReader(string(content)))
	decoder.DisallowUnknownFields()
	switch {
	case r.Header.Get("Authorization") != "Bearer "+s.token:
		w.WriteHeader(http.StatusUnauthorized)
		return
	case decoder.Decode(&m) != nil:
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	s.inbox = append(s.inbox, m)
	s.mu.Unlock()
	w.WriteHeader(http.StatusAccepted)
	_, _ = io.WriteString(w, `{"status":"queued"}`)
}
