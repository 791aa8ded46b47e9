package keys

import (
	"bytes"
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"io"
	"os"
	"sync"
	"sync/atomic"
	"testing"
	"testing/iotest"
	"time"
)

// hand is a clock that a test sets.
type hand struct{ past atomic.Int64 }

func (h *hand) now() time.Time          { return clock().Add(time.Duration(h.past.Load())) }
func (h *hand) set(since time.Duration) { h.past.Store(int64(since)) }

// node opens the set of a storage, as one more node that goes by the hand.
func (h *hand) node(t testing.TB, storage Storage) *Set {
	t.Helper()
	set, err := Open(t.Context(), storage, rand.Reader, h.now, true)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// used is all that a set writes with at one time.
type used struct{ cookie, sealing, pepper, assertion string }

func writing(t testing.TB, set *Set) used {
	t.Helper()
	sealed, err := set.Seal([]byte("secret"), nil)
	must(t, err)
	var u used
	u.sealing, _ = set.SealedBy(sealed)
	u.cookie = mustEncode(t, set.Codec("n"), "v")[:2*idSize]
	u.pepper, _ = set.CurrentPepper()
	u.assertion, _ = set.AssertionKey()
	return u
}

// differ fails the test unless all of one differs from all of the other.
func differ(t *testing.T, a, b used) {
	t.Helper()
	if a.cookie == b.cookie || a.sealing == b.sealing || a.pepper == b.pepper || a.assertion == b.assertion {
		t.Errorf("not every key changed: %v, %v", a, b)
	}
}

func TestANewGenerationIsReadAtOnceAndWrittenWithLater(t *testing.T) {
	var at hand
	storage := newMemory()
	a, b := at.node(t, storage), at.node(t, storage)
	codec := a.Codec("name") // made before anything changes
	before := writing(t, a)
	must(t, a.Rotate(t.Context()))
	if storage.stored != 2 {
		t.Errorf("stored %d times", storage.stored)
	}
	must(t, b.Refresh(t.Context()))
	if len(a.AssertionKeys()) != 2 || len(b.AssertionKeys()) != 2 {
		t.Error("a new assertion key isn't published at once")
	}

	at.set(5*time.Minute - time.Second)
	must(t, a.Refresh(t.Context()))
	if now := writing(t, a); now != before {
		t.Errorf("a new generation is written with before all can know it: %v, %v", now, before)
	}
	at.set(5 * time.Minute)
	must(t, a.Refresh(t.Context()))
	after := writing(t, a)
	differ(t, before, after)
	if encoded := mustEncode(t, codec, "value"); encoded[:8] != after.cookie {
		t.Error("a codec stays with the keys of its making")
	}
	// b has not read again since: it knows the new keys, and a the old ones.
	mustShare(t, a, b)
	mustShare(t, b, a)
	if writing(t, b) != before {
		t.Error("time passes without Refresh")
	}
	if fresh := at.node(t, storage); writing(t, fresh) != after {
		t.Error("a node that starts writes with other keys")
	}
}

func TestRotatingAgainWaits(t *testing.T) {
	var at hand
	storage := newMemory()
	a, b := at.node(t, storage), at.node(t, storage)
	must(t, a.Rotate(t.Context()))
	stored := storage.stored
	for _, since := range []time.Duration{0, 5*time.Minute - time.Second, -24 * time.Hour} {
		at.set(since)
		for name, set := range map[string]*Set{"same node": a, "node that has not read it": b} {
			var soon *TooSoonError
			if err := set.Rotate(t.Context()); !errors.As(err, &soon) || !soon.Until.Equal(clock().Add(5*time.Minute)) {
				t.Errorf("%v later, %s: %v", since, name, err)
			}
		}
	}
	if storage.stored != stored {
		t.Error("something was stored")
	}
	at.set(5 * time.Minute)
	if err := b.Rotate(t.Context()); err != nil {
		t.Errorf("when it's possible: %v", err)
	}
}

func TestConcurrentRotationsMakeOneGeneration(t *testing.T) {
	var (
		at   hand
		wait sync.WaitGroup
		done atomic.Int32
	)
	storage := newMemory()
	for range 8 {
		set := at.node(t, storage)
		wait.Go(func() {
			var soon *TooSoonError
			err := set.Rotate(t.Context())
			if err == nil {
				done.Add(1)
			} else if !errors.As(err, &soon) {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if n := len(at.node(t, storage).AssertionKeys()); done.Load() != 1 || n != 2 {
		t.Errorf("%d rotated, %d generations", done.Load(), n)
	}
}

// The values of retired cookie keys die on schedule, whether or not anybody
// prunes the stored set.
func TestRetiredCookieKeys(t *testing.T) {
	const lifetime = 3 * time.Hour
	var at hand
	storage := newMemory()
	set, unread := at.node(t, storage), at.node(t, storage)
	must(t, set.SetCookieLifetime(lifetime))
	must(t, unread.SetCookieLifetime(lifetime))
	old := mustEncode(t, set.Codec("n"), "old")
	must(t, set.Rotate(t.Context()))
	must(t, unread.Refresh(t.Context()))
	first := set.Generation()

	storage.loadErr = errors.New("broken") // time passes for who can't read, too
	retired := 10 * time.Minute            // by when the last node has gone over
	for _, step := range []struct {
		since time.Duration
		read  bool
	}{
		{retired, true}, {retired + lifetime - time.Second, true}, {retired + lifetime, false}, {48 * time.Hour, false},
	} {
		at.set(step.since)
		if err := set.Refresh(t.Context()); !errors.Is(err, storage.loadErr) {
			t.Fatal(err)
		}
		_, err := set.Codec("n").Decode(old)
		if step.read && err != nil || !step.read && !errors.Is(err, ErrUnknownKey) {
			t.Errorf("after %v: %v", step.since, err)
		}
		if changed := set.Generation() != first; changed == step.read {
			t.Errorf("after %v: changed is %v", step.since, changed)
		}
	}
	if _, err := set.Codec("n").Decode(mustEncode(t, set.Codec("n"), "new")); err != nil {
		t.Error(err)
	}
}

func TestCookieLifetime(t *testing.T) {
	var at hand
	set := at.node(t, newMemory())
	old := mustEncode(t, set.Codec("n"), "old")
	must(t, set.Rotate(t.Context()))
	for _, test := range []struct {
		lifetime, read time.Duration
	}{{0, time.Hour}, {30 * time.Minute, time.Hour}, {24 * time.Hour, 24 * time.Hour}} {
		must(t, set.SetCookieLifetime(test.lifetime))
		for past, want := range map[time.Duration]bool{-time.Second: true, 0: false} {
			at.set(2*Lead + test.read + past)
			must(t, set.Refresh(t.Context()))
			if _, err := set.Codec("n").Decode(old); (err == nil) != want {
				t.Errorf("sessions of %v, %v later: %v", test.lifetime, 2*Lead+test.read+past, err)
			}
		}
	}
}

func TestGenerationChangesWithWhatIsRead(t *testing.T) {
	var at hand
	set := at.node(t, newMemory())
	last := set.Generation()
	step := func(what string, since time.Duration, changes bool) {
		t.Helper()
		at.set(since)
		must(t, set.Refresh(t.Context()))
		if changed := set.Generation() != last; changed != changes {
			t.Errorf("%s: changed is %v", what, changed)
		}
		last = set.Generation()
	}
	step("nothing happened", time.Minute, false)
	must(t, set.Rotate(t.Context()))
	step("a new generation", time.Minute, true)
	step("it's written with", 6*time.Minute, false)
	step("the older one is over", 11*time.Minute+DefaultCookieLifetime, true)
	must(t, set.Prune(t.Context(), InUse{}))
	step("it's deleted", 11*time.Minute+DefaultCookieLifetime, false)
}

func TestAssertionKeysArePublished(t *testing.T) {
	var at hand
	set := at.node(t, newMemory())
	old, key := set.AssertionKey()
	must(t, set.Rotate(t.Context()))
	for _, step := range []struct {
		since     time.Duration
		signs     bool
		published int
	}{
		{0, true, 2}, {5*time.Minute - time.Second, true, 2}, {5 * time.Minute, false, 2},
		{10*time.Minute + time.Hour - time.Second, false, 2}, {10*time.Minute + time.Hour, false, 1},
	} {
		at.set(step.since)
		must(t, set.Refresh(t.Context()))
		id, _ := set.AssertionKey()
		if signs := id == old; signs != step.signs || len(set.AssertionKeys()) != step.published {
			t.Errorf("after %v: signs %v, %d published", step.since, signs, len(set.AssertionKeys()))
		}
		if public, ok := set.AssertionKeys()[old]; step.published == 2 && (!ok || !public.Equal(&key.PublicKey)) {
			t.Errorf("after %v the key isn't published as it was", step.since)
		}
	}
	published := set.AssertionKeys()
	clear(published)
	if len(set.AssertionKeys()) == 0 {
		t.Error("a caller can change what is published")
	}
}

func TestPrune(t *testing.T) {
	const over, sealedOver = 2*Lead + time.Hour, 2*Lead + 25*time.Hour // from the rotation on
	var at hand
	storage := newMemory()
	set := at.node(t, storage)
	old := writing(t, set)
	sealed, err := set.Seal([]byte("secret"), []byte("row"))
	must(t, err)
	must(t, set.Rotate(t.Context()))
	named := func(since time.Duration) InUse {
		return InUse{Since: clock().Add(since), Sealing: []string{"ffffffff", old.sealing, old.sealing}, Peppers: []string{old.pepper}}
	}
	free := func(since time.Duration) InUse { return InUse{Since: clock().Add(since)} }
	stored := storage.stored
	for _, step := range []struct {
		what           string
		now            time.Duration
		used           InUse
		opens, peppers bool
		writes         int
	}{
		{"before the new one is written with", time.Minute, free(time.Minute), true, true, 0},
		{"retired a moment ago", over - time.Second, free(over - time.Second), true, true, 0},
		{"a walk that began too early", over, free(over - time.Second), true, true, 1}, // the assertion key goes
		{"both are named", over, named(over), true, true, 0},
		{"never walked", 1000 * time.Hour, InUse{}, true, true, 1}, // the cookie key goes
		{"a message may be sealed", sealedOver - time.Second, InUse{Since: clock().Add(sealedOver - time.Second), Peppers: []string{old.pepper}}, true, true, 0},
		{"the pepper is named", sealedOver, InUse{Since: clock().Add(sealedOver), Peppers: []string{old.pepper}}, false, true, 1},
		{"none is named", sealedOver, free(sealedOver), false, false, 1},
		{"again", sealedOver, free(sealedOver), false, false, 0},
	} {
		at.set(step.now)
		must(t, set.Prune(t.Context(), step.used))
		for name, node := range map[string]*Set{"this node": set, "a new node": at.node(t, storage)} {
			if _, err := node.Open(sealed, []byte("row")); (err == nil) != step.opens {
				t.Errorf("%s, %s: opening: %v", step.what, name, err)
			}
			if _, err := node.Pepper(old.pepper); (err == nil) != step.peppers {
				t.Errorf("%s, %s: pepper: %v", step.what, name, err)
			}
		}
		if writes := storage.stored - stored; writes != step.writes {
			t.Errorf("%s: stored %d times", step.what, writes)
		}
		stored = storage.stored
	}
	if set.HasRetired() {
		t.Error("something is retired still")
	}
	mustShare(t, set, at.node(t, storage))
	differ(t, old, writing(t, set))
	if bytes.Contains(storage.value, []byte(old.cookie)) || bytes.Contains(storage.value, []byte(old.assertion)) {
		t.Error("a key that is over is still stored")
	}
}

func TestHasRetired(t *testing.T) {
	var at hand
	set := at.node(t, newMemory())
	must(t, set.Rotate(t.Context()))
	if set.HasRetired() {
		t.Error("a key that is written with counts as retired")
	}
	at.set(Lead)
	must(t, set.Refresh(t.Context()))
	if !set.HasRetired() {
		t.Error("nothing counts as retired")
	}
}

// Whatever is wrong with the stored set, the keys in use stay in use, and
// nothing is stored over it.
func TestAStoredSetThatIsGoneChangesNothing(t *testing.T) {
	failure := errors.New("broken")
	older, err := os.ReadFile("testdata/before-rotation.json")
	must(t, err)
	another := newMemory()
	open(t, another)
	tests := []struct {
		name   string
		damage func(*memory)
		want   error
	}{
		{"missing", func(m *memory) { m.value = nil }, ErrMissing},
		{"empty", func(m *memory) { m.value = []byte{} }, ErrUnreadable},
		{"half", func(m *memory) { m.value = m.value[:len(m.value)/2] }, ErrUnreadable},
		{"no keys", func(m *memory) { m.value = []byte(`{"version": 1}`) }, ErrUnreadable},
		{"another's", func(m *memory) { m.value = another.value }, ErrForeign},
		{"storage fails", func(m *memory) { m.loadErr = failure }, failure},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var at hand
			storage := newMemory()
			set := at.node(t, storage)
			encoded, generation := mustEncode(t, set.Codec("n"), "v"), set.Generation()
			test.damage(storage)
			left := bytes.Clone(storage.value)
			for name, call := range map[string]func(context.Context) error{
				"refresh": set.Refresh, "rotate": set.Rotate,
				"prune": func(ctx context.Context) error { return set.Prune(ctx, InUse{}) },
			} {
				if err := call(t.Context()); !errors.Is(err, test.want) {
					t.Errorf("%s: %v", name, err)
				}
			}
			if _, err := set.Codec("n").Decode(encoded); err != nil || set.Generation() != generation {
				t.Errorf("the keys in use are gone: %v", err)
			}
			if storage.stored != 1 || !bytes.Equal(storage.value, left) || len(storage.lock) != 0 {
				t.Error("the stored set was touched, or its lock left behind")
			}
		})
	}
	t.Run("of before rotation", func(t *testing.T) {
		storage := newMemory()
		set := open(t, storage)
		storage.value = older
		if err := set.Refresh(t.Context()); !errors.Is(err, ErrUnreadable) {
			t.Errorf("a set without an assertion key was taken over: %v", err)
		}
	})
}

func TestFailedRotationChangesNothing(t *testing.T) {
	failure := errors.New("broken")
	for name, test := range map[string]struct {
		damage func(*Set, *memory)
		want   error
	}{
		"cannot be written":    {func(_ *Set, m *memory) { m.storeErr = failure }, failure},
		"no randomness":        {func(s *Set, _ *memory) { s.random = iotest.ErrReader(failure) }, failure},
		"randomness ends":      {func(s *Set, _ *memory) { s.random = io.LimitReader(rand.Reader, 200) }, io.ErrUnexpectedEOF},
		"no scalar":            {func(s *Set, _ *memory) { s.random = fill0xff{} }, ErrUnreadable},
		"cannot be read again": {func(_ *Set, m *memory) { m.onStore = func() { m.loadErr = failure } }, failure},
	} {
		t.Run(name, func(t *testing.T) {
			var at hand
			storage := newMemory()
			set := at.node(t, storage)
			before := writing(t, set)
			test.damage(set, storage)
			if err := set.Rotate(t.Context()); !errors.Is(err, test.want) {
				t.Errorf("got %v", err)
			}
			at.set(Lead)
			_ = set.Refresh(t.Context())
			if writing(t, set) != before || len(storage.lock) != 0 {
				t.Error("something changed")
			}
		})
	}
}

type fill0xff struct{}

func (fill0xff) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 0xff
	}
	return len(p), nil
}

// A set of before there were assertion keys opens, and gets one, once.
func TestDocumentOfBeforeRotation(t *testing.T) {
	content, err := os.ReadFile("testdata/before-rotation.json")
	must(t, err)
	sealed, err := hex.DecodeString("01a6cbf88e2e1b7017e6ebe7586f49b663e22cdbbe90b2c5588b07a939d3a571362808a990c85b")
	must(t, err)
	var (
		at   hand
		wait sync.WaitGroup
	)
	storage := newMemory()
	storage.value = content
	sets := make([]*Set, 8)
	for i := range sets {
		wait.Go(func() {
			set, err := Open(t.Context(), storage, rand.Reader, at.now, false)
			if err != nil {
				t.Error(err)
			}
			sets[i] = set
		})
	}
	wait.Wait()
	if t.Failed() {
		return
	}
	if storage.stored != 1 {
		t.Errorf("stored %d times", storage.stored)
	}
	id, key := sets[0].AssertionKey()
	for _, set := range sets {
		mustShare(t, sets[0], set)
		if otherID, other := set.AssertionKey(); otherID != id || !other.Equal(key) {
			t.Error("two nodes sign by different keys")
		}
	}
	const cookie = "a2b00e97.MTc5NTQ2NjQ1M3xDWjdyVGhvLTJvaC1jWGhBNFdQM01RbXdrQVlufPKJeamqlN4i2fcwZbmiyK0UoCP2hnufHp779UweBpXo"
	if got, err := sets[0].Codec("name").Decode(cookie); err != nil || string(got) != "value" {
		t.Errorf("its cookie: %q, %v", got, err)
	}
	must(t, sets[0].Rotate(t.Context()))
	at.set(Lead)
	must(t, sets[0].Refresh(t.Context()))
	if got, err := sets[0].Open(sealed, []byte("row")); err != nil || string(got) != "secret" {
		t.Errorf("its sealed value: %q, %v", got, err)
	}
	if by, current := sets[0].SealedBy(sealed); by != "a6cbf88e" || current {
		t.Errorf("sealed by %q, current %v", by, current)
	}
	if pepper, _ := sets[0].CurrentPepper(); pepper == "1a3e5ce1" {
		t.Error("the pepper didn't change")
	}
}

func TestSealedBy(t *testing.T) {
	set := open(t, newMemory())
	sealed, err := set.Seal([]byte("secret"), nil)
	must(t, err)
	if id, current := set.SealedBy(sealed); id == "" || !current {
		t.Errorf("%q, %v", id, current)
	}
	for _, foreign := range [][]byte{nil, {1, 2, 3, 4}, {2, 1, 2, 3, 4, 5}} {
		if id, current := set.SealedBy(foreign); id != "" || current {
			t.Errorf("%x: %q, %v", foreign, id, current)
		}
	}
}

// The set changes under the feet of those who use it, and nobody notices.
func TestUseWhileTheSetChanges(t *testing.T) {
	var at hand
	set := at.node(t, newMemory())
	codec, done := set.Codec("n"), make(chan struct{})
	var wait sync.WaitGroup
	for range 4 {
		wait.Go(func() {
			for {
				select {
				case <-done:
					return
				default:
				}
				if err := useOnce(set, codec); err != nil {
					t.Error(err)
					return
				}
			}
		})
	}
	// For less than an hour: nobody holds on to a value until its key is over.
	for i := range 12 {
		at.set(time.Duration(i) * Lead)
		must(t, set.Rotate(t.Context()))
		must(t, set.Refresh(t.Context()))
		must(t, set.Prune(t.Context(), InUse{Since: at.now()}))
	}
	close(done)
	wait.Wait()
}

func useOnce(set *Set, codec *Codec) error {
	encoded, err := codec.Encode([]byte("v"))
	if err != nil {
		return err
	}
	if _, err := codec.Decode(encoded); err != nil {
		return err
	}
	sealed, err := set.Seal([]byte("secret"), nil)
	if err != nil {
		return err
	}
	if _, err := set.Open(sealed, nil); err != nil {
		return err
	}
	id, _ := set.CurrentPepper()
	if _, err := set.Pepper(id); err != nil {
		return err
	}
	id, key := set.AssertionKey()
	if public := set.AssertionKeys()[id]; public == nil || !public.Equal(&key.PublicKey) {
		return errors.New("it signs by a key that isn't published")
	}
	return nil
}
