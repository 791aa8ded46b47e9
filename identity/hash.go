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
	"sync/atomic"
	"time"
)

const (
	waitingPerCore = 8
	defaultMaxWait = 5 * time.Second
	minPepperBytes = 16
)

// What hashing may take of memory, in bytes.
const (
	// DefaultMemory leaves room for the rest on a machine with 512 MB.
	DefaultMemory = 256 << 20
	// MinMemory is what one hash takes.
	MinMemory = 64 << 20
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
	// Queue is what hashing waits in; nil: one of the hasher's own.
	Queue *Queue
	// AtOnce is how many hashes run at once; 0: one less than there are cores
	// for this process, and one at least, so that one core is left for people
	// who are signed in.
	AtOnce int
	// Waiting is how many more of strangers may wait, and as many of those who
	// are known; 0: 8 for each core.
	Waiting int
	// Memory bounds what hashes take together, in bytes, with what those before
	// them took and the garbage collector hasn't freed; 0: DefaultMemory. One
	// hash may run in any case.
	Memory uint64
	// MaxWait is how long one may wait; 0: 5 s.
	MaxWait time.Duration
	// Random gives salts; nil: crypto/rand.
	Random io.Reader
}

// Hasher hashes and verifies passwords with argon2id (RFC 9106) over
// HMAC-SHA-256 under a pepper of the password in NFKC. All hashing goes
// through one bounded queue, so that a flood of sign-ins takes bounded memory
// and is told ErrBusy. What is hashed without a place of Enter takes one of
// somebody known. It is safe for concurrent use.
type Hasher struct {
	peppers Peppers
	params  Params
	random  io.Reader
	queue   *Queue
	limits  limits
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
	if config.Queue == nil {
		config.Queue = NewQueue(nil)
	}
	hasher := &Hasher{
		peppers: config.Peppers,
		random:  config.Random,
		queue:   config.Queue,
		limits: limits{
			atOnce:  cmp.Or(config.AtOnce, max(1, cores()-1)),
			waiting: cmp.Or(config.Waiting, waitingPerCore*cores()),
			memory:  cmp.Or(config.Memory, DefaultMemory) >> 10,
			maxWait: cmp.Or(config.MaxWait, defaultMaxWait),
		},
		work: new(workDone),
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
	normal, refusal := normalise(password)
	if refusal != nil {
		return "", refusal
	}
	if normal == "" {
		return "", &PasswordError{Reason: TooShort, Limit: 1}
	}
	id, key := h.peppers.CurrentPepper()
	if id == "" || len(id) > maxKeyIDBytes {
		return "", fmt.Errorf("hashing a password: a pepper's id must have 1 to %d bytes", maxKeyIDBytes)
	}
	hash := storedHash{params: h.params, keyID: id, salt: make([]byte, saltBytes)}
	_, err := io.ReadFull(h.random, hash.salt)
	if err != nil {
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
	if isImported(stored) {
		return h.verifyImported(ctx, stored, password)
	}
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
// another cost than a new one would be, or by another program. One that can't be read
// isn't.
func (h *Hasher) Outdated(stored string) bool {
	if isImported(stored) {
		return true
	}
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

// placeKey is where a context holds a place.
type placeKey struct{}

// Enter takes a place in the queue before anything is read or written for a
// password, so that whoever finds none costs next to nothing: then it returns a
// *BusyError. What is hashed first under the context that it returns is hashed
// in that place. The place is given up by leave, be it used or not.
func (h *Hasher) Enter(ctx context.Context, turn Turn) (entered context.Context, leave func(), err error) {
	p, err := h.queue.enter(turn, h.limits, uint64(h.params.Memory))
	if err != nil {
		return nil, nil, err
	}
	return context.WithValue(ctx, placeKey{}, p), p.leave, nil
}

// place returns the place that a context holds, or takes one.
func (h *Hasher) place(ctx context.Context, params Params) (*place, error) {
	if p, ok := ctx.Value(placeKey{}).(*place); ok && p.queue == h.queue && !p.used.Swap(true) {
		return p, nil
	}
	return h.queue.enter(TurnOf(ctx), h.limits, uint64(params.Memory))
}

// turnKey is where a context holds a turn.
type turnKey struct{}

// As has what is hashed under a context, without a place of Enter, wait as
// somebody.
func As(ctx context.Context, turn Turn) context.Context {
	return context.WithValue(ctx, turnKey{}, turn)
}

// TurnOf returns who waits for what is hashed under a context, without a place.
func TurnOf(ctx context.Context) Turn {
	if turn, ok := ctx.Value(turnKey{}).(Turn); ok {
		return turn
	}
	return Turn{Known: true}
}

// derive computes the tag, in the queue.
func (h *Hasher) derive(ctx context.Context, params Params, pepper, salt []byte, normal string) ([]byte, error) {
	if len(pepper) < minPepperBytes {
		return nil, fmt.Errorf("hashing a password: the pepper has less than %d bytes", minPepperBytes)
	}
	mac := hmac.New(sha256.New, pepper)
	mac.Write([]byte(normal))
	outcome, err := h.do(ctx, Task{Input: mac.Sum(nil), Salt: salt, Params: params})
	return outcome.Tag, err
}

// do does a task, in the queue.
func (h *Hasher) do(ctx context.Context, task Task) (outcome Outcome, err error) {
	place, err := h.place(ctx, task.Params)
	if err != nil {
		return Outcome{}, err
	}
	var failed error
	if err := place.run(ctx, func() { outcome, failed = place.do(task) }); err != nil {
		return Outcome{}, err
	}
	if failed != nil {
		return Outcome{}, failed
	}
	if task.Imported != "" {
		h.work.hashes.Add(1)
	}
	if outcome.Tag != nil {
		h.work.hashes.Add(1)
		h.work.kibibytes.Add(uint64(task.Params.Memory) * uint64(task.Params.Passes))
	}
	return outcome, nil
}
