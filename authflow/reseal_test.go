package authflow_test

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

// rotated makes new keys and waits until they are written with.
func (h *house) rotated() {
	h.t.Helper()
	h.must(h.keys.Rotate(h.ctx))
	h.pass(keys.Lead)
	h.must(h.keys.Refresh(h.ctx))
}

// sealed returns the keys that a user's credentials are sealed by, and whether
// all are sealed by the current one.
func (h *house) sealed(userID string) (ids []string, current bool) {
	h.t.Helper()
	all, err := h.store.CredentialsOf(h.ctx, userID)
	h.must(err)
	current = true
	for _, c := range all {
		id, now := h.keys.SealedBy(c.Secret)
		ids, current = append(ids, id), current && now
	}
	return ids, current
}

// signsIn goes all the way in, by an authenticator's code.
func (p *member) signsIn() {
	p.h.t.Helper()
	if _, err := p.h.Grant(p.h.ctx, p.complete(), "", person.Client{}); err != nil {
		p.h.t.Fatalf("signing in: %v", err)
	}
	p.h.pass(time.Minute) // so that a new code is there
}

func TestResealMovesAllToTheCurrentKey(t *testing.T) {
	h := newHouse(t)
	ada, ben := h.person("ada"), h.person("ben")
	oldKeys, _ := h.sealed(ada.id)
	oldPepper, _ := h.keys.CurrentPepper()
	h.rotated()
	if _, current := h.sealed(ada.id); current {
		t.Fatal("nothing is sealed by an older key")
	}

	used, err := h.vault.Reseal(h.ctx, h.keys)
	h.must(err)
	for _, p := range []*member{ada, ben} {
		ids, current := h.sealed(p.id)
		if !current || len(ids) != 3 || slices.Contains(ids, oldKeys[0]) {
			t.Errorf("%s's credentials are sealed by %v", p.name, ids)
		}
		if !slices.Equal(used.Sealing, ids[:1]) {
			t.Errorf("in use: %v, sealed by %v", used.Sealing, ids)
		}
		p.signsIn()
	}
	if !slices.Equal(used.Peppers, []string{oldPepper}) {
		t.Errorf("peppers in use: %v, hashes name %v", used.Peppers, oldPepper)
	}
	rows, _ := h.store.CredentialsOf(h.ctx, ada.id)
	again, err := h.vault.Reseal(h.ctx, h.keys)
	h.must(err)
	unchanged, _ := h.store.CredentialsOf(h.ctx, ada.id)
	if !slices.Equal(again.Sealing, used.Sealing) || !slices.EqualFunc(rows, unchanged, func(a, b store.Credential) bool { return a.Version == b.Version }) {
		t.Error("another walk changed something")
	}
}

// What the walk finds in use decides what the key set forgets, and everybody
// still gets in afterwards, by each of their factors.
func TestKeysInUseOutliveTheOthers(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	before := h.credential(ada.id, assurance.TOTP).Secret
	oldPepper, _ := h.keys.CurrentPepper()
	h.rotated()
	ben := h.person("ben") // under the new pepper
	newPepper, _ := h.keys.CurrentPepper()
	h.pass(26 * time.Hour)
	h.must(h.keys.Refresh(h.ctx))
	used, err := h.vault.Reseal(h.ctx, h.keys)
	h.must(err)
	slices.Sort(used.Peppers)
	if want := []string{oldPepper, newPepper}; !slices.Equal(used.Peppers, sorted(want)) {
		t.Errorf("peppers in use: %v, want %v", used.Peppers, want)
	}
	h.must(h.keys.Prune(h.ctx, keys.InUse(used)))

	context := []byte("credential\x00" + h.credential(ada.id, assurance.TOTP).ID + "\x00" + ada.id + "\x00totp")
	if _, err := h.keys.Open(before, context); !errors.Is(err, keys.ErrNotOpened) {
		t.Errorf("the older sealing key is still there: %v", err)
	}
	for _, p := range []*member{ada, ben} {
		p.signsIn()
		f := p.shown(person.Client{})
		h.must(h.Answer(h.ctx, f, authflow.Response{Factor: assurance.BackupCode, Answer: factors.Answer{"code": p.codes[0]}}, person.Client{}))
	}

	// Once nothing names it, the older pepper goes too.
	h.must(h.store.DeleteUser(h.ctx, ada.id))
	used, err = h.vault.Reseal(h.ctx, h.keys)
	h.must(err)
	h.must(h.keys.Prune(h.ctx, keys.InUse(used)))
	if _, err := h.keys.Pepper(oldPepper); !errors.Is(err, keys.ErrNoPepper) {
		t.Errorf("the older pepper is still there: %v", err)
	}
	ben.signsIn()
}

