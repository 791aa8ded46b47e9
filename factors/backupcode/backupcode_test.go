package backupcode

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	mathrand "math/rand/v2"
	"slices"
	"strings"
	"testing"
	"testing/iotest"
	"time"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/factortest"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/token"
)

var (
	noon  = time.Date(2025, 6, 19, 12, 0, 0, 0, time.UTC)
	alice = factors.Subject{UserID: "u1", Name: "alice"}
)

// countingHasher is a fast stand-in that counts the work.
type countingHasher struct {
	hashed, verified, burnt int
	longest                 int // what it was given, in bytes
	err                     error
}

func (h *countingHasher) Hash(_ context.Context, secret string) (string, error) {
	h.hashed++
	return digest(secret), h.err
}

func (h *countingHasher) Verify(_ context.Context, phc, secret string) (bool, error) {
	h.verified++
	h.longest = max(h.longest, len(secret))
	return h.err == nil && phc == digest(secret), h.err
}

func (h *countingHasher) Burn(_ context.Context, secret string) error {
	h.burnt++
	h.longest = max(h.longest, len(secret))
	return h.err
}

func digest(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return "$test$" + hex.EncodeToString(sum[:])
}

// holder is a person with a set of codes, as a flow would keep it.
type holder struct {
	t      *testing.T
	hasher *countingHasher
	factor *Factor
	codes  []string // as shown
	secret []byte
}

func predictable() io.Reader { return mathrand.NewChaCha8([32]byte{'b', 'a', 'c', 'k', 'u', 'p'}) }

func enrol(t *testing.T) *holder {
	t.Helper()
	h := &holder{t: t, hasher: &countingHasher{}}
	h.factor = New("Example", h.hasher, func() time.Time { return noon }, predictable())
	ceremony, err := factortest.Begun(t.Context(), h.factor.Enrolling(), factors.Asking{Who: alice})
	if err != nil {
		t.Fatal(err)
	}
	h.codes = ceremony.Page.(templates.BackupCodes).Codes
	enrolment, err := h.factor.Enrolling().Check(t.Context(), factors.Asking{Who: alice}, ceremony.State, factors.Answer{"saved": "yes"})
	if err != nil || !enrolment.Accepted() {
		t.Fatalf("enrolment: %+v, %v", enrolment, err)
	}
	h.secret = enrolment.Made.Secret
	return h
}

// submit checks a code, which must cost one hash, and keeps the new secret.
func (h *holder) submit(code string) factors.Verdict {
	h.t.Helper()
	before := h.hasher.verified + h.hasher.burnt
	verdict, err := h.factor.Proving().Check(h.t.Context(), factors.Asking{Who: alice, Credentials: []factors.Credential{{ID: "c1", Secret: h.secret}}}, nil, factors.Answer{"code": code})
	if err != nil {
		h.t.Fatal(err)
	}
	if cost := h.hasher.verified + h.hasher.burnt - before; cost != 1 {
		h.t.Errorf("%q cost %d hashes", code, cost)
	}
	if verdict.Secret != nil {
		h.secret = verdict.Secret
	}
	return verdict
}

func (h *holder) expect(what, code string, accepted bool, reason factors.Reason) {
	h.t.Helper()
	got := h.submit(code)
	if got.Accepted() != accepted || got.Reason != reason || (got.Secret != nil) != accepted {
		h.t.Errorf("%s: %q: accepted %v, reason %q, new secret %v; want %v, %q",
			what, code, got.Accepted(), got.Reason, got.Secret != nil, accepted, reason)
	}
	if named := accepted || reason == factors.Used; named != (got.CredentialID == "c1") {
		h.t.Errorf("%s: credential %q", what, got.CredentialID)
	}
}

func (h *holder) left() int {
	h.t.Helper()
	details, err := h.factor.Details(factors.Credential{Secret: h.secret})
	if err != nil {
		h.t.Fatal(err)
	}
	codes := details.Stock
	if codes.Total != 10 || codes.Left+len(codes.Used) != codes.Total {
		h.t.Errorf("of 10 codes: %+v", codes)
	}
	return codes.Left
}

func TestEachCodeWorksOnce(t *testing.T) {
	h := enrol(t)
	if h.left() != 10 {
		t.Errorf("%d codes left at first", h.left())
	}
	// In an order of its own, so that no position matters.
	order := []int{9, 0, 4, 7, 1, 8, 2, 6, 3, 5}
	for spent, i := range order {
		h.expect("first time", h.codes[i], true, "")
		if h.left() != 9-spent {
			t.Errorf("%d codes left after %d", h.left(), spent+1)
		}
		for _, j := range order[:spent+1] {
			h.expect("spent", h.codes[j], false, factors.Used)
		}
	}
}

