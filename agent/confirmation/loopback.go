// Package confirmation has somebody confirm in a browser that a machine may become their
// device. The browser brings the portal's answer back to a port of 127.0.0.1 (RFC 8252
// §7.3). PKCE (RFC 7636) makes the answer useless to anybody else.
package confirmation

import (
	"context"
	"crypto"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"crypto/x509"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"time"
)

// lifetime is how long somebody has to confirm.
const lifetime = 5 * time.Minute

var (
	// ErrDeclined says that somebody declined in the browser.
	ErrDeclined = errors.New("the request was declined in the browser")
	// ErrTimeout says that nobody confirmed in time.
	ErrTimeout = errors.New("nobody confirmed within 5 minutes: run mfa-agent enrol again")
)

// Machine is what the person who confirms is told about the machine.
type Machine struct {
	Key          crypto.PublicKey
	Name, System string
}

// Loopback waits on a port of 127.0.0.1 for the portal's answer. It takes only one.
type Loopback struct {
	server          *http.Server
	port            int
	state, verifier string
	answers         chan answer
	// leads gets the page that the browser goes to once the enrolment has ended, with or
	// without a certificate.
	leads chan string
}

type answer struct {
	code     string
	declined bool
}

// Listen starts waiting for an answer. Finish ends it.
func Listen() (*Loopback, error) {
	listener, err := net.Listen("tcp4", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("waiting for the browser: %w", err)
	}
	l := &Loopback{
		port: listener.Addr().(*net.TCPAddr).Port, state: secret(), verifier: secret(),
		answers: make(chan answer, 1), leads: make(chan string, 1),
	}
	l.server = &http.Server{Handler: l, ReadHeaderTimeout: 10 * time.Second, MaxHeaderBytes: 32 << 10}
	go func() { _ = l.server.Serve(listener) }() // it ends with Finish
	return l, nil
}

// secret returns 256 random bits in 43 letters.
func secret() string {
	bits := make([]byte, 32)
	rand.Read(bits) // never fails
	return base64.RawURLEncoding.EncodeToString(bits)
}

// Address returns the page of the portal on which somebody confirms.
func (l *Loopback) Address(portal string, m Machine) (string, error) {
	der, err := x509.MarshalPKIXPublicKey(m.Key)
	if err != nil {
		return "", fmt.Errorf("encoding the key: %w", err)
	}
	key, challenge := sha256.Sum256(der), sha256.Sum256([]byte(l.verifier))
	request, err := json.Marshal(map[string]any{
		"key": hex.EncodeToString(key[:]), "challenge": base64.RawURLEncoding.EncodeToString(challenge[:]),
		"state": l.state, "port": l.port, "name": m.Name, "system": m.System,
	})
	if err != nil {
		return "", fmt.Errorf("encoding the request: %w", err)
	}
	return portal + "/account/devices/confirm?" + url.Values{"request": {base64.RawURLEncoding.EncodeToString(request)}}.Encode(), nil
}

// Wait returns the secret that the portal accepts for an enrolment, once somebody has
// confirmed it. It returns ErrDeclined or ErrTimeout otherwise.
func (l *Loopback) Wait(ctx context.Context) (string, error) {
	timeout := time.NewTimer(lifetime)
	defer timeout.Stop()
	select {
	case given := <-l.answers:
		if given.declined {
			return "", ErrDeclined
		}
		return given.code + "." + l.verifier, nil
	case <-timeout.C:
		return "", ErrTimeout
	case <-ctx.Done():
		return "", ctx.Err()
	}
}

// Finish redirects the browser that brought the answer to a page, and stops waiting.
func (l *Loopback) Finish(page string) error {
	l.leads <- page
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	return l.server.Shutdown(ctx)
}

// ServeHTTP takes the answer. Another site's page can send the browser here too, even
// under another name for 127.0.0.1, but it doesn't know the state.
func (l *Loopback) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	w.Header().Set("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
	query := r.URL.Query()
	expected := r.Method == http.MethodGet && r.URL.Path == "/" && r.Host == fmt.Sprintf("127.0.0.1:%d", l.port)
	if !expected || subtle.ConstantTimeCompare([]byte(query.Get("state")), []byte(l.state)) != 1 {
		http.NotFound(w, r)
		return
	}
	given := answer{code: query.Get("code"), declined: query.Get("error") != ""}
	if given.code == "" && !given.declined {
		http.NotFound(w, r)
		return
	}
	select {
	case l.answers <- given:
	default:
		http.Error(w, "This was answered already.", http.StatusConflict)
		return
	}
	select {
	case page := <-l.leads:
		http.Redirect(w, r, page, http.StatusSeeOther)
	case <-r.Context().Done():
	}
}