func sorted(ids []string) []string {
	slices.Sort(ids)
	return ids
}

// meanwhile is a key set beside which something happens as soon as it's asked
// about a credential.
type meanwhile struct {
	*keys.Set
	happens func(sealed []byte)
}

func (m meanwhile) SealedBy(sealed []byte) (string, bool) {
	m.happens(sealed)
	return m.Set.SealedBy(sealed)
}

func TestWhatChangesMeanwhileIsLeftAlone(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	oldKeys, _ := h.sealed(ada.id)
	h.rotated()
	renamed := h.credential(ada.id, assurance.TOTP)
	renamed.Name = "New phone"
	changed := false
	used, err := h.vault.Reseal(h.ctx, meanwhile{h.keys, func(sealed []byte) {
		if !changed && string(sealed) == string(renamed.Secret) {
			changed = true
			h.must(h.store.UpdateCredential(h.ctx, renamed))
		}
	}})
	h.must(err)
	if !changed {
		t.Fatal("nothing happened meanwhile")
	}
	if row := h.credential(ada.id, assurance.TOTP); row.Name != "New phone" || row.Version != renamed.Version+1 {
		t.Errorf("the change is lost: %q, version %d", row.Name, row.Version)
	}
	if !slices.Contains(used.Sealing, oldKeys[0]) || len(used.Sealing) != 2 {
		t.Errorf("in use: %v, the older key is %s", used.Sealing, oldKeys[0])
	}
	used, err = h.vault.Reseal(h.ctx, h.keys)
	h.must(err)
	if _, current := h.sealed(ada.id); !current || slices.Contains(used.Sealing, oldKeys[0]) {
		t.Error("the next walk didn't find it")
	}
}

func TestWhoIsDeletedMeanwhileIsNoError(t *testing.T) {
	h := newHouse(t)
	ada, ben := h.person("ada"), h.person("ben")
	h.rotated()
	var gone bool
	_, err := h.vault.Reseal(h.ctx, meanwhile{h.keys, func([]byte) {
		if !gone {
			gone = true
			h.must(h.store.DeleteUser(h.ctx, ada.id))
		}
	}})
	h.must(err)
	if _, current := h.sealed(ben.id); !current {
		t.Error("the others were not seen to")
	}
}

func TestUnreadableCredentialsKeepAllKeys(t *testing.T) {
	for name, spoil := range map[string]func(*house, store.Credential) store.Credential{
		"sealed by nobody": func(_ *house, c store.Credential) store.Credential {
			c.Secret = []byte("\x01no such key")
			return c
		},
		"a password whose hash names no pepper": func(h *house, c store.Credential) store.Credential {
			return h.holding(c, "$2b$12$abcdefghijklmnopqrstuv")
		},
		"a hash that names no pepper": func(h *house, c store.Credential) store.Credential {
			return h.holding(c, "$argon2id$v=19$m=65536,t=3,p=1$c2FsdA$dGFn")
		},
		"one hash of two that names none": func(h *house, c store.Credential) store.Credential {
			return h.holding(c, `["$argon2id$v=19$m=8,t=1,p=1,keyid=cDE$s$t", "$argon2id$v=19$m=8,t=1,p=1$s$t"]`)
		},
	} {
		t.Run(name, func(t *testing.T) {
			h := newHouse(t)
			ada, ben := h.person("ada"), h.person("ben")
			h.rotated()
			h.must(h.store.UpdateCredential(h.ctx, spoil(h, h.credential(ada.id, assurance.Password))))
			used, err := h.vault.Reseal(h.ctx, h.keys)
			if err == nil || !used.Since.IsZero() || used.Sealing != nil || used.Peppers != nil {
				t.Errorf("got %v, %v", used, err)
			}
			if err != nil && strings.Contains(err.Error(), "$") {
				t.Errorf("the error shows the secret: %v", err)
			}
			if _, current := h.sealed(ben.id); !current {
				t.Error("the others were not seen to")
			}
		})
	}
}

// holding returns the credential with another secret, sealed where it belongs.
func (h *house) holding(c store.Credential, secret string) store.Credential {
	h.t.Helper()
	var err error
	c.Secret, err = h.keys.Seal([]byte(secret), []byte("credential\x00"+c.ID+"\x00"+c.UserID+"\x00"+string(c.Kind)))
	h.must(err)
	return c
}

