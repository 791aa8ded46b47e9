package agent_test

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"io/fs"
	"maps"
	"math/big"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/agent"
	"github.com/portcullis-mfa/portcullis/agent/estclient"
	"github.com/portcullis-mfa/portcullis/agent/journal"
)

var errKilled = errors.New("killed")

// world is a machine, a portal and a store of certificates. From the given step on,
// whatever the agent does fails, as if it had been killed there; a kill after a step
// leaves what the step did.
type world struct {
	files   map[string][]byte
	issued  map[string]*x509.Certificate // by key
	newest  string
	retired bool
	// rejoined is the serial number of the certificate that a machine enrolled anew with.
	rejoined int64
	clones   int
	stored   []string
	now      time.Time
	ca       *ecdsa.PrivateKey
	step     int
	kill     int // 0: never
	after    bool
}

func newWorld() *world {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		panic(err)
	}
	return &world{
		files: make(map[string][]byte), issued: make(map[string]*x509.Certificate), ca: key,
		now: time.Date(2026, 11, 30, 12, 0, 0, 0, time.UTC),
	}
}

// do takes one step.
func (w *world) do(act func() error) error {
	w.step++
	if w.kill > 0 && (w.step > w.kill || w.step == w.kill && !w.after) {
		return errKilled
	}
	err := act()
	if w.kill > 0 && w.step == w.kill {
		return errKilled
	}
	return err
}

func (w *world) Read(name string) ([]byte, error) {
	content, ok := w.files[name]
	if !ok {
		return nil, fs.ErrNotExist
	}
	return content, nil
}

func (w *world) Write(name string, content []byte) error {
	return w.do(func() error { w.files[name] = slices.Clone(content); return nil })
}

func (w *world) Remove(name string) error {
	return w.do(func() error {
		if _, ok := w.files[name]; !ok {
			return fs.ErrNotExist
		}
		delete(w.files, name)
		return nil
	})
}

func idOf(key crypto.PublicKey) string {
	der, err := x509.MarshalPKIXPublicKey(key)
	if err != nil {
		panic(err)
	}
	return string(der)
}

func (w *world) certificate(key crypto.PublicKey) *x509.Certificate {
	template := &x509.Certificate{
		SerialNumber: big.NewInt(int64(len(w.issued) + 1)), Subject: pkix.Name{CommonName: "machine"},
		NotBefore: w.now, NotAfter: w.now.AddDate(0, 0, 90),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key, w.ca)
	if err != nil {
		panic(err)
	}
	made, err := x509.ParseCertificate(der)
	if err != nil {
		panic(err)
	}
	w.issued[idOf(key)], w.newest = made, idOf(key)
	return made
}

func (w *world) CACertificates(context.Context) ([]*x509.Certificate, error) { return nil, nil }

func (w *world) Enrol(_ context.Context, key crypto.Signer, a estclient.Application) (made *x509.Certificate, err error) {
	return made, w.do(func() error {
		if made = w.issued[idOf(key.Public())]; made != nil {
			return nil
		}
		if a.Former != nil {
			w.rejoined = a.Former.SerialNumber.Int64()
		} else if len(w.issued) > 0 {
			return &estclient.StatusError{Status: http.StatusUnauthorized, Text: "used"}
		}
		if a.Secret != "token" {
			return &estclient.StatusError{Status: http.StatusUnauthorized, Text: "used"}
		}
		made = w.certificate(key.Public())
		return nil
	})
}

func (w *world) Renew(_ context.Context, key crypto.Signer, _ string, _ *x509.Certificate, oldKey crypto.Signer) (made *x509.Certificate, err error) {
	return made, w.do(func() error {
		if made = w.issued[idOf(key.Public())]; made != nil {
			return nil
		}
		if idOf(oldKey.Public()) != w.newest {
			w.clones++
			return &estclient.StatusError{Status: http.StatusConflict, Text: "copied"}
		}
		made = w.certificate(key.Public())
		return nil
	})
}

func (w *world) Retire(context.Context, *x509.Certificate, crypto.Signer) error {
	return w.do(func() error { w.retired = true; return nil })
}

func (w *world) Name() string { return "store" }

type store struct{ *world }

func (s store) Install(_ context.Context, _ crypto.Signer, chain []*x509.Certificate) error {
	return s.do(func() error {
		if serial := chain[0].SerialNumber.String(); !slices.Contains(s.stored, serial) {
			s.stored = append(s.stored, serial)
		}
		return nil
	})
}

func (s store) Remove(_ context.Context, chain []*x509.Certificate) error {
	return s.do(func() error {
		s.stored = slices.DeleteFunc(s.stored, func(serial string) bool { return serial == chain[0].SerialNumber.String() })
		return nil
	})
}

