// Package estclient asks a portal for certificates (EST, RFC 7030), as the device
// agent does.
package estclient

import (
	"bytes"
	"context"
	"crypto"
	"crypto/ed25519"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strings"
	"time"

	"github.com/smallstep/pkcs7"
)

// StatusError is an unexpected answer of the portal.
type StatusError struct {
	Status int
	Text   string // what the portal says
}

func (e *StatusError) Error() string { return e.Text }

// Is reports whether an error is an answer with a status.
func Is(err error, status int) bool {
	var answer *StatusError
	return errors.As(err, &answer) && answer.Status == status
}

// Client talks to one portal. It isn't safe for concurrent use.
type Client struct {
	// Portal is its address, such as https://login.example.com.
	Portal string
	HTTP   *http.Client
	// About are headers that say what machine this is.
	About map[string]string
	// Now is the portal's time as of the last answer; zero: there was none.
	Now time.Time
}

// maxAnswer bounds an answer in bytes.
const maxAnswer = 1 << 20

const path = "/.well-known/est/"

func (c *Client) do(ctx context.Context, method, what string, body []byte, authorize func(*http.Request)) ([]byte, error) {
	request, err := http.NewRequestWithContext(ctx, method, strings.TrimSuffix(c.Portal, "/")+path+what, bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	for name, value := range c.About {
		request.Header.Set(name, value)
	}
	if body != nil {
		request.Header.Set("Content-Type", "application/pkcs10")
		request.Header.Set("Content-Transfer-Encoding", "base64")
	}
	if authorize != nil {
		authorize(request)
	}
	response, err := c.HTTP.Do(request)
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	if date, err := http.ParseTime(response.Header.Get("Date")); err == nil {
		c.Now = date
	}
	content, err := io.ReadAll(io.LimitReader(response.Body, maxAnswer))
	if err != nil {
		return nil, fmt.Errorf("reading the answer of %s: %w", c.Portal, err)
	}
	if response.StatusCode != http.StatusOK && response.StatusCode != http.StatusNoContent {
		text := strings.TrimSpace(string(content))
		if text == "" || strings.ContainsAny(text, "<\n") {
			text = c.Portal + " answered " + response.Status
		}
		return nil, &StatusError{response.StatusCode, text}
	}
	return content, nil
}

// CACertificates returns the certificates of the CA.
func (c *Client) CACertificates(ctx context.Context) ([]*x509.Certificate, error) {
	content, err := c.do(ctx, http.MethodGet, "cacerts", nil, nil)
	if err != nil {
		return nil, err
	}
	return certificates(content)
}

// Application is what a machine sends to enrol.
type Application struct {
	Name   string // of the device
	Secret string // token, or what stands for somebody's confirmation
	// Former is the machine's certificate, which may have expired, and FormerKey its key;
	// nil: it has none.
	Former    *x509.Certificate
	FormerKey crypto.Signer
}

// pollEvery is how often Enrol asks whether somebody has confirmed.
const pollEvery = 5 * time.Second

// Enrol gets the first certificate of a key. It waits until somebody has confirmed, if
// that is still needed.
func (c *Client) Enrol(ctx context.Context, key crypto.Signer, a Application) (*x509.Certificate, error) {
	request, err := signingRequest(key, a.Name)
	if err != nil {
		return nil, err
	}
	for {
		content, err := c.apply(ctx, request, a)
		if err == nil {
			return own(content, key)
		}
		if !Is(err, http.StatusAccepted) {
			return nil, err
		}
		select {
		case <-time.After(pollEvery):
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

func (c *Client) apply(ctx context.Context, request []byte, a Application) ([]byte, error) {
	var former string
	if a.Former != nil {
		var err error
		if former, err = c.proof(ctx, request, a.Former, a.FormerKey); err != nil {
			return nil, err
		}
	}
	return c.do(ctx, http.MethodPost, "simpleenroll", encoded(request), func(r *http.Request) {
		r.SetBasicAuth("mfa-agent", a.Secret)
		r.Header.Set("Device-Name", a.Name)
		if former != "" {
			r.Header.Set("Device-Former", former)
		}
	})
}

// Question is what a machine without a browser has somebody confirm elsewhere
// (RFC 8628 §3.2).
type Question struct {
	Secret string `json:"device_code"`
	Code   string `json:"user_code"` // to be typed
	Page   string `json:"verification_uri"`
}

// Ask returns what somebody needs to confirm elsewhere, and the secret for Enrol.
func (c *Client) Ask(ctx context.Context, key crypto.Signer, name string) (Question, error) {
	var q Question
	request, err := signingRequest(key, name)
	if err != nil {
		return q, err
	}
	content, err := c.do(ctx, http.MethodPost, "ask", encoded(request), func(r *http.Request) { r.Header.Set("Device-Name", name) })
	if err != nil {
		return q, err
	}
	if err := json.Unmarshal(content, &q); err != nil {
		return q, fmt.Errorf("reading the answer of %s: %w", c.Portal, err)
	}
	return q, nil
}

// Renew gets a certificate for a key, by a signature with the key of a certificate
// that the device has.
func (c *Client) Renew(ctx context.Context, key crypto.Signer, name string, old *x509.Certificate, oldKey crypto.Signer) (*x509.Certificate, error) {
	request, err := signingRequest(key, name)
	if err != nil {
		return nil, err
	}
	content, err := c.prove(ctx, "simplereenroll", request, old, oldKey)
	if err != nil {
		return nil, err
	}
	return own(content, key)
}

// Retire has the device revoked that a certificate belongs to.
func (c *Client) Retire(ctx context.Context, old *x509.Certificate, oldKey crypto.Signer) error {
	_, err := c.prove(ctx, "retire", []byte("retire"), old, oldKey)
	return err
}

// prove sends something with a signature by the key of a certificate.
func (c *Client) prove(ctx context.Context, what string, body []byte, old *x509.Certificate, oldKey crypto.Signer) ([]byte, error) {
	proof, err := c.proof(ctx, body, old, oldKey)
	if err != nil {
		return nil, err
	}
	return c.do(ctx, http.MethodPost, what, encoded(body), func(r *http.Request) { r.Header.Set("Authorization", "Device "+proof) })
}

// proof signs something with the key of a certificate.
func (c *Client) proof(ctx context.Context, body []byte, old *x509.Certificate, oldKey crypto.Signer) (string, error) {
	nonce, err := c.do(ctx, http.MethodGet, "nonce", nil, nil)
	if err != nil {
		return "", err
	}
	signature, err := sign(oldKey, signed(string(nonce), body))
	if err != nil {
		return "", err
	}
	base := base64.RawURLEncoding
	return base.EncodeToString(old.Raw) + "." + string(nonce) + "." + base.EncodeToString(signature), nil
}

// signed is what proves a renewal, as the portal has it.
func signed(nonce string, request []byte) []byte {
	sum := sha256.Sum256(request)
	return []byte("device renewal\n" + nonce + "\n" + base64.RawURLEncoding.EncodeToString(sum[:]))
}

func sign(key crypto.Signer, message []byte) ([]byte, error) {
	if _, is := key.Public().(ed25519.PublicKey); is {
		return key.Sign(rand.Reader, message, crypto.Hash(0))
	}
	sum := sha256.Sum256(message)
	return key.Sign(rand.Reader, sum[:], crypto.SHA256)
}

// signingRequest makes a PKCS #10 request: of it, the portal takes the key alone.
func signingRequest(key crypto.Signer, name string) ([]byte, error) {
	request, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{Subject: pkix.Name{CommonName: name}}, key)
	if err != nil {
		return nil, fmt.Errorf("making a signing request: %w", err)
	}
	return request, nil
}

func encoded(der []byte) []byte { return []byte(base64.StdEncoding.EncodeToString(der)) }

// certificates reads a certs-only message.
func certificates(content []byte) ([]*x509.Certificate, error) {
	der, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(string(content)), ""))
	if err != nil {
		return nil, fmt.Errorf("reading certificates: %w", err)
	}
	message, err := pkcs7.Parse(der)
	if err != nil {
		return nil, fmt.Errorf("reading certificates: %w", err)
	}
	return message.Certificates, nil
}

// own returns the certificate of a key.
func own(content []byte, key crypto.Signer) (*x509.Certificate, error) {
	all, err := certificates(content)
	if err != nil {
		return nil, err
	}
	for _, certificate := range all {
		if public, ok := certificate.PublicKey.(interface{ Equal(crypto.PublicKey) bool }); ok && public.Equal(key.Public()) {
			return certificate, nil
		}
	}
	return nil, errors.New("the portal sent the certificate of another key")
}
