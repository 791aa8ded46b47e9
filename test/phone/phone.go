// Package phone is a software phone for tests: it pairs and answers requests as
// docs/push-protocol.md says. It shares no code with the server, so that what both
// agree on is what the document says.
package phone

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
)

// Phone is a phone with one credential.
type Phone struct {
	// Origin is the authenticator's, and Client reaches it.
	Origin string
	Client *http.Client
	Key    *ecdsa.PrivateKey
	// Pairing is the id of the pairing that the phone has begun.
	Pairing string
}

// New returns a phone with a new key.
func New(origin string, client *http.Client) (*Phone, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	return &Phone{Origin: origin, Client: client, Key: key}, err
}

// Claims are those of a message besides the ones that all have.
type Claims map[string]any

// Answer is what the server answered.
type Answer struct {
	Status     int
	RetryAfter string
	Body       map[string]any
}

// Says returns a text of an answer; empty: there is none.
func (a Answer) Says(field string) string {
	said, _ := a.Body[field].(string)
	return said
}

func encode(raw []byte) string { return base64.RawURLEncoding.EncodeToString(raw) }

// jwk returns the public key with its members in the order of RFC 7638.
func (p *Phone) jwk() (string, error) {
	point, err := p.Key.PublicKey.Bytes()
	if err != nil {
		return "", err
	}
	return fmt.Sprintf(`{"crv":"P-256","kty":"EC","x":"%s","y":"%s"}`, encode(point[1:33]), encode(point[33:])), nil
}

// Thumbprint identifies the phone's key.
func (p *Phone) Thumbprint() string {
	jwk, err := p.jwk()
	if err != nil {
		panic(err) // the key was made by New
	}
	sum := sha256.Sum256([]byte(jwk))
	return encode(sum[:])
}

// Digits are the six digits that the phone shows while it is paired.
func (p *Phone) Digits() string {
	sum := sha256.Sum256([]byte("portcullis-pair-v1\n" + p.Pairing + p.Thumbprint()))
	return fmt.Sprintf("%06d", binary.BigEndian.Uint64(sum[:8])%1_000_000)
}

// Sign returns a message of a type.
func (p *Phone) Sign(kind string, claims Claims) ([]byte, error) {
	payload, err := json.Marshal(claims)
	if err != nil {
		return nil, err
	}
	header := fmt.Sprintf(`{"alg":"ES256","typ":"portcullis-%s+jwt","kid":"%s"}`, kind, p.Thumbprint())
	if kind == "pair" {
		jwk, err := p.jwk()
		if err != nil {
			return nil, err
		}
		header = fmt.Sprintf(`{"alg":"ES256","typ":"portcullis-pair+jwt","jwk":%s}`, jwk)
	}
	return p.SignRaw(header, payload)
}

// SignRaw signs any header and payload.
func (p *Phone) SignRaw(header string, payload []byte) ([]byte, error) {
	signed := encode([]byte(header)) + "." + encode(payload)
	hash := sha256.Sum256([]byte(signed))
	r, s, err := ecdsa.Sign(rand.Reader, p.Key, hash[:])
	if err != nil {
		return nil, err
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	s.FillBytes(signature[32:])
	return []byte(signed + "." + encode(signature)), nil
}

// Message returns a message with a fresh nonce.
func (p *Phone) Message(ctx context.Context, kind string, claims Claims) ([]byte, error) {
	nonce, err := p.Post(ctx, "nonce", nil)
	if err != nil {
		return nil, err
	}
	all := Claims{"aud": p.Origin, "nonce": nonce.Says("nonce")}
	maps.Copy(all, claims)
	return p.Sign(kind, all)
}

// Send sends a message with a fresh nonce.
func (p *Phone) Send(ctx context.Context, kind string, claims Claims) (Answer, error) {
	message, err := p.Message(ctx, kind, claims)
	if err != nil {
		return Answer{}, err
	}
	return p.Post(ctx, kind, message)
}

// Post posts a message to a path of the API.
func (p *Phone) Post(ctx context.Context, path string, message []byte) (Answer, error) {
	response, err := p.post(ctx, path, message)
	if err != nil {
		return Answer{}, err
	}
	defer response.Body.Close()
	a := Answer{Status: response.StatusCode, RetryAfter: response.Header.Get("Retry-After")}
	raw, err := io.ReadAll(response.Body)
	if err != nil {
		return a, err
	}
	if err := json.Unmarshal(raw, &a.Body); err != nil {
		return a, fmt.Errorf("%s answered %d %q: %w", path, a.Status, raw, err)
	}
	return a, nil
}

func (p *Phone) post(ctx context.Context, path string, message []byte) (*http.Response, error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, p.Origin+"/api/"+path, bytes.NewReader(message))
	if err != nil {
		return nil, err
	}
	request.Header.Set("Content-Type", "application/jose")
	return p.Client.Do(request)
}

// Listen returns the stream that tells of changes.
func (p *Phone) Listen(ctx context.Context) (io.ReadCloser, error) {
	message, err := p.Message(ctx, "listen", nil)
	if err != nil {
		return nil, err
	}
	response, err := p.post(ctx, "listen", message)
	if err == nil && response.StatusCode != http.StatusOK {
		response.Body.Close()
		return nil, fmt.Errorf("listening: %s", response.Status)
	}
	if err != nil {
		return nil, err
	}
	return response.Body, nil
}

// Pair sends the token of a QR code, or a typed code.
func (p *Phone) Pair(ctx context.Context, field, value string) (Answer, error) {
	a, err := p.Send(ctx, "pair", Claims{field: value, "name": "Pixel"})
	p.Pairing = a.Says("pairing")
	return a, err
}

// Request is an open request as the phone lists it.
type Request struct {
	ID      string
	Display []byte
}

// List returns the open requests.
func (p *Phone) List(ctx context.Context) ([]Request, error) {
	a, err := p.Send(ctx, "list", Claims{"subscription": ""})
	if err != nil || a.Status != http.StatusOK {
		return nil, fmt.Errorf("listing: %d %v: %w", a.Status, a.Body, err)
	}
	entries, _ := a.Body["requests"].([]any)
	var requests []Request
	for _, entry := range entries {
		fields, _ := entry.(map[string]any)
		id, _ := fields["id"].(string)
		encoded, _ := fields["display"].(string)
		display, err := base64.RawURLEncoding.DecodeString(encoded)
		if err != nil {
			return nil, err
		}
		requests = append(requests, Request{id, display})
	}
	return requests, nil
}

// Decide answers a request; number is empty unless the decision is allow.
func (p *Phone) Decide(ctx context.Context, r Request, decision, number string) (Answer, error) {
	return p.Send(ctx, "answer", r.Claims(decision, number))
}

// Claims are those of an answer to a request.
func (r Request) Claims(decision, number string) Claims {
	shown := sha256.Sum256(r.Display)
	claims := Claims{"request": r.ID, "shown": encode(shown[:]), "decision": decision}
	if number != "" {
		claims["number"] = number
	}
	return claims
}
