// Package session holds sign-ons and the sessions that refer to them: what a
// session cookie says, when it counts, and when a sign-on has ended.
//
// A sign-on is a record in the store; a session is one host's sealed cookie
// that names it and copies its proofs as of minting. Each process keeps the
// sign-ons that are in use in memory, drops what the store's feed says has
// changed, and ends the connections of those that have ended (Keeper). The
// package must not know how anybody signs in, nor HTTP.
package session

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync/atomic"
	"time"

	"github.com/maypok86/otter/v2"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

// ErrInvalid says that a cookie isn't ours, isn't for this host, is over its
// age or belongs to another life of the store: it counts as none.
var ErrInvalid = errors.New("not a valid session")

// Codec seals and opens cookie values; package keys offers it.
type Codec interface {
	Encode(value []byte) (string, error)
	Decode(value string) ([]byte, error)
}

// Session is what the session cookie of one host says.
type Session struct {
	SignOn string
	User   string            // id
	Host   string            // the only host where it counts
	Proofs []assurance.Proof // as of minting
	Minted time.Time
	// Asked is what the rule asked for that the session was minted to meet.
	Asked       assurance.Requirement
	Expires     time.Time // the sign-on's absolute limit
	Incarnation string    // of the store

	// found is what a Keeper found last; nil: that isn't remembered.
	found *found
}

// found is where a sign-on and its user were found in memory. They may be there
// no more: whoever looks here asks whether they still count.
type found struct {
	signOn  atomic.Pointer[row[keptSignOn]]
	profile atomic.Pointer[row[Profile]]
}

// Cookies mints and reads session cookies.
type Cookies struct {
	codec       Codec
	generation  func() uint64
	incarnation func() string
	clock       func() time.Time
	// opened are the cookies that were opened lately, by their whole value:
	// what one says never changes, so opening it once is enough. Whether it
	// still counts is decided each time.
	opened *otter.Cache[string, *openedCookie]
}

// openedCookie is what a cookie says, and the generation of keys it was opened
// with. All of it is one allocation.
type openedCookie struct {
	Session
	found      found
	generation uint64
}

// maxOpened bounds how many opened cookies are remembered, at about 900 bytes
// each.
const maxOpened = 75_000

// NewCookies returns a mint for the store with the present incarnation. generation
// changes whenever the codec's keys do: values that other keys opened are forgotten.
func NewCookies(codec Codec, generation func() uint64, incarnation func() string, clock func() time.Time) *Cookies {
	return &Cookies{
		codec: codec, generation: generation, incarnation: incarnation, clock: clock,
		opened: otter.Must(&otter.Options[string, *openedCookie]{MaximumSize: maxOpened}),
	}
}

// Mint returns the value of a new cookie for host, meant to meet what was asked.
func (c *Cookies) Mint(signOn SignOn, host string, asked assurance.Requirement) (string, error) {
	s := Session{
		SignOn: signOn.ID, User: signOn.UserID, Host: host, Proofs: signOn.Proofs,
		Minted: c.clock(), Asked: asked, Expires: signOn.Expires, Incarnation: c.incarnation(),
	}
	value, err := c.codec.Encode(s.encode())
	if err != nil {
		return "", fmt.Errorf("sealing a session: %w", err)
	}
	return value, nil
}

// Read returns what a cookie that host received says, or ErrInvalid. It asks
// no store, so garbage costs the store nothing. The session is shared between
// callers, who only read it.
func (c *Cookies) Read(value, host string) (*Session, error) {
	s, err := c.open(value)
	if err != nil {
		return nil, err
	}
	if s.Host != host || s.Incarnation != c.incarnation() || !c.clock().Before(s.Expires) {
		return nil, ErrInvalid
	}
	return s, nil
}

// Peek returns what a cookie that host received once said, whether or not it
// still counts.
func (c *Cookies) Peek(value, host string) (*Session, bool) {
	s, err := c.open(value)
	return s, err == nil && s.Host == host
}

func (c *Cookies) open(value string) (*Session, error) {
	// Asked first: keys that come while the cookie is opened make it opened
	// with older ones.
	generation := c.generation()
	if s, ok := c.opened.GetIfPresent(value); ok && s.generation == generation {
		return &s.Session, nil
	}
	raw, err := c.codec.Decode(value)
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	s := &openedCookie{generation: generation}
	if err := s.decode(raw); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	s.Session.found = &s.found
	c.opened.Set(strings.Clone(value), s)
	return &s.Session, nil
}

// PortalSession is what the portal's own cookie says. Secret must match the
// hash that the sign-on names, so that each rise of assurance voids the cookie
// that was there before.
type PortalSession struct {
	SignOn string `json:"s"`
	Secret string `json:"p"`
}

// PortalCookies seals and reads the portal's cookie.
type PortalCookies struct{ codec Codec }

// NewPortalCookies returns a codec for the portal's cookie.
func NewPortalCookies(codec Codec) *PortalCookies { return &PortalCookies{codec: codec} }

// Mint returns the value of a new portal cookie.
func (c *PortalCookies) Mint(p PortalSession) (string, error) {
	raw, err := json.Marshal(p)
	if err != nil {
		return "", fmt.Errorf("writing a portal session: %w", err)
	}
	return c.codec.Encode(raw)
}

// Read returns what the portal's cookie says, or ErrInvalid.
func (c *PortalCookies) Read(value string) (PortalSession, error) {
	var p PortalSession
	raw, err := c.codec.Decode(value)
	if err != nil {
		return p, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	if err := json.Unmarshal(raw, &p); err != nil {
		return p, fmt.Errorf("%w: %w", ErrInvalid, err)
	}
	return p, nil
}

// Store is what this package needs of the store.
type Store interface {
	SignOnByID(ctx context.Context, id string) (SignOn, error)
	UserByID(ctx context.Context, id string) (User, error)
	TouchSignOns(ctx context.Context, seen []store.Activity) error
	EndUnseenSignOn(ctx context.Context, id string, lastSeen, at time.Time, reason string) error
	EndSignOn(ctx context.Context, id string, at time.Time, reason string) error
	DeviceByCertificate(ctx context.Context, certificate string) (Device, error)
	TouchDevices(ctx context.Context, seen []store.DeviceActivity) error
	AccessTokenBySelector(ctx context.Context, selector string) (store.AccessToken, error)
	ListAccessTokens(ctx context.Context) ([]store.AccessToken, error)
	TouchAccessTokens(ctx context.Context, seen []store.AccessTokenActivity) error
	Atomically(ctx context.Context, fn func(tx store.Tx) error) error
}