func TestResealEndsWithItsContext(t *testing.T) {
	h := newHouse(t)
	h.person("ada")
	h.rotated()
	ctx, cancel := context.WithCancel(h.ctx)
	used, err := h.vault.Reseal(ctx, meanwhile{h.keys, func([]byte) { cancel() }})
	if !errors.Is(err, context.Canceled) || !used.Since.IsZero() {
		t.Errorf("got %v, %v", used, err)
	}
}

func TestResealEndsWhereTheStoreFails(t *testing.T) {
	h := newHouse(t)
	h.person("ada")
	h.rotated()
	h.store.Store = fullDisk{h.store.Store}
	used, err := h.vault.Reseal(h.ctx, h.keys)
	if !errors.Is(err, errFullDisk) || !used.Since.IsZero() {
		t.Errorf("got %v, %v", used, err)
	}
}

// X09: who is in the middle of signing in notices nothing of a rotation.
func TestX09SigningInWhileSecretsAreSealedAgain(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	h.must(h.keys.Rotate(h.ctx))
	f := ada.shown(person.Client{})
	h.pass(keys.Lead)
	h.must(h.keys.Refresh(h.ctx))
	code := ada.code()
	h.store.Store = &overtaken{Store: h.store.Store, by: func() {
		_, err := h.vault.Reseal(h.ctx, h.keys)
		h.must(err)
	}}
	h.must(ada.answer(f, code, person.Client{}))
	if _, current := h.sealed(ada.id); !current {
		t.Fatal("nothing was sealed again")
	}
	if _, err := h.Grant(h.ctx, h.load(f), "", person.Client{}); err != nil {
		t.Errorf("after it: %v", err)
	}
	if err := ada.answer(ada.shown(person.Client{}), code, person.Client{}); !isRefused(err, factors.Used) {
		t.Errorf("the same code again: %v", err)
	}
}

// overtaken is a store in which something happens, once, as soon as somebody
// has read credentials.
type overtaken struct {
	store.Store
	by func()
}

func (s *overtaken) CredentialsOf(ctx context.Context, userID string) ([]store.Credential, error) {
	read, err := s.Store.CredentialsOf(ctx, userID)
	if happens := s.by; happens != nil {
		s.by = nil
		happens()
	}
	return read, err
}

// fullDisk is a store in which no credential can be written.
type fullDisk struct{ store.Store }

var errFullDisk = errors.New("disk full")

func (s fullDisk) Atomically(ctx context.Context, fn func(tx store.Tx) error) error {
	return s.Store.Atomically(ctx, func(tx store.Tx) error { return fn(fullDiskTx{tx}) })
}

type fullDiskTx struct{ store.Tx }

func (fullDiskTx) UpdateCredential(context.Context, store.Credential) error { return errFullDisk }

// X09: the older pepper is given up person by person, as they sign in.
func TestX09SigningInMovesThePasswordToTheNewPepper(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	h.rotated()
	isNew := func() bool {
		c := h.credential(ada.id, assurance.Password)
		hash, err := h.keys.Open(c.Secret, []byte("credential\x00"+c.ID+"\x00"+c.UserID+"\x00"+string(c.Kind)))
		h.must(err)
		return !h.hasher.Outdated(string(hash))
	}
	if _, err := h.signIn("ada", "not it", person.Client{}); !isRefused(err, factors.Wrong) {
		t.Fatalf("a wrong password: %v", err)
	}
	if isNew() {
		t.Error("a wrong password was hashed and kept")
	}
	f := ada.shown(person.Client{})
	if !isNew() {
		t.Error("the hash is under the older pepper")
	}
	h.must(ada.answer(f, ada.code(), person.Client{}))
	if _, err := h.Grant(h.ctx, h.load(f), "", person.Client{}); err != nil {
		t.Errorf("the sign-in in which the hash changed: %v", err)
	}
	work := h.hasher.Work()
	ada.shown(person.Client{})
	if again := h.hasher.Work().Hashes - work.Hashes; again != 1 {
		t.Errorf("%d hashes at the next sign-in", again)
	}
}

// Who can't be hashed anew signs in all the same.
func TestSigningInWithoutRoomForANewHash(t *testing.T) {
	h := newHouse(t)
	ada := h.person("ada")
	h.rotated()
	h.store.Store = fullDisk{h.store.Store}
	f := ada.shown(person.Client{})
	h.store.Store = h.store.Store.(fullDisk).Store
	h.must(ada.answer(f, ada.code(), person.Client{}))
	if _, err := h.Grant(h.ctx, h.load(f), "", person.Client{}); err != nil {
		t.Error(err)
	}
}
