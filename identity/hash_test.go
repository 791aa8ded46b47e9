package identity

import (
	"bytes"
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"
)

// cheap is the least that argon2 knows, for tests about all but the cost.
var cheap = Params{Memory: 8, Passes: 1, Parallelism: 1}

// testPeppers is a ring of peppers by id.
type testPeppers struct {
	current string
	keys    map[string][]byte
}

func (p testPeppers) CurrentPepper() (string, []byte) { return p.current, p.keys[p.current] }

func (p testPeppers) Pepper(id string) ([]byte, error) {
	key, found := p.keys[id]
	if !found {
		return nil, fmt.Errorf("no pepper %q", id)
	}
	return key, nil
}

func onePepper(id, key string) testPeppers {
	return testPeppers{current: id, keys: map[string][]byte{id: []byte(key)}}
}

const (
	keyOne = "the first pepper, of thirty-two."
	keyTwo = "another pepper, of thirty-two b."
)

func newTestHasher(t *testing.T, config HasherConfig) *Hasher {
	t.Helper()
	if config.Peppers == nil {
		config.Peppers = onePepper("p1", keyOne)
	}
	if config.Params == (Params{}) {
		config.Params = cheap
	}
	hasher, err := NewHasher(config)
	if err != nil {
		t.Fatal(err)
	}
	return hasher
}

func mustHash(t *testing.T, hasher *Hasher, password string) string {
	t.Helper()
	stored, err := hasher.Hash(t.Context(), password)
	if err != nil {
		t.Fatal(err)
	}
	return stored
}

func TestVerify(t *testing.T) {
	hasher := newTestHasher(t, HasherConfig{})
	for _, test := range []struct {
		name, chosen, typed string
		want                bool
	}{
		{"the same", "purple otter 41", "purple otter 41", true},
		{"another", "purple otter 41", "purple otter 42", false},
		{"other case", "purple otter 41", "Purple otter 41", false},
		{"space after", "purple otter 41", "purple otter 41 ", false},
		{"a prefix", "purple otter 41", "purple otter 4", false},
		{"empty", "purple otter 41", "", false},
		{"composed and decomposed", "caf\u00e9 au lait", "cafe\u0301 au lait", true},
		{"full width and plain", "ｐｕｒｐｌｅ４１", "purple41", true},
		{"ligature and letters", "\ufb01sh and chips", "fish and chips", true},
		{"no-break space and space", "purple\u00a0otter", "purple otter", true},
		{"Kelvin sign and K", "300 \u212aelvin", "300 Kelvin", true},
		{"128 code points", strings.Repeat("🙂", 128), strings.Repeat("🙂", 128), true},
		{"the last of 128 differs", strings.Repeat("🙂", 128), strings.Repeat("🙂", 127) + "🙃", false},
		{"129, beginning like it", strings.Repeat("🙂", 128), strings.Repeat("🙂", 129), false},
		{"a megabyte", "purple otter 41", strings.Repeat("purple otter 41", 70_000), false},
		{"NUL after it", "purple otter 41", "purple otter 41\x00", false},
		{"not UTF-8", "purple otter 41", "purple otter 41\xff", false},
	} {
		t.Run(test.name, func(t *testing.T) {
			stored := mustHash(t, hasher, test.chosen)
			before := hasher.Work().Hashes
			got, err := hasher.Verify(t.Context(), stored, test.typed)
			if err != nil || got != test.want {
				t.Errorf("%v, %v; want %v", got, err, test.want)
			}
			if done := hasher.Work().Hashes - before; done != 1 {
				t.Errorf("took %d hashes", done)
			}
		})
	}
}

