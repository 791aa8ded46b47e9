package push

import (
	"crypto/ecdh"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/push/message"
)

// Phone is a paired phone, as its credential keeps it.
type Phone struct {
	Key *ecdsa.PublicKey
	// Thumbprint identifies the key.
	Thumbprint string
	// Subscription is where notifications are sent; nil: nowhere.
	Subscription *message.Subscription
	// Heard is when the phone was last heard from, to the hour.
	Heard time.Time
}

// stored is how a phone is written.
type stored struct {
	Key          []byte                `json:"key"` // uncompressed
	Subscription *message.Subscription `json:"subscription,omitempty"`
	Heard        time.Time             `json:"heard,omitzero"`
}

// ReadPhone reads the secret of a credential.
func ReadPhone(secret []byte) (Phone, error) {
	var kept stored
	if err := json.Unmarshal(secret, &kept); err != nil {
		return Phone{}, fmt.Errorf("reading a phone: %w", err)
	}
	key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), kept.Key)
	if err != nil {
		return Phone{}, errors.New("reading a phone: its key isn't one of P-256")
	}
	thumbprint, err := message.Thumbprint(key)
	return Phone{key, thumbprint, kept.Subscription, kept.Heard}, err
}

// Secret is what the phone's credential keeps.
func (p Phone) Secret() ([]byte, error) {
	point, err := p.Key.Bytes()
	if err != nil {
		return nil, fmt.Errorf("writing a phone: %w", err)
	}
	return json.Marshal(stored{point, p.Subscription, p.Heard})
}

// Endpoint identifies where the phone is subscribed, as the app tells it; empty: it
// isn't.
func (p Phone) Endpoint() string {
	if p.Subscription == nil {
		return ""
	}
	sum := sha256.Sum256([]byte(p.Subscription.Endpoint))
	return message.Encode(sum[:])
}

// hourly is how often it is noted that a phone was heard from.
const hourly = time.Hour

// HeardAt returns the phone as it is after it was heard from, and whether that is worth
// noting.
func (p Phone) HeardAt(now time.Time) (Phone, bool) {
	if since := now.Sub(p.Heard); since >= 0 && since < hourly {
		return p, false
	}
	p.Heard = now
	return p, true
}

// maxEndpoint bounds the address of a subscription.
const maxEndpoint = 1024

// Accepts reports whether notifications can be sent with a subscription.
func (f *Factor) Accepts(s message.Subscription) bool {
	endpoint, err := url.Parse(s.Endpoint)
	if f.Allowed == nil || err != nil || len(s.Endpoint) > maxEndpoint || endpoint.User != nil || !f.Allowed(endpoint) {
		return false
	}
	point, isKey := message.Decode(s.Key)
	secret, isSecret := message.Decode(s.Secret)
	_, err = ecdh.P256().NewPublicKey(point)
	return isKey && err == nil && isSecret && len(secret) == secretSize
}

// secretSize is the size of a subscription's secret, RFC 8291 §3.2.
const secretSize = 16

// named returns the phone among credentials that a key belongs to.
func named(all []factors.Credential, thumbprint string) (factors.Credential, Phone, bool, error) {
	for _, c := range all {
		phone, err := ReadPhone(c.Secret)
		if err != nil {
			return factors.Credential{}, Phone{}, false, err
		}
		if phone.Thumbprint == thumbprint {
			return c, phone, true, nil
		}
	}
	return factors.Credential{}, Phone{}, false, nil
}

const longestName = 40

// nameOf is what a phone is called that calls itself something.
func nameOf(written string) string {
	name := strings.TrimSpace(strings.Map(func(r rune) rune {
		if r == utf8.RuneError || !unicode.IsPrint(r) {
			return -1
		}
		return r
	}, written))
	if letters := []rune(name); len(letters) > longestName {
		name = strings.TrimSpace(string(letters[:longestName]))
	}
	if name == "" {
		return "Phone"
	}
	return name
}