// agent starts the agent anew, which runs until the given step.
func (w *world) agent(kill int, after bool) *agent.Agent {
	w.step, w.kill, w.after = 0, kill, after
	return &agent.Agent{
		Files: w, Dial: func(string) agent.Portal { return w }, Stores: func(string) []agent.Store { return []agent.Store{store{w}} },
		Clock: func() time.Time { return w.now }, Machine: "m1",
	}
}

var grant = agent.Grant{Portal: "https://login.example.com", Secret: "token", Name: "machine"}

// held returns the names of the files but for the state's.
func (w *world) held() (keys, certificates int) {
	for name := range maps.Keys(w.files) {
		if strings.HasSuffix(name, ".key") {
			keys++
		}
		if strings.HasSuffix(name, ".crt") {
			certificates++
		}
	}
	return keys, certificates
}

func (w *world) want(t *testing.T, certificates int) {
	t.Helper()
	keys, kept := w.held()
	if len(w.issued) != certificates || keys != certificates || kept != certificates || len(w.stored) != certificates || w.clones != 0 {
		t.Errorf("%d certificates were issued, %d keys and %d certificates are kept, %d are installed, %d taken for copies; want %d of each",
			len(w.issued), keys, kept, len(w.stored), w.clones, certificates)
	}
}

// atEachStep does something, killed before and after each of its steps, and has resume
// go on.
func atEachStep(t *testing.T, prepare func() *world, act func(*agent.Agent) error, resume func(*world, *agent.Agent) error, check func(*testing.T, *world)) {
	t.Helper()
	for kill := 1; ; kill++ {
		for _, after := range []bool{false, true} {
			w := prepare()
			err := act(w.agent(kill, after))
			if w.step < kill {
				if kill < 3 {
					t.Fatalf("it took %d steps only", w.step)
				}
				return
			}
			if err == nil {
				t.Errorf("killed at step %d, it saw no failure", kill)
			}
			w.now = w.now.Add(time.Hour)
			if err := resume(w, w.agent(0, false)); err != nil {
				t.Errorf("going on after a kill at step %d (after it: %t): %v", kill, after, err)
			}
			check(t, w)
		}
	}
}

func enrolled() *world {
	w := newWorld()
	if err := w.agent(0, false).Enrol(context.Background(), grant); err != nil {
		panic(err)
	}
	return w
}

func TestEnrolmentSurvivesKills(t *testing.T) {
	enrol := func(a *agent.Agent) error { return a.Enrol(t.Context(), grant) }
	atEachStep(t, newWorld, enrol, func(_ *world, a *agent.Agent) error {
		if err := a.Tick(t.Context()); !errors.Is(err, agent.ErrNotEnrolled) {
			return err
		}
		return a.Enrol(t.Context(), grant)
	}, func(t *testing.T, w *world) { w.want(t, 1) })
}

func TestRenewalSurvivesKills(t *testing.T) {
	due := func() *world {
		w := enrolled()
		w.now = w.now.AddDate(0, 0, 75)
		return w
	}
	tick := func(a *agent.Agent) error { return a.Tick(t.Context()) }
	atEachStep(t, due, tick, func(_ *world, a *agent.Agent) error { return a.Tick(t.Context()) }, func(t *testing.T, w *world) {
		w.want(t, 2)
		w.now = w.now.AddDate(0, 0, 20) // the first one has expired
		if err := w.agent(0, false).Tick(t.Context()); err != nil {
			t.Error(err)
		}
		if keys, certificates := w.held(); keys != 1 || certificates != 1 || len(w.stored) != 1 {
			t.Errorf("%d keys, %d certificates and %d in the store are left of the expired one and its successor", keys, certificates, len(w.stored))
		}
	})
}

func TestRemovalSurvivesKills(t *testing.T) {
	remove := func(a *agent.Agent) error { return a.Remove(t.Context()) }
	atEachStep(t, enrolled, remove, func(_ *world, a *agent.Agent) error {
		if err := a.Tick(t.Context()); !errors.Is(err, agent.ErrNotEnrolled) {
			return err
		}
		return nil
	}, func(t *testing.T, w *world) {
		if !w.retired && len(w.files) == 0 {
			t.Error("the machine forgot a device that wasn't revoked")
		}
		if w.retired && (len(w.files) > 0 || len(w.stored) > 0) {
			t.Errorf("left: %v, %v", slices.Collect(maps.Keys(w.files)), w.stored)
		}
	})
}