func TestHashRefuses(t *testing.T) {
	hasher := newTestHasher(t, HasherConfig{})
	for password, reason := range map[string]PasswordReason{
		"":                         TooShort,
		strings.Repeat("a", 129):   TooLong,
		strings.Repeat("a", 1<<20): TooLong,
		"purple\x00":               Malformed,
		"purple\xff":               Malformed,
	} {
		stored, err := hasher.Hash(t.Context(), password)
		var refused *PasswordError
		if stored != "" || !errors.As(err, &refused) || refused.Reason != reason {
			t.Errorf("%.20q: %q, %v; want %s", password, stored, err, reason)
		}
	}
	if done := hasher.Work().Hashes; done != 0 {
		t.Errorf("refusals took %d hashes", done)
	}
}

func TestHashDiffersEachTime(t *testing.T) {
	hasher := newTestHasher(t, HasherConfig{})
	first := mustHash(t, hasher, "purple otter 41")
	if second := mustHash(t, hasher, "purple otter 41"); second == first {
		t.Error("two hashes of one password are the same")
	}
}

func TestPeppers(t *testing.T) {
	old := onePepper("p1", keyOne)
	stored := mustHash(t, newTestHasher(t, HasherConfig{Peppers: old}), "purple otter 41")
	for _, test := range []struct {
		name    string
		peppers Peppers
		want    bool
		fails   bool
	}{
		{"the same", old, true, false},
		{"an older generation", testPeppers{"p2", map[string][]byte{"p1": []byte(keyOne), "p2": []byte(keyTwo)}}, true, false},
		{"another key under its id", onePepper("p1", keyTwo), false, false},
		{"its key under another id alone", onePepper("p2", keyOne), false, true},
		{"an empty key", onePepper("p1", ""), false, true},
	} {
		t.Run(test.name, func(t *testing.T) {
			hasher := newTestHasher(t, HasherConfig{Peppers: test.peppers})
			got, err := hasher.Verify(t.Context(), stored, "purple otter 41")
			if got != test.want || (err != nil) != test.fails {
				t.Errorf("%v, %v", got, err)
			}
		})
	}
}

func TestHashRefusesUnusablePeppers(t *testing.T) {
	for name, peppers := range map[string]Peppers{
		"no id":       onePepper("", keyOne),
		"too long id": onePepper(strings.Repeat("p", 49), keyOne),
		"no key":      onePepper("p1", ""),
		"short key":   onePepper("p1", "fifteen bytes.."),
	} {
		hasher := newTestHasher(t, HasherConfig{Peppers: peppers})
		if stored, err := hasher.Hash(t.Context(), "purple otter 41"); err == nil || stored != "" {
			t.Errorf("%s: %q, %v", name, stored, err)
		}
	}
}

// What is stored names the parameters that RFC 9106, NIST and OWASP give, and
// a pepper's id that the PHC format can carry.
func TestStoredForm(t *testing.T) {
	passwords, err := NewHasher(HasherConfig{Peppers: onePepper("p1", keyOne)})
	if err != nil {
		t.Fatal(err)
	}
	codes, err := passwords.With(CodeParams())
	if err != nil {
		t.Fatal(err)
	}
	for _, test := range []struct {
		hasher *Hasher
		prefix string
	}{
		{passwords, "$argon2id$v=19$m=65536,t=3,p=1,keyid=cDE$"},
		{codes, "$argon2id$v=19$m=19456,t=2,p=1,keyid=cDE$"},
	} {
		stored := mustHash(t, test.hasher, "purple otter 41")
		rest, found := strings.CutPrefix(stored, test.prefix)
		if !found || len(rest) != 22+1+43 { // 16 and 32 bytes in base64
			t.Errorf("stored %s, want %s…", stored, test.prefix)
		}
		if ok, err := passwords.Verify(t.Context(), stored, "purple otter 41"); err != nil || !ok {
			t.Errorf("%v, %v", ok, err)
		}
	}
}

