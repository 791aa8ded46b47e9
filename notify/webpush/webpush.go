// Package webpush sends notifications to phones through their push services: RFC 8030,
// RFC 8291 and RFC 8292. A service learns that a phone is sent something, and when, but
// not what. The package must not know what is decided on phones.
//
// It needs some 50 lines of the standard library's cryptography. The library that
// offers the same follows redirects, and takes neither key nor salt, so the standard's
// own example can't be tried with it.
package webpush

import (
	"bytes"
	"cmp"
	"context"
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/rand"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/push"
	"github.com/portcullis-mfa/portcullis/factors/push/message"
	"github.com/portcullis-mfa/portcullis/notify"
)

// vendors are the push services of the browsers' makers. A name with a dot in front
// stands for all hosts below it.
var vendors = []string{"fcm.googleapis.com", ".push.services.mozilla.com", ".push.apple.com", ".notify.windows.com"}

// Allows returns a function that reports whether notifications may be sent through an
// endpoint: one of the browsers' makers, or of services such as push.example.com and
// *.push.example.com.
func Allows(services []string) func(*url.URL) bool {
	allowed := slices.Clone(vendors)
	for _, service := range services {
		allowed = append(allowed, strings.TrimPrefix(strings.ToLower(service), "*"))
	}
	return func(endpoint *url.URL) bool {
		host := strings.ToLower(endpoint.Hostname())
		return endpoint.Scheme == "https" && endpoint.User == nil && slices.ContainsFunc(allowed, func(name string) bool {
			return host == name || strings.HasPrefix(name, ".") && strings.HasSuffix(host, name)
		})
	}
}

// Settings are what a Sender is made of. All fields but Proxy are needed.
type Settings struct {
	// Key signs what is sent, RFC 8292.
	Key *ecdsa.PrivateKey
	// Subject is who push services contact about problems.
	Subject string
	// Allowed is what Allows returned. It is asked again before each notification.
	Allowed func(endpoint *url.URL) bool
	// Proxy is the proxy through which push services are reached; nil: there is none.
	Proxy *url.URL
	// Text returns a text in a language.
	Text  func(language, key string, values map[string]any) string
	Clock func() time.Time
	// Drop forgets the subscription of a phone, which is gone.
	Drop func(ctx context.Context, phone push.Phone) error
}

// Sender sends notifications. It is safe for concurrent use.
type Sender struct {
	Settings
	client *http.Client
}

// New returns a Sender.
func New(s Settings) *Sender { return &Sender{s, newClient(s.Proxy, newDialer())} }

// notification is what the app's service worker gets, in the form that browsers can
// display by themselves (Declarative Web Push).
type notification struct {
	WebPush      int  `json:"web_push"` // always 8030
	Notification told `json:"notification"`
	Mutable      bool `json:"mutable"`
}

type told struct {
	Title    string `json:"title"`
	Body     string `json:"body"`
	Navigate string `json:"navigate"`
}

// Unmetered implements notify.Unmetered: flows limit how often phones are asked.
func (s *Sender) Unmetered() {}

// Write implements notify.Writer: it notifies each phone of a request. It fails only
// if no phone could be notified.
func (s *Sender) Write(ctx context.Context, _ string, letter factors.Letter) (answer string, err error) {
	n, ok := letter.Content.(push.Notification)
	if !ok {
		return "", fmt.Errorf("a notification can't be about a %T", letter.Content)
	}
	app := n.Display.App
	values := map[string]any{"App": app, "Account": n.Display.Account}
	body := "push.notification.body"
	if app == "" {
		body = "push.notification.body_portal"
	}
	content, err := json.Marshal(notification{8030, told{
		s.Text(n.Language, "push.notification.title", values), s.Text(n.Language, body, values), n.Navigate,
	}, true})
	if err != nil {
		return "", fmt.Errorf("writing a notification: %w", err)
	}
	return "", s.sendAll(ctx, n, content)
}

// sendAll notifies all phones at once, so that none waits for another's push service. If
// none could be notified, it returns the failure that is most likely to pass.
func (s *Sender) sendAll(ctx context.Context, n push.Notification, content []byte) error {
	outcomes := make(chan error, len(n.Phones))
	for _, phone := range n.Phones {
		go func() { outcomes <- s.send(ctx, phone, content, n.Expires) }()
	}
	var failures []error
	notified := false
	for range n.Phones {
		if err := <-outcomes; err == nil {
			notified = true
		} else {
			failures = append(failures, err)
		}
	}
	if notified || len(failures) == 0 {
		return nil
	}
	slices.SortFunc(failures, func(a, b error) int { return cmp.Compare(lasting(a), lasting(b)) })
	return failures[0]
}

// lasting orders failures: those that may pass come first.
func lasting(err error) int {
	failure := new(notify.Failure)
	switch {
	case !errors.As(err, &failure):
		return 1
	case failure.Permanent:
		return 2
	}
	return 0
}

