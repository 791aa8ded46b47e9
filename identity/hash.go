package identity

import (
	"cmp"
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"fmt"
	"io"
	"runtime"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/argon2"
)

const (
	waitingPerSlot = 8
	defaultMaxWait = 5 * time.Second
	minPepperBytes = 16
)

// Peppers are the secret keys without which no stored hash can be tried
// (NIST SP 800-63B-4 section 3.1.1.2, "keyed hashing"). They have generations:
// a stored hash names the one that made it. Implementations are safe for
// concurrent use and answer from memory.
type Peppers interface {
	// CurrentPepper returns the pepper for new hashes. Its id has 1 to 48
	// bytes, its key 16 at least.
	CurrentPepper() (id string, key []byte)
	// Pepper returns the pepper of the id, and an error where there is none.
	Pepper(id string) ([]byte, error)
}

// HasherConfig is what a Hasher needs. All but Peppers can be left zero.
type HasherConfig struct {
	Peppers Peppers
	// Params is the cost of new hashes; zero: PasswordParams.
	Params Params
	// AtOnce is how many hashes run at once; 0: as many as there are cores
	// for this process. Each takes its Params.Memory.
	AtOnce int
	// Waiting is how many more may wait; 0: 8 for each that may run.
	Waiting int
	// MaxWait is how long one may wait; 0: 5 s.
	MaxWait time.Duration
	// Random gives salts; nil: crypto/rand.
	Random io.Reader
	// After is the clock of MaxWait; nil: time.After.
	After func(time.Duration) <-chan time.Time
}

// Hasher hashes and verifies passwords with argon2id (RFC 9106) over
// HMAC-SHA-256 under a pepper of the password in NFKC. All hashing goes
// through one bounded queue, so that a flood of sign-ins takes bounded memory
// and is told ErrBusy. It is safe for concurrent use.
type Hasher struct {
	peppers Peppers
	params  Params
	random  io.Reader
	queue   *queue
	work    *workDone
}

type workDone struct{ hashes, kibibytes atomic.Uint64 }

// Work is the hashing done so far. Two ways through a program that have to
// take the same time are compared by it, without a clock.
type Work struct {
	Hashes uint64
	// Kibibytes is memory times passes, summed over the hashes, which is what
	// their time goes by.
	Kibibytes uint64
}

// NewHasher returns a Hasher, or says what is wrong with its configuration.
func NewHasher(config HasherConfig) (*Hasher, error) {
	if config.Peppers == nil {
		return nil, errors.New("hashing passwords: no peppers given")
	}
	if config.AtOnce < 0 || config.Waiting < 0 || config.MaxWait < 0 {
		return nil, errors.New("hashing passwords: a limit of the queue is negative")
	}
	if config.Random == nil {
		config.Random = rand.Reader
	}
	if config.After == nil {
		config.After = time.After
	}
	atOnce := cmp.Or(config.AtOnce, runtime.GOMAXPROCS(0))
	waiting := cmp.Or(config.Waiting, waitingPerSlot*atOnce)
	hasher := &Hasher{
		peppers: config.Peppers,
		random:  config.Random,
		queue:   newQueue(atOnce, waiting, cmp.Or(config.MaxWait, defaultMaxWait), config.After),
		work:    new(workDone),
	}
	return hasher.With(cmp.Or(config.Params, PasswordParams()))
}

// With returns a Hasher that makes new hashes at another cost and shares all
// else with h, the queue and the count of work included. It refuses costs out
// of bounds.
func (h *Hasher) With(params Params) (*Hasher, error) {
	if err := params.check(); err != nil {
		return nil, fmt.Errorf("hashing passwords: %w", err)
	}
	other := *h
	other.params = params
	return &other, nil
}

// Work returns what was done by h and by all that share its queue.
func (h *Hasher) Work() Work {
	return Work{Hashes: h.work.hashes.Load(), Kibibytes: h.work.kibibytes.Load()}
}

// Hash returns the stored form of a password, under a new salt. A password
// that is empty, too long or malformed is a *PasswordError; other rules are
// PasswordPolicy's. A full queue is ErrBusy.
func (h *Hasher) Hash(ctx context.Context, password string) (string, error) {
	normal, err := normalise(password)
	if err != nil {
		return "", err
	}
	if normal == "" {
		return "", &PasswordError{Reason: TooShort, Limit: 1}
	}
	id, key := h.peppers.CurrentPepper()
	if id == "" || len(id) > maxKeyIDBytes {
		return "", fmt.Errorf("hashing a password: a pepper's id must have 1 to %d bytes", maxKeyIDBytes)
	}
	hash := storedHash{params: h.params, keyID: id, salt: make([]byte, saltBytes)}
	if _, err := io.ReadFull(h.random, hash.salt); err != nil {
		return "", fmt.Errorf("making a salt: %w", err)
	}
	if hash.tag, err = h.derive(ctx, h.params, key, hash.salt, normal); err != nil {
		return "", err
	}
	return hash.String(), nil
}

// Verify reports whether the password is the one that was hashed. An error
// means that this could not be told: the stored form can't be read, its pepper
// is gone, the queue is full (ErrBusy) or the context ended.
//
// A password that Hash refuses is a wrong one, at the cost of any other; its
// size adds nothing to that.
func (h *Hasher) Verify(ctx context.Context, stored, password string) (bool, error) {
	hash, err := parseHash(stored)
	if err != nil {
		return false, fmt.Errorf("reading a stored hash: %w", err)
	}
	key, err := h.peppers.Pepper(hash.keyID)
	if err != nil {
		return false, fmt.Errorf("finding the pepper of a stored hash: %w", err)
	}
	normal, refused := normalise(password)
	tag, err := h.derive(ctx, hash.params, key, hash.salt, normal)
	if err != nil {
		return false, err
	}
	return subtle.ConstantTimeCompare(tag, hash.tag) == 1 && refused == nil, nil
}

// Outdated reports whether a stored hash was made under another pepper or at
// another cost than a new one would be. One that can't be read isn't.
func (h *Hasher) Outdated(stored string) bool {
	hash, err := parseHash(stored)
	if err != nil {
		return false
	}
	current, _ := h.peppers.CurrentPepper()
	return hash.keyID != current || hash.params != h.params
}

// Burn does the work of verifying a password where there is nothing to verify
// it against: for names that nobody has and people without a password, so
// that time and load don't tell them from others. It passes the same queue and
// fails in the same ways as Verify; the cost is that of new hashes.
func (h *Hasher) Burn(ctx context.Context, password string) error {
	_, key := h.peppers.CurrentPepper()
	normal, _ := normalise(password)
	_, err := h.derive(ctx, h.params, key, make([]byte, saltBytes), normal)
	return err
}

// derive computes the tag, in the queue.
func (h *Hasher) derive(ctx context.Context, params Params, pepper, salt []byte, normal string) ([]byte, error) {
	if len(pepper) < minPepperBytes {
		return nil, fmt.Errorf("hashing a password: the pepper has less than %d bytes", minPepperBytes)
	}
	var tag []byte
	err := h.queue.do(ctx, func() {
		mac := hmac.New(sha256.New, pepper)
		mac.Write([]byte(normal))
		tag = argon2.IDKey(mac.Sum(nil), salt, params.Passes, params.Memory, params.Parallelism, tagBytes)
		h.work.hashes.Add(1)
		h.work.kibibytes.Add(uint64(params.Memory) * uint64(params.Passes))
	})
	return tag, err
}