func TestBurnDoesTheWorkOfVerify(t *testing.T) {
	hasher := newTestHasher(t, HasherConfig{})
	codes, err := hasher.With(Params{Memory: 16, Passes: 2, Parallelism: 1})
	if err != nil {
		t.Fatal(err)
	}
	for _, h := range []*Hasher{hasher, codes} {
		stored := mustHash(t, h, "purple otter 41")
		for _, password := range []string{"purple otter 41", "wrong", "", strings.Repeat("a", 1<<20), "\xff"} {
			verify := workOf(t, hasher, func() error {
				_, err := h.Verify(t.Context(), stored, password)
				return err
			})
			burn := workOf(t, hasher, func() error { return h.Burn(t.Context(), password) })
			if verify != burn || burn.Hashes != 1 {
				t.Errorf("%.20q: verifying does %+v, burning %+v", password, verify, burn)
			}
		}
	}
}

// workOf measures on a hasher of the same queue.
func workOf(t *testing.T, hasher *Hasher, do func() error) Work {
	t.Helper()
	before := hasher.Work()
	if err := do(); err != nil {
		t.Fatal(err)
	}
	after := hasher.Work()
	return Work{Hashes: after.Hashes - before.Hashes, Kibibytes: after.Kibibytes - before.Kibibytes}
}

func TestNewHasherRefuses(t *testing.T) {
	peppers := onePepper("p1", keyOne)
	for name, config := range map[string]HasherConfig{
		"no peppers":         {},
		"negative at once":   {Peppers: peppers, AtOnce: -1},
		"negative waiting":   {Peppers: peppers, Waiting: -1},
		"negative wait":      {Peppers: peppers, MaxWait: -time.Second},
		"no passes":          {Peppers: peppers, Params: Params{Memory: 64, Parallelism: 1}},
		"no lanes":           {Peppers: peppers, Params: Params{Memory: 64, Passes: 1}},
		"too little memory":  {Peppers: peppers, Params: Params{Memory: 7, Passes: 1, Parallelism: 1}},
		"too much memory":    {Peppers: peppers, Params: Params{Memory: 4 << 20, Passes: 1, Parallelism: 1}},
		"too many passes":    {Peppers: peppers, Params: Params{Memory: 64, Passes: 9, Parallelism: 1}},
		"more lanes than 4":  {Peppers: peppers, Params: Params{Memory: 64, Passes: 1, Parallelism: 5}},
		"less than per lane": {Peppers: peppers, Params: Params{Memory: 31, Passes: 1, Parallelism: 4}},
	} {
		if hasher, err := NewHasher(config); err == nil || hasher != nil {
			t.Errorf("%s: %v, %v", name, hasher, err)
		}
	}
}

// One core is left for those who are signed in already.
func TestHasherLeavesACore(t *testing.T) {
	cores := runtime.GOMAXPROCS(0)
	want := limits{atOnce: max(1, cores-1), waiting: 8 * cores, memory: 256 << 10, maxWait: 5 * time.Second}
	if got := newTestHasher(t, HasherConfig{}).limits; got != want {
		t.Errorf("on %d cores: %+v, want %+v", cores, got, want)
	}
}

// L02: whatever hashes take comes on top of what is there for requests, however
// often the configuration is loaded.
func TestHasherLeavesRoom(t *testing.T) {
	cores := runtime.GOMAXPROCS(0)
	t.Cleanup(func() { runtime.GOMAXPROCS(cores) })
	for _, c := range []struct {
		atOnce, want int
		memory       uint64 // MiB
	}{{1, 1, 256}, {3, 3, 256}, {3, 3, 256}, {9, 4, 256}, {3, 1, 64}, {3, 1, 1}} {
		hasher, err := NewHasher(HasherConfig{Peppers: onePepper("p1", keyOne), AtOnce: c.atOnce, Memory: c.memory << 20})
		if err != nil {
			t.Fatal(err)
		}
		if hasher.LeaveRoom(); runtime.GOMAXPROCS(0) != cores+c.want {
			t.Errorf("%+v: GOMAXPROCS is %d on %d cores", c, runtime.GOMAXPROCS(0), cores)
		}
		if again := newTestHasher(t, HasherConfig{}).limits.atOnce; again != max(1, cores-1) {
			t.Errorf("%+v: the next hasher runs %d at once", c, again)
		}
	}
}