// send notifies one phone.
func (s *Sender) send(ctx context.Context, phone push.Phone, content []byte, expires time.Time) error {
	left := expires.Sub(s.Clock())
	endpoint, err := url.Parse(phone.Subscription.Endpoint)
	if err != nil || !s.Allowed(endpoint) || left <= 0 {
		return notify.ErrVoid
	}
	body, err := s.encrypted(*phone.Subscription, content)
	if err != nil {
		return &notify.Failure{Code: "subscription", Permanent: true, Err: err}
	}
	authorization, err := s.authorization(endpoint)
	if err != nil {
		return err
	}
	request, err := http.NewRequestWithContext(ctx, http.MethodPost, endpoint.String(), bytes.NewReader(body))
	if err != nil {
		return &notify.Failure{Code: "subscription", Permanent: true, Err: err}
	}
	topic := sha256.Sum256([]byte("topic\x00" + phone.Thumbprint)) // one subscription serves several accounts
	for name, value := range map[string]string{
		"Authorization": authorization, "Content-Encoding": "aes128gcm", "Content-Type": "application/octet-stream",
		"TTL": strconv.Itoa(int(left / time.Second)), "Urgency": "high", "Topic": message.Encode(topic[:24]),
	} {
		request.Header.Set(name, value)
	}
	response, err := s.client.Do(request)
	if err != nil {
		return &notify.Failure{Code: "connect", Err: withoutURL(err)}
	}
	defer response.Body.Close()
	_, _ = io.CopyN(io.Discard, response.Body, 4<<10) // so that the connection can be used again
	return s.judge(ctx, response, phone)
}

// withoutURL leaves the endpoint out of an error: it is a secret of the phone's.
func withoutURL(err error) error {
	if failed := new(url.Error); errors.As(err, &failed) {
		return failed.Err
	}
	return err
}

// judge says what an answer of a push service means, RFC 8030 §5 and §8.
func (s *Sender) judge(ctx context.Context, response *http.Response, phone push.Phone) error {
	status := response.StatusCode
	failure := &notify.Failure{Code: "service", Status: strconv.Itoa(status), After: s.retryAfter(response.Header.Get("Retry-After"))}
	switch {
	case status >= 200 && status < 300:
		return nil
	case status == http.StatusNotFound, status == http.StatusGone:
		failure.Code, failure.Permanent = "gone", true
		failure.Err = s.Drop(ctx, phone)
	case status != http.StatusTooManyRequests && status < 500:
		failure.Permanent = true
	}
	return failure
}

// retryAfter reads how long a service wants to be left alone, RFC 9110 §10.2.3; 0: it
// doesn't say.
func (s *Sender) retryAfter(written string) time.Duration {
	if seconds, err := strconv.ParseUint(written, 10, 31); err == nil {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(written); err == nil {
		return max(0, at.Sub(s.Clock()))
	}
	return 0
}

// encrypted writes the body for a subscription.
func (s *Sender) encrypted(to message.Subscription, content []byte) ([]byte, error) {
	point, isKey := message.Decode(to.Key)
	secret, isSecret := message.Decode(to.Secret)
	if !isKey || !isSecret {
		return nil, errors.New("a subscription has no key")
	}
	receiver, err := ecdh.P256().NewPublicKey(point)
	if err != nil {
		return nil, fmt.Errorf("reading the key of a subscription: %w", err)
	}
	sender, err := ecdh.P256().GenerateKey(rand.Reader)
	if err != nil {
		return nil, fmt.Errorf("making a key: %w", err)
	}
	salt := make([]byte, saltSize)
	rand.Read(salt) // never fails
	return encrypt(content, receiver, secret, sender, salt, padded)
}

// tokenLifetime is below the day that RFC 8292 §2 allows.
const tokenLifetime = 12 * time.Hour

// authorization identifies the sender to a push service, RFC 8292 §3.
func (s *Sender) authorization(endpoint *url.URL) (string, error) {
	claims, err := json.Marshal(map[string]any{
		"aud": endpoint.Scheme + "://" + endpoint.Host, "exp": s.Clock().Add(tokenLifetime).Unix(), "sub": s.Subject,
	})
	if err != nil {
		return "", fmt.Errorf("writing a VAPID token: %w", err)
	}
	signed := message.Encode([]byte(`{"typ":"JWT","alg":"ES256"}`)) + "." + message.Encode(claims)
	hash := sha256.Sum256([]byte(signed))
	r, v, err := ecdsa.Sign(rand.Reader, s.Key, hash[:])
	if err != nil {
		return "", fmt.Errorf("signing a VAPID token: %w", err)
	}
	signature := make([]byte, 64)
	r.FillBytes(signature[:32])
	v.FillBytes(signature[32:])
	key, err := PublicKey(s.Key)
	return "vapid t=" + signed + "." + message.Encode(signature) + ", k=" + key, err
}

// PublicKey is what browsers subscribe with, as base64url of an uncompressed point.
func PublicKey(key *ecdsa.PrivateKey) (string, error) {
	point, err := key.PublicKey.Bytes()
	if err != nil {
		return "", fmt.Errorf("writing the key of notifications: %w", err)
	}
	return message.Encode(point), nil
}