func TestTickWaitsUntilRenewalIsDue(t *testing.T) {
	w := enrolled()
	for _, step := range []struct{ days, certificates int }{{59, 1}, {11, 2}, {59, 2}, {11, 3}} {
		w.now = w.now.AddDate(0, 0, step.days)
		if err := w.agent(0, false).Tick(t.Context()); err != nil {
			t.Fatal(err)
		}
		if len(w.issued) != step.certificates {
			t.Errorf("%d days on, %d certificates were issued, want %d", step.days, len(w.issued), step.certificates)
		}
	}
}

// TestCopiedFolder has a second machine go on with the folder of a first one.
func TestCopiedFolder(t *testing.T) {
	w := enrolled()
	other := w.agent(0, false)
	other.Machine = "m2"
	if err := other.Tick(t.Context()); !errors.Is(err, agent.ErrCopied) {
		t.Errorf("got %v", err)
	}
}

// TestFailuresAreSpacedOut has the portal down.
func TestFailuresAreSpacedOut(t *testing.T) {
	w := enrolled()
	w.now = w.now.AddDate(0, 0, 75)
	tries := 0
	for range 48 * 60 {
		a := w.agent(0, false)
		a.Dial = func(string) agent.Portal { tries++; return down{w} }
		_ = a.Tick(t.Context()) // it fails
		w.now = w.now.Add(time.Minute)
	}
	if tries < 10 || tries > 20 {
		t.Errorf("%d tries in two days", tries)
	}
}

type down struct{ *world }

func (down) Renew(context.Context, crypto.Signer, string, *x509.Certificate, crypto.Signer) (*x509.Certificate, error) {
	return nil, &estclient.StatusError{Status: http.StatusServiceUnavailable, Text: "down"}
}

// TestRefusedEnrolmentLeavesNothing has a token that doesn't work.
func TestRefusedEnrolmentLeavesNothing(t *testing.T) {
	w := newWorld()
	wrong := grant
	wrong.Secret = "guess"
	if err := w.agent(0, false).Enrol(t.Context(), wrong); !estclient.Is(err, http.StatusUnauthorized) {
		t.Errorf("got %v", err)
	}
	if len(w.files) > 0 {
		t.Errorf("left: %v", slices.Collect(maps.Keys(w.files)))
	}
}

var _ journal.Files = (*world)(nil)

// TestRejoins has a machine whose certificate expired enrol anew, as the device that it
// was.
func TestRejoins(t *testing.T) {
	w := newWorld()
	if err := w.agent(0, false).Enrol(t.Context(), grant); err != nil {
		t.Fatal(err)
	}
	w.now = w.now.AddDate(0, 0, 91)
	refused := grant
	refused.Secret = "wrong"
	if err := w.agent(0, false).Enrol(t.Context(), refused); !estclient.Is(err, http.StatusUnauthorized) {
		t.Fatalf("a wrong token: %v", err)
	}
	before, err := w.agent(0, false).Status()
	if err != nil || len(before.Held) != 1 || before.Coming != nil {
		t.Fatalf("a refusal took what the machine had: %+v, %v", before, err)
	}
	confirmed := grant
	confirmed.Secret = ""
	confirmed.Confirm = func(context.Context, crypto.Signer) (string, error) { return "token", nil }
	if err := w.agent(0, false).Enrol(t.Context(), confirmed); err != nil {
		t.Fatal(err)
	}
	state, err := w.agent(0, false).Status()
	if err != nil || w.rejoined != 1 || len(state.Held) != 2 || state.Held[1].ID != before.Held[0].ID {
		t.Errorf("rejoined by %d: %+v, %v", w.rejoined, state, err)
	}
	if err := w.agent(0, false).Enrol(t.Context(), grant); !errors.Is(err, agent.ErrEnrolled) {
		t.Errorf("once more: %v", err)
	}
}

// TestUnconfirmed leaves nothing of an enrolment that nobody confirmed.
func TestUnconfirmed(t *testing.T) {
	w := newWorld()
	declined := errors.New("declined")
	asking := grant
	asking.Secret = ""
	asking.Confirm = func(context.Context, crypto.Signer) (string, error) { return "", declined }
	if err := w.agent(0, false).Enrol(t.Context(), asking); !errors.Is(err, declined) {
		t.Fatal(err)
	}
	if len(w.files) > 0 {
		t.Errorf("left: %v", slices.Collect(maps.Keys(w.files)))
	}
	asking.Confirm = func(context.Context, crypto.Signer) (string, error) { panic("killed while waiting") }
	func() {
		defer func() { _ = recover() }()
		_ = w.agent(0, false).Enrol(t.Context(), asking)
	}()
	if err := w.agent(0, false).Tick(t.Context()); !errors.Is(err, agent.ErrUnconfirmed) {
		t.Errorf("a tick after that: %v", err)
	}
	if err := w.agent(0, false).Enrol(t.Context(), grant); err != nil {
		t.Errorf("enrolling after that: %v", err)
	}
}