func TestHashReportsMissingRandomness(t *testing.T) {
	hasher := newTestHasher(t, HasherConfig{Random: bytes.NewReader(make([]byte, saltBytes-1))})
	if _, err := hasher.Hash(t.Context(), "purple otter 41"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("got %v", err)
	}
}

// The reference implementation of argon2, given the peppered password as this
// test computes it, arrives at the same tag.
func TestAgainstReferenceArgon2(t *testing.T) {
	program, err := exec.LookPath("argon2")
	if err != nil {
		t.Skip("the argon2 program isn't installed (Debian: apt-get install argon2)")
	}
	const salt = "sixteen letters." // the program takes text
	for _, params := range []Params{PasswordParams(), CodeParams(), {Memory: 64, Passes: 1, Parallelism: 4}} {
		hasher := newTestHasher(t, HasherConfig{Params: params, Random: strings.NewReader(salt)})
		stored := mustHash(t, hasher, "caf\u00e9 \ufb01sh") // NFKC: café fish

		mac := hmac.New(sha256.New, []byte(keyOne))
		mac.Write([]byte("caf\xc3\xa9 fish"))
		command := exec.CommandContext(t.Context(), program, salt, "-id", "-v", "13", "-r", "-l", "32",
			"-t", strconv.Itoa(int(params.Passes)), "-k", strconv.Itoa(int(params.Memory)),
			"-p", strconv.Itoa(int(params.Parallelism)))
		command.Stdin = bytes.NewReader(mac.Sum(nil))
		output, err := command.Output()
		if err != nil {
			t.Fatal(err)
		}
		reference, err := hex.DecodeString(strings.TrimSpace(string(output)))
		if err != nil {
			t.Fatal(err)
		}
		if want := "$" + base64.RawStdEncoding.EncodeToString(reference); !strings.HasSuffix(stored, want) {
			t.Errorf("%+v: %s, want …%s", params, stored, want)
		}
	}
}

func TestVerifyEndsWithTheContext(t *testing.T) {
	hasher := newTestHasher(t, HasherConfig{})
	stored := mustHash(t, hasher, "purple otter 41")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if ok, err := hasher.Verify(ctx, stored, "purple otter 41"); ok || !errors.Is(err, context.Canceled) {
		t.Errorf("%v, %v", ok, err)
	}
	if done := hasher.Work().Hashes; done != 1 {
		t.Errorf("%d hashes, one was for storing", done)
	}
}

func BenchmarkVerify(b *testing.B) {
	hasher, err := NewHasher(HasherConfig{Peppers: onePepper("p1", keyOne)})
	if err != nil {
		b.Fatal(err)
	}
	for _, params := range []Params{PasswordParams(), CodeParams()} {
		b.Run(fmt.Sprintf("m=%d,t=%d", params.Memory, params.Passes), func(b *testing.B) {
			hasher, err := hasher.With(params)
			if err != nil {
				b.Fatal(err)
			}
			stored, err := hasher.Hash(b.Context(), "purple otter 41")
			if err != nil {
				b.Fatal(err)
			}
			for b.Loop() {
				if ok, err := hasher.Verify(b.Context(), stored, "purple otter 41"); err != nil || !ok {
					b.Fatal(ok, err)
				}
			}
		})
	}
}

// What is hashed without a place waits as whoever the context says.
func TestPlacesAreTakenAsSomebody(t *testing.T) {
	h := newTestHasher(t, HasherConfig{})
	turn := Turn{Sharer: "192.0.2.9", Network: "192.0.2.0/24"}
	for want, ctx := range map[Turn]context.Context{{Known: true}: t.Context(), turn: As(t.Context(), turn)} {
		p, err := h.place(ctx, h.params)
		if err != nil {
			t.Fatal(err)
		}
		p.leave()
		if p.turn != want {
			t.Errorf("the turn is %+v, want %+v", p.turn, want)
		}
	}
}