func TestUseIsDated(t *testing.T) {
	h := enrol(t)
	h.expect("first time", h.codes[3], true, "")
	set, err := parseSet(h.secret)
	if err != nil {
		t.Fatal(err)
	}
	for i, code := range set.Codes {
		want := time.Time{}
		if i == 3 {
			want = noon
		}
		if !code.Used.Equal(want) {
			t.Errorf("code %d was used at %v", i, code.Used)
		}
	}
}

func TestForms(t *testing.T) {
	const shown = "01AB-CDEF-GHJK" // a code of a set made for this test
	hash := digest("01ABCDEFGHJK")
	secret, err := codeSet{Codes: []entry{{Selector: "01", Hash: hash}}}.marshal()
	if err != nil {
		t.Fatal(err)
	}
	tests := []struct {
		name, typed string
		accepted    bool
		reason      factors.Reason
	}{
		{"as shown", shown, true, ""},
		{"lower case", strings.ToLower(shown), true, ""},
		{"without dashes", "01ABCDEFGHJK", true, ""},
		{"with spaces", " 01AB CDEF  GHJK ", true, ""},
		{"dash of a word processor", "01AB–CDEF—GHJK", true, ""},
		{"tab and no-break space", "01AB\tCDEF\u00a0GHJK\r\n", true, ""},
		{"O for 0, I for 1", "OIAB-CDEF-GHJK", true, ""},
		{"o for 0, l for 1", "olab-cdef-ghjk", true, ""},
		{"L for 1", "0LAB-CDEF-GHJK", true, ""},
		{"empty", "", false, factors.Malformed},
		{"dashes alone", "----", false, factors.Malformed},
		{"11 letters", shown[:len(shown)-1], false, factors.Malformed},
		{"13 letters", shown + "0", false, factors.Malformed},
		{"U, which is not in the alphabet", "U1AB-CDEF-GHJK", false, factors.Malformed},
		{"punctuation", "01AB.CDEF.GHJK", false, factors.Malformed},
		{"full-width", "０１AB-CDEF-GHJK", true, ""},
		{"long s", "01AB-CDEF-GHJſ", false, factors.Malformed},
		{"Kelvin sign", "01AB-CDEF-GHJ\u212a", false, factors.Malformed},
		{"NUL", "01AB-CDEF-GHJ\x00", false, factors.Malformed},
		{"not UTF-8", "01AB-CDEF-GHJ\xff", false, factors.Malformed},
		{"very long", strings.Repeat("A", 1<<20), false, factors.Malformed},
		{"last letter wrong", "01AB-CDEF-GHJM", false, factors.Wrong},
		{"selector alone right", "0100-0000-0000", false, factors.Wrong},
		{"unknown selector", "10AB-CDEF-GHJK", false, factors.Wrong},
		{"the hash itself", hash, false, factors.Malformed},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			hasher := &countingHasher{}
			h := &holder{t: t, hasher: hasher, secret: secret}
			h.factor = New("Example", hasher, func() time.Time { return noon }, predictable())
			h.expect(test.name, test.typed, test.accepted, test.reason)
			if hasher.longest > codeLetters {
				t.Errorf("%d bytes were hashed", hasher.longest)
			}
		})
	}
}

func TestEnrolment(t *testing.T) {
	hasher := &countingHasher{}
	factor := New("Example", hasher, func() time.Time { return noon }, rand.Reader)
	begun, err := factortest.Begun(t.Context(), factor.Enrolling(), factors.Asking{Who: alice})
	if err != nil {
		t.Fatal(err)
	}
	page := begun.Page.(templates.BackupCodes)
	if len(page.Codes) != 10 {
		t.Errorf("page: %d codes", len(page.Codes))
	}
	resumed, err := factortest.Resumed(t.Context(), factor.Enrolling(), factors.Asking{Who: alice}, begun.State)
	if err != nil || !slices.Equal(resumed.Page.(templates.BackupCodes).Codes, page.Codes) || !bytes.Equal(resumed.State, begun.State) {
		t.Errorf("resumed with other codes, %v", err)
	}
	for _, saved := range []string{"", "no", "on", "true", "YES", "yes "} {
		got, err := factor.Enrolling().Check(t.Context(), factors.Asking{Who: alice}, begun.State, factors.Answer{"saved": saved})
		if err != nil || got.Accepted() || got.Secret != nil || got.Reason == "" {
			t.Errorf("saved %q: %+v, %v", saved, got, err)
		}
	}
	if hasher.hashed != 0 {
		t.Errorf("%d hashes before the codes were saved", hasher.hashed)
	}
	got, err := factor.Enrolling().Check(t.Context(), factors.Asking{Who: alice}, begun.State, factors.Answer{"saved": "yes"})
	if err != nil || !got.Accepted() || got.Made.Name == "" {
		t.Fatalf("saved: %+v, %v", got, err)
	}
	if hasher.hashed != 10 {
		t.Errorf("%d hashes for 10 codes", hasher.hashed)
	}
	for _, code := range page.Codes {
		plain, _ := canonical(code)
		if bytes.Contains(got.Secret, []byte(code)) || bytes.Contains(got.Secret, []byte(plain)) || bytes.Contains(got.Secret, []byte(plain[2:])) {
			t.Error("the credential holds a code in clear")
		}
	}
}

