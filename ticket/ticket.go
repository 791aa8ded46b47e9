// Package ticket carries a person from a gate to the portal and back: the
// signed request on the way there, the one-time ticket on the way back.
//
// The portal takes return URLs from signed requests only, and a ticket works
// once, for one origin, in the browser that the request came from. The package
// must not know how the portal signs anybody in, nor how a gate decides.
package ticket

import (
	"bytes"
	"context"
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/url"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

const (
	// RequestLifetime is how long a signed request and its state cookie count.
	RequestLifetime = 15 * time.Minute
	// Lifetime is how long a ticket counts.
	Lifetime = time.Minute
	// MaxReturn bounds a return URL within a request, in bytes.
	MaxReturn = 2 << 10

	namespace = "ticket"
)

var (
	// ErrInvalid says that a request or ticket isn't one, or was altered.
	ErrInvalid = errors.New("not a valid sign-in request")
	// ErrSpent says that a ticket was used, has expired, was meant for
	// another place, or that its sign-on has ended meanwhile.
	ErrSpent = errors.New("the ticket was used or has expired")
)

// Request is what a gate asks of the portal.
type Request struct {
	Origin    string                `json:"o"` // of the app: scheme, host, port
	Return    string                `json:"r"` // whole URL within Origin
	NonceHash string                `json:"n"` // of the nonce in the state cookie
	Ask       assurance.Requirement `json:"a"`
	Attempt   int                   `json:"c"` // how often this was started over
	Expires   time.Time             `json:"e"`
	// Switch asks for a sign-in even though somebody is signed in.
	Switch bool `json:"w,omitempty"`
	// Kept says that the return URL is longer than this one, and that Returns
	// keeps it.
	Kept bool `json:"k,omitempty"`
}

// Host returns the host name of the app, for people.
func (r Request) Host() string {
	u, err := url.Parse(r.Origin)
	if err != nil {
		return ""
	}
	return u.Hostname()
}

// Codec seals and opens requests; package keys offers it.
type Codec = session.Codec

// Requests signs and reads requests.
type Requests struct {
	codec Codec
	clock func() time.Time
}

// NewRequests returns a signer.
func NewRequests(codec Codec, clock func() time.Time) *Requests {
	return &Requests{codec: codec, clock: clock}
}

// Sign seals a request. The return URL must lie within the origin.
func (q *Requests) Sign(r Request) (string, error) {
	if !within(r.Return, r.Origin) || len(r.Return) > MaxReturn {
		return "", fmt.Errorf("signing a sign-in request: the return URL must lie within %s", r.Origin)
	}
	var raw bytes.Buffer
	encoder := json.NewEncoder(&raw)
	// Escaped for HTML, each "&" of a query would take up six bytes.
	encoder.SetEscapeHTML(false)
	if err := encoder.Encode(r); err != nil {
		return "", fmt.Errorf("writing a sign-in request: %w", err)
	}
	value, err := q.codec.Encode(raw.Bytes())
	if err != nil {
		return "", fmt.Errorf("signing a sign-in request: %w", err)
	}
	return value, nil
}

// Read opens a request that a gate signed, or returns ErrInvalid. A request
// over its age is returned too: where it leads is still known to be good.
func (q *Requests) Read(value string) (r Request, fresh bool, err error) {
	raw, err := q.codec.Decode(value)
	if err != nil {
		return Request{}, false, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := json.Unmarshal(raw, &r); err != nil {
		return Request{}, false, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return r, q.clock().Before(r.Expires), nil
}

// within reports whether the URL is the origin itself followed by a path.
func within(whole, origin string) bool {
	return strings.HasPrefix(whole, origin+"/")
}

// Store is what tickets need of the store.
type Store interface {
	PutRecord(ctx context.Context, r store.Record) error
	Atomically(ctx context.Context, fn func(tx store.Tx) error) error
}

// Tickets issues and redeems tickets.
type Tickets struct {
	store  Store
	clock  func() time.Time
	random io.Reader
}

// NewTickets returns an office for tickets.
func NewTickets(s Store, clock func() time.Time, random io.Reader) *Tickets {
	return &Tickets{store: s, clock: clock, random: random}
}

// body is what a ticket's record says.
type body struct {
	SignOn    string `json:"s"`
	Origin    string `json:"o"`
	NonceHash string `json:"n"`
}

// Issue makes a ticket for the app and browser that the request came from.
func (t *Tickets) Issue(ctx context.Context, signOn session.SignOn, r Request) (string, error) {
	value, err := token.New(t.random)
	if err != nil {
		return "", err
	}
	raw, err := json.Marshal(body{SignOn: signOn.ID, Origin: r.Origin, NonceHash: r.NonceHash})
	if err != nil {
		return "", fmt.Errorf("writing a ticket: %w", err)
	}
	err = t.store.PutRecord(ctx, store.Record{
		Namespace: namespace, Key: token.Hash(value), Owner: signOn.UserID,
		Value: raw, Expires: t.clock().Add(Lifetime),
	})
	if err != nil {
		return "", fmt.Errorf("keeping a ticket: %w", err)
	}
	return value, nil
}

// Redeem takes a ticket, exactly once, and returns its sign-on as it is now.
// ErrSpent is a definite no and spends the ticket; any other error means that
// it could not be told.
func (t *Tickets) Redeem(ctx context.Context, value string, r Request) (session.SignOn, session.User, error) {
	var (
		signOn  session.SignOn
		user    session.User
		refusal error
	)
	err := t.store.Atomically(ctx, func(tx store.Tx) error {
		// The refusal is kept beside the transaction's own error, which would
		// roll the taking back.
		signOn, user, refusal = session.SignOn{}, session.User{}, nil
		record, err := tx.TakeRecord(ctx, namespace, token.Hash(value), t.clock())
		if errors.Is(err, store.ErrNotFound) {
			refusal = ErrSpent
			return nil
		}
		if err != nil {
			return err
		}
		var b body
		if err := json.Unmarshal(record.Value, &b); err != nil {
			return fmt.Errorf("reading a ticket: %w", err)
		}
		if b.Origin != r.Origin || subtle.ConstantTimeCompare([]byte(b.NonceHash), []byte(r.NonceHash)) != 1 {
			refusal = ErrSpent
			return nil
		}
		signOn, user, err = session.Check(ctx, tx, b.SignOn, t.clock())
		if errors.Is(err, session.ErrEnded) {
			refusal = fmt.Errorf("%w: %w", ErrSpent, err)
			return nil
		}
		return err
	})
	if err != nil {
		return session.SignOn{}, session.User{}, fmt.Errorf("redeeming a ticket: %w", err)
	}
	return signOn, user, refusal
}
