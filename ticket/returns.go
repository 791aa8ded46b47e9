package ticket

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/portcullis-mfa/portcullis/netblock"
	"github.com/portcullis-mfa/portcullis/store"
)

const (
	// MaxKeptReturn bounds a return URL that Returns keeps, in bytes.
	MaxKeptReturn = 16 << 10
	// MaxSealedReturn bounds it as Returns' codec seals it.
	MaxSealedReturn = 2 * MaxKeptReturn
	// KeptReturnLifetime is how long a return URL is kept: longer than a sign-in may
	// take.
	KeptReturnLifetime = 90 * time.Minute

	// maxKeptReturns bounds how many are kept in each KeptReturnLifetime, since
	// strangers can have them kept; addressShare and networkShare are how many of
	// them one address can have, and the wider network that it belongs to.
	maxKeptReturns = 1000
	addressShare   = 200 // so many people may share one
	networkShare   = 2 * addressShare

	returnNamespace = "return"
)

// ErrTooManyReturns says that no more return URLs are kept for now.
var ErrTooManyReturns = errors.New("too many long return URLs are being kept")

// ReturnStore is the part of the store that Returns needs.
type ReturnStore interface {
	PutRecord(ctx context.Context, r store.Record) error
	GetRecord(ctx context.Context, namespace, key string, now time.Time) (store.Record, error)
}

// Returns keeps return URLs that are longer than MaxReturn, sealed, while people sign
// in. It is safe for concurrent use.
type Returns struct {
	store ReturnStore
	codec Codec
	clock func() time.Time

	mu    sync.Mutex
	since time.Time // when kept was last zero
	kept  int
	// shares are how many of them an address or a network has. All of these are
	// of URLs that are kept, so there are no more than twice as many.
	shares map[string]int
}

// NewReturns returns an empty Returns. The codec must accept values of MaxKeptReturn.
func NewReturns(s ReturnStore, codec Codec, clock func() time.Time) *Returns {
	return &Returns{store: s, codec: codec, clock: clock}
}

// Keep keeps the return URL of a request from an address, which may be malformed.
// It returns ErrTooManyReturns where that address, its network, or all together
// have had too many kept.
func (k *Returns) Keep(ctx context.Context, r Request, whole, address string) error {
	if !within(whole, r.Origin) || len(whole) > MaxKeptReturn {
		return fmt.Errorf("keeping a return URL: it must lie within %s", r.Origin)
	}
	if !k.reserve(netblock.Holder(address), netblock.Network(address)) {
		return ErrTooManyReturns
	}
	sealed, err := k.codec.Encode([]byte(whole))
	if err != nil {
		return fmt.Errorf("sealing a return URL: %w", err)
	}
	err = k.store.PutRecord(ctx, store.Record{
		Namespace: returnNamespace, Key: r.NonceHash, Value: []byte(sealed), Expires: k.clock().Add(KeptReturnLifetime),
	})
	if err != nil {
		return fmt.Errorf("keeping a return URL: %w", err)
	}
	return nil
}

// reserve counts one more URL to keep, unless there are too many.
func (k *Returns) reserve(address, network string) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	now := k.clock()
	if age := now.Sub(k.since); age < 0 || age >= KeptReturnLifetime || k.shares == nil {
		k.since, k.kept, k.shares = now, 0, make(map[string]int)
	}
	if k.kept >= maxKeptReturns || k.shares[address] >= addressShare || k.shares[network] >= networkShare {
		return false
	}
	k.kept++
	k.shares[address]++
	k.shares[network]++
	return true
}

// Find returns the return URL of a request: the one that is kept for it, or else the
// request's own.
func (k *Returns) Find(ctx context.Context, r Request) (string, error) {
	if !r.Kept {
		return r.Return, nil
	}
	record, err := k.store.GetRecord(ctx, returnNamespace, r.NonceHash, k.clock())
	if errors.Is(err, store.ErrNotFound) {
		return r.Return, nil
	}
	if err != nil {
		return "", fmt.Errorf("finding a return URL: %w", err)
	}
	whole, err := k.codec.Decode(string(record.Value))
	if err != nil || !within(string(whole), r.Origin) {
		return r.Return, nil // sealed under a key that is gone
	}
	return string(whole), nil
}