func TestStateOfEnrolmentIsNoCredential(t *testing.T) {
	factor := New("Example", &countingHasher{}, func() time.Time { return noon }, rand.Reader)
	begun, err := factortest.Begun(t.Context(), factor.Enrolling(), factors.Asking{Who: alice})
	if err != nil {
		t.Fatal(err)
	}
	code := begun.Page.(templates.BackupCodes).Codes[0]
	verdict, err := factor.Proving().Check(t.Context(), factors.Asking{Who: alice, Credentials: []factors.Credential{{ID: "c1", Secret: begun.State}}}, nil, factors.Answer{"code": code})
	if err == nil || verdict.Accepted() {
		t.Errorf("got %+v, %v", verdict, err)
	}
}

// B02: an old code after new ones were made.
func TestNewestSetCounts(t *testing.T) {
	older, newer := enrol(t), enrol(t)
	fresh, err := newCodes(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	set := codeSet{}
	for _, code := range fresh {
		set.Codes = append(set.Codes, entry{Selector: code[:2], Hash: digest(code)})
	}
	if newer.secret, err = set.marshal(); err != nil {
		t.Fatal(err)
	}
	credentials := []factors.Credential{
		{ID: "newer", Secret: newer.secret, Created: noon},
		{ID: "older", Secret: older.secret, Created: noon.Add(-time.Hour)},
	}
	for range 2 {
		for _, test := range []struct {
			code, credential string
		}{{older.codes[0], ""}, {token.Grouped(fresh[0]), "newer"}} {
			before := older.hasher.verified + older.hasher.burnt
			got, err := older.factor.Proving().Check(t.Context(), factors.Asking{Who: alice, Credentials: credentials}, nil, factors.Answer{"code": test.code})
			if err != nil || got.CredentialID != test.credential || got.Accepted() != (test.credential != "") {
				t.Errorf("%q: %+v, %v", test.credential, got, err)
			}
			if cost := older.hasher.verified + older.hasher.burnt - before; cost != 1 {
				t.Errorf("%d hashes with two sets", cost)
			}
		}
		slices.Reverse(credentials)
	}
}

func TestCodesAreRandomAndTellApart(t *testing.T) {
	const sets = 500
	var counts [codeLetters]map[rune]int
	for i := range counts {
		counts[i] = make(map[rune]int)
	}
	seen := make(map[string]bool)
	random := predictable()
	for range sets {
		codes, err := newCodes(random)
		if err != nil {
			t.Fatal(err)
		}
		selectors := make(map[string]bool)
		for _, code := range codes {
			if seen[code] || selectors[code[:2]] {
				t.Fatalf("%s or its selector came twice", code)
			}
			seen[code], selectors[code[:2]] = true, true
			if shown := token.Grouped(code); len(shown) != 14 || shown[4] != '-' || shown[9] != '-' {
				t.Fatalf("shown as %q", shown)
			}
			for i, letter := range code {
				counts[i][letter]++
			}
		}
	}
	// 5000 letters in each position, 156 of each kind expected; five standard
	// deviations (12.3) either side.
	for i, letters := range counts {
		if len(letters) != 32 {
			t.Errorf("position %d: %d different letters", i, len(letters))
		}
		for letter, count := range letters {
			if strings.ContainsRune("ILOU", letter) || count < 95 || count > 218 {
				t.Errorf("position %d: %c came %d times", i, letter, count)
			}
		}
	}
}

func TestRandomnessFails(t *testing.T) {
	broken := errors.New("no entropy")
	for name, test := range map[string]struct {
		random io.Reader
		want   error
	}{
		"at once":        {iotest.ErrReader(broken), broken},
		"in the middle":  {io.MultiReader(io.LimitReader(rand.Reader, 50), iotest.ErrReader(broken)), broken},
		"ends":           {io.LimitReader(rand.Reader, 100), io.ErrUnexpectedEOF},
		"repeats itself": {zeros{}, nil},
	} {
		ceremony, err := factortest.Begun(t.Context(), New("Example", &countingHasher{}, time.Now, test.random).Enrolling(), factors.Asking{Who: alice})
		if err == nil || test.want != nil && !errors.Is(err, test.want) || ceremony.State != nil || ceremony.Page != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) {
	clear(p)
	return len(p), nil
}

// What cannot be told is an error, never a refusal that counts as an attempt,
// and never a pass.
func TestCannotTell(t *testing.T) {
	h := enrol(t)
	busy := errors.New("the queue is full")
	h.hasher.err = busy
	for name, code := range map[string]string{"right": h.codes[0], "unknown": "0000-0000-0000", "malformed": "?"} {
		got, err := h.factor.Proving().Check(t.Context(), factors.Asking{Who: alice, Credentials: []factors.Credential{{ID: "c1", Secret: h.secret}}}, nil, factors.Answer{"code": code})
		if !errors.Is(err, busy) || got.Accepted() || got.Secret != nil {
			t.Errorf("%s: %+v, %v", name, got, err)
		}
	}
	begun, err := factortest.Begun(t.Context(), h.factor.Enrolling(), factors.Asking{Who: alice})
	if err != nil {
		t.Fatal(err)
	}
	if got, err := h.factor.Enrolling().Check(t.Context(), factors.Asking{Who: alice}, begun.State, factors.Answer{"saved": "yes"}); !errors.Is(err, busy) || got.Accepted() {
		t.Errorf("enrolment: %+v, %v", got, err)
	}
	h.hasher.err = nil
	if _, err := h.factor.Proving().Check(t.Context(), factors.Asking{Who: alice}, nil, factors.Answer{"code": h.codes[0]}); err == nil {
		t.Error("no credential: no error")
	}
}

func TestCorruptSecrets(t *testing.T) {
	good := entry{Selector: "AB", Hash: "$test$x"}
	written := func(codes ...entry) []byte {
		content, err := json.Marshal(codeSet{Codes: codes})
		if err != nil {
			t.Fatal(err)
		}
		return content
	}
	factor := New("Example", &countingHasher{}, time.Now, rand.Reader)
	for name, content := range map[string][]byte{
		"nothing":                nil,
		"garbage":                []byte("garbage"),
		"no codes":               []byte("{}"),
		"no selector":            written(entry{Hash: "$test$x"}),
		"one-letter selector":    written(entry{Selector: "A", Hash: "$test$x"}),
		"no hash":                written(entry{Selector: "AB"}),
		"one selector for two":   written(good, good),
		"another type of number": []byte(`{"codes":[{"selector":1,"hash":"x"}]}`),
	} {
		if _, err := factor.Proving().Check(t.Context(), factors.Asking{Who: alice, Credentials: []factors.Credential{{ID: "c1", Secret: content}}}, nil, factors.Answer{"code": "AB00-0000-0000"}); err == nil {
			t.Errorf("%s: no error", name)
		}
		if _, err := factor.Details(factors.Credential{Secret: content}); err == nil {
			t.Errorf("%s: described", name)
		}
	}
	for name, state := range map[string][]byte{
		"nothing":        nil,
		"no codes":       []byte("{}"),
		"not canonical":  []byte(`{"codes":["a","b","c","d","e","f","g","h","i","j"]}`),
		"one code":       []byte(`{"codes":["ABCDEFGHJKMN"]}`),
		"a secret's set": written(good),
	} {
		if _, err := factortest.Resumed(t.Context(), factor.Enrolling(), factors.Asking{Who: alice}, state); err == nil {
			t.Errorf("%s: resumed", name)
		}
		if _, err := factor.Enrolling().Check(t.Context(), factors.Asking{Who: alice}, state, factors.Answer{"saved": "yes"}); err == nil {
			t.Errorf("%s: enrolled", name)
		}
	}
}

func TestText(t *testing.T) {
	const want = `Example: backup codes of alice

  0123-4567-89AB
  CDEF-GHJK-MNPQ

Each works once. Keep them offline; don't share them.
`
	if got := text([]string{"0123-4567-89AB", "CDEF-GHJK-MNPQ"}, "Example", "alice"); got != want {
		t.Errorf("got %q", got)
	}
}

func FuzzCanonical(f *testing.F) {
	for _, seed := range []string{"01AB-CDEF-GHJK", "olab cdef ghjk", "", "\xff", "U", "01AB–CDEF—GHJK"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, typed string) {
		code, ok := canonical(typed)
		if !ok {
			return
		}
		if len(code) != codeLetters || strings.Trim(code, "0123456789ABCDEFGHJKMNPQRSTVWXYZ") != "" {
			t.Fatalf("%q is read as %q", typed, code)
		}
		if again, ok := canonical(token.Grouped(code)); !ok || again != code {
			t.Fatalf("%q is shown as %q, and read as %q", code, token.Grouped(code), again)
		}
	})
}
