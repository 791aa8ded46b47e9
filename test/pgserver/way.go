package pgserver

import (
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
)

// Way is a way to a server by TCP that can be cut, and that can be slow.
type Way struct {
	listener net.Listener
	socket   string

	mu   sync.Mutex
	cut  bool
	open map[net.Conn]struct{}

	running sync.WaitGroup
}

// NewWay returns a way to the server that listens at the path of a socket.
func NewWay(socket string) (*Way, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	w := &Way{listener: listener, socket: socket, open: make(map[net.Conn]struct{})}
	w.running.Go(w.accept)
	return w, nil
}

// URL is the address of a database by this way.
func (w *Way) URL(database string) string {
	return fmt.Sprintf("postgres://postgres@%s/%s?sslmode=disable", w.listener.Addr(), database)
}

func (w *Way) accept() {
	for {
		client, err := w.listener.Accept()
		if err != nil {
			return
		}
		w.running.Go(func() { w.carry(client) })
	}
}

func (w *Way) carry(client net.Conn) {
	defer client.Close()
	server, err := net.Dial("unix", w.socket)
	if err != nil {
		return
	}
	defer server.Close()
	if !w.keep(client, server) {
		return
	}
	defer w.drop(client, server)
	done := make(chan struct{}, 2)
	for _, pair := range [][2]net.Conn{{client, server}, {server, client}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1]) // however it ends, so does the connection
			done <- struct{}{}
		}()
	}
	<-done
	client.Close()
	server.Close()
	<-done
}

func (w *Way) keep(connections ...net.Conn) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.cut {
		return false
	}
	for _, c := range connections {
		w.open[c] = struct{}{}
	}
	return true
}

func (w *Way) drop(connections ...net.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	for _, c := range connections {
		delete(w.open, c)
	}
}

// Cut ends all connections and has no other made.
func (w *Way) Cut() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = true
	for c := range w.open {
		c.Close()
	}
}

// Restore lets connections be made again.
func (w *Way) Restore() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.cut = false
}

// Close ends the way.
func (w *Way) Close() error {
	err := w.listener.Close()
	if errors.Is(err, net.ErrClosed) {
		err = nil
	}
	w.Cut()
	w.running.Wait()
	return err
}
