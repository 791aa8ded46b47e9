package harness

import (
	"fmt"
	"math/rand/v2"
	"net"
	"testing"
)

// Ports are taken from below the range that Linux gives to outgoing
// connections, so that none of those sits on a port while its server restarts.
const (
	firstPort = 20000
	lastPort  = 31999
)

// freePort reserves a port for the rest of the test: no other test, of this
// process or another, is given it meanwhile.
func freePort(t testing.TB) int {
	t.Helper()
	for range 1000 {
		port := firstPort + rand.IntN(lastPort-firstPort+1)
		claim, err := claimPort(port)
		if err != nil {
			continue
		}
		if !portIsFree(port) {
			_ = claim.Close()
			continue
		}
		t.Cleanup(func() { _ = claim.Close() })
		return port
	}
	t.Fatal("found no free port")
	return 0
}

// claimPort marks a port as given away. The mark is a socket in Linux's
// abstract name space: only one process can have it, and it dies with it.
func claimPort(port int) (net.Listener, error) {
	return net.Listen("unix", fmt.Sprintf("@portcullis-test-port-%d", port))
}

// portIsFree reports whether a server could listen there, for HTTP/3 too.
func portIsFree(port int) bool {
	address := fmt.Sprintf(":%d", port)
	stream, err := net.Listen("tcp", address)
	if err != nil {
		return false
	}
	_ = stream.Close()
	packets, err := net.ListenPacket("udp", address)
	if err != nil {
		return false
	}
	_ = packets.Close()
	return true
}
