package session_test

import (
	"errors"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// device keeps a device of alice's, whose certificate is called as it is.
func (h *house) device(t *testing.T, id string) session.Device {
	t.Helper()
	d := session.Device{
		ID: id, UserID: "alice", Name: id, State: store.DeviceActive, Certificate: "certificate of " + id, Serial: id,
		Issued: morning, Expires: morning.Add(24 * time.Hour),
	}
	must(t, h.store.CreateDevice(t.Context(), d))
	return d
}

func liveDevice(t *testing.T, k *session.Keeper, id string) (session.LiveDevice, error) {
	t.Helper()
	return k.LiveDevice(t.Context(), session.DeviceLookup{Certificate: "certificate of " + id, MaxStaleness: time.Minute})
}

// connectDevice opens a connection that a certificate brought, beside a sign-on
// or alone.
func connectDevice(t *testing.T, k *session.Keeper, id, signOn string) *line {
	t.Helper()
	return connectVouched(t, k, id, signOn, nil)
}

// connectVouched is connectDevice with a CA that can be asked.
func connectVouched(t *testing.T, k *session.Keeper, id, signOn string, vouched func() error) *line {
	t.Helper()
	d, err := liveDevice(t, k, id)
	must(t, err)
	d.Vouched = vouched
	l := &line{cut: make(chan struct{})}
	l.MaxStaleness, l.Admits = time.Minute, engineers
	l.Anchor = &d
	if signOn != "" {
		l.Anchor, l.Beside = liveSignOn(t, k, session.SignOnLookup{SignOn: signOn, MaxStaleness: time.Minute}), &d
	}
	must(t, k.Open(t.Context(), &l.Connection, l))
	t.Cleanup(func() { k.Close(&l.Connection) })
	return l
}

func TestC02DevicesCountWhileTheyMay(t *testing.T) {
	for _, test := range []struct {
		name  string
		apply func(t *testing.T, h *house)
		want  error
		cut   bool
	}{
		{"nothing", func(*testing.T, *house) {}, nil, false},
		{"revoked", func(t *testing.T, h *house) {
			must(t, h.store.RevokeDevice(t.Context(), "laptop", h.Now(), "lost"))
		}, session.DeviceRevoked, true},
		{"another revoked", func(t *testing.T, h *house) {
			must(t, h.store.RevokeDevice(t.Context(), "phone", h.Now(), "lost"))
		}, nil, false},
		{"renamed", func(t *testing.T, h *house) {
			d, err := h.store.DeviceByID(t.Context(), "laptop")
			must(t, err)
			d.Name = "my laptop"
			must(t, h.store.UpdateDevice(t.Context(), d))
		}, nil, false},
		{"user disabled", func(t *testing.T, h *house) {
			h.change(t, func(u *store.User) { u.Status = store.UserDisabled })
		}, session.DeviceOfNobody, true},
		{"user deleted", func(t *testing.T, h *house) { must(t, h.store.DeleteUser(t.Context(), "alice")) }, session.DeviceUnknown, true},
		{"group taken away", func(t *testing.T, h *house) {
			h.change(t, func(u *store.User) { u.Groups = nil })
		}, nil, true},
		{"sign-on ended", func(t *testing.T, h *house) {
			must(t, h.store.EndSignOn(t.Context(), "s", h.Now(), session.EndedSignOut))
		}, nil, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			h := newHouse(t)
			h.engineer(t)
			h.signOn(t, "s")
			h.device(t, "laptop")
			h.device(t, "phone")
			k := h.keeper(t, h.store)
			if _, err := liveDevice(t, k, "tablet"); !errors.Is(err, session.DeviceUnknown) {
				t.Errorf("an unknown device: %v", err)
			}
			alone, beside := connectDevice(t, k, "laptop", ""), connectDevice(t, k, "laptop", "s")
			test.apply(t, h)
			_, err := liveDevice(t, k, "laptop")
			if !errors.Is(err, test.want) || (err == nil) != (test.want == nil) {
				t.Errorf("%v, not %v", err, test.want)
			}
			if known := (session.RefusedDevice{}); errors.As(err, &known) != (test.want != nil && test.want != session.DeviceUnknown) ||
				known.DeviceRefusal != "" && (known.Name != "laptop" || known.UserID != "alice" || known.User != "alice") {
				t.Errorf("what is known of it is %+v", known)
			}
			if test.cut {
				eventually(t, "the connections to end", func() bool { return alone.isCut() && beside.isCut() })
			} else if alone.isCut() {
				t.Error("the device's connection ended")
			}
			if test.name == "sign-on ended" {
				eventually(t, "the sign-on's connection to end", beside.isCut)
			}
		})
	}
}

// TestC02NoEndOfADeviceGoesUnnoticedWhileAConnectionOpens has it come between the
// lookup and the opening.
func TestC02NoEndOfADeviceGoesUnnoticedWhileAConnectionOpens(t *testing.T) {
	for _, test := range []struct {
		name  string
		apply func(t *testing.T, h *house)
		want  error
	}{
		{"revoked", func(t *testing.T, h *house) {
			must(t, h.store.RevokeDevice(t.Context(), "laptop", h.Now(), "lost"))
		}, session.DeviceRevoked},
		{"user disabled", func(t *testing.T, h *house) {
			h.change(t, func(u *store.User) { u.Status = store.UserDisabled })
		}, session.DeviceOfNobody},
	} {
		for _, signOn := range []string{"", "bob's"} {
			h := newHouse(t)
			h.engineer(t)
			h.another(t, "bob")
			h.device(t, "laptop")
			k := h.keeper(t, h.store)
			d, err := liveDevice(t, k, "laptop")
			must(t, err)
			l := &line{Connection: session.Connection{Terms: session.Terms{Anchor: &d, MaxStaleness: time.Minute}}, cut: make(chan struct{})}
			if signOn != "" {
				l.Anchor, l.Beside = liveSignOn(t, k, session.SignOnLookup{SignOn: signOn, MaxStaleness: time.Minute}), &d
			}
			test.apply(t, h)
			if err := k.Open(t.Context(), &l.Connection, l); !errors.Is(err, test.want) {
				t.Errorf("%s, beside the sign-on %q: opened with %v", test.name, signOn, err)
			}
		}
	}
}

// TestC02ConnectionsEndWithTheDevicesUser disables the user of a device that
// somebody else sits at, where one is required.
func TestC02ConnectionsEndWithTheDevicesUser(t *testing.T) {
	h := newHouse(t)
	h.engineer(t)
	h.another(t, "bob")
	h.device(t, "laptop")
	k := h.keeper(t, h.store)
	l, own := connectDevice(t, k, "laptop", "bob's"), connect(t, k, "bob's", false)
	h.change(t, func(u *store.User) { u.Status = store.UserDisabled })
	eventually(t, "the end of the connection", l.isCut)
	if own.isCut() {
		t.Error("the session's own connection ended")
	}
}

// another is a second engineer, who has signed in.
func (h *house) another(t *testing.T, id string) {
	t.Helper()
	must(t, h.store.CreateUser(t.Context(), store.User{ID: id, Name: id, Groups: []string{"engineers"}, Status: store.UserActive, Created: morning}))
	must(t, h.store.CreateSignOn(t.Context(), session.SignOn{
		ID: id + "'s", UserID: id, Started: morning, Expires: morning.Add(12 * time.Hour), Idle: time.Hour, LastSeen: morning,
	}))
}

func TestDevicesThatComeLaterAreFound(t *testing.T) {
	h := newHouse(t)
	k := h.keeper(t, h.store)
	if _, err := liveDevice(t, k, "laptop"); !errors.Is(err, session.DeviceUnknown) {
		t.Fatal(err)
	}
	h.device(t, "laptop")
	d, err := liveDevice(t, k, "laptop")
	if err != nil || d.User.Name != "alice" || d.ID != "laptop" {
		t.Errorf("%+v, %v", d, err)
	}
}

func TestDevicesEndWithTheirCertificate(t *testing.T) {
	h := newHouse(t)
	h.engineer(t)
	d := h.device(t, "laptop")
	k := h.keeper(t, h.store)
	l := connectDevice(t, k, "laptop", "")
	h.set(d.Expires.Add(-time.Second))
	k.Watch()
	if _, err := liveDevice(t, k, "laptop"); err != nil || l.isCut() {
		t.Errorf("a second before: %v", err)
	}
	h.set(d.Expires)
	k.Watch()
	if _, err := liveDevice(t, k, "laptop"); !errors.Is(err, session.DeviceExpired) || !l.isCut() {
		t.Errorf("afterwards: %v", err)
	}
}

// TestC02ConnectionsEndOnceTheCATakesTheCertificateBack has only a CA know that a
// device is revoked.
func TestC02ConnectionsEndOnceTheCATakesTheCertificateBack(t *testing.T) {
	h := newHouse(t)
	h.engineer(t)
	h.signOn(t, "s")
	h.device(t, "laptop")
	h.device(t, "phone")
	k := h.keeper(t, h.store)
	var said error
	vouched := func() error { return said }
	lost := []*line{connectVouched(t, k, "laptop", "", vouched), connectVouched(t, k, "laptop", "s", vouched)}
	others := []*line{connectDevice(t, k, "phone", ""), connectVouched(t, k, "phone", "s", func() error { return nil })}
	k.Watch()
	if lost[0].isCut() || lost[1].isCut() {
		t.Error("ended while the CA vouches for it")
	}
	said = session.DeviceRevoked
	k.Watch()
	if !lost[0].isCut() || !lost[1].isCut() {
		t.Error("goes on without the CA")
	}
	if others[0].isCut() || others[1].isCut() {
		t.Error("another device's connection ended")
	}
}

func TestDevicesOfANodeThatIsCutOff(t *testing.T) {
	h := newHouse(t)
	h.device(t, "laptop")
	k := session.NewKeeper(h.store, h.Now, zap.NewNop().Warn)
	k.Heartbeat(morning)
	if _, err := liveDevice(t, k, "laptop"); err != nil {
		t.Fatal(err)
	}
	h.set(morning.Add(time.Minute + time.Second))
	if _, err := liveDevice(t, k, "laptop"); !errors.Is(err, session.ErrCutOff) {
		t.Errorf("cut off for more than a minute: %v", err)
	}
}

func TestDevicesAreSeen(t *testing.T) {
	h := newHouse(t)
	h.device(t, "laptop")
	k := h.keeper(t, h.store)
	h.set(morning.Add(time.Hour))
	_, err := liveDevice(t, k, "laptop")
	must(t, err)
	k.Flush(t.Context())
	d, err := h.store.DeviceByID(t.Context(), "laptop")
	if err != nil || !d.LastSeen.Equal(morning.Add(time.Hour)) {
		t.Errorf("last seen %s, %v", d.LastSeen, err)
	}
}

func TestC02SignOnsEndWithTheirDevice(t *testing.T) {
	h := newHouse(t)
	d := h.device(t, "laptop")
	opened := h.signOn(t, "other")
	opened.ID, opened.Proofs = "opened", []assurance.Proof{{Factor: assurance.Certificate, At: morning, Credential: "laptop"}}
	must(t, h.store.CreateSignOn(t.Context(), opened))
	ended, err := session.EndOpenedBy(t.Context(), h.store, d, h.Now())
	if err != nil || len(ended) != 1 || ended[0] != "opened" {
		t.Errorf("%v ended, %v", ended, err)
	}
	if s := h.row(t, "opened"); s.EndReason != session.EndedDevice {
		t.Errorf("%+v", s)
	}
	if s := h.row(t, "other"); !s.Ended.IsZero() {
		t.Errorf("another sign-on: %+v", s)
	}
}

// TestOnlyActiveDevicesCount has devices that nobody has confirmed or given to
// anybody, and suspended ones, and puts them back.
func TestOnlyActiveDevicesCount(t *testing.T) {
	h := newHouse(t)
	k := h.keeper(t, h.store)
	h.engineer(t)
	h.device(t, "laptop")
	for _, test := range []struct {
		state store.DeviceState
		user  string
		want  error
	}{
		{store.DevicePending, "alice", session.DevicePending},
		{store.DeviceActive, "", session.DevicePending},
		{"", "alice", session.DevicePending},
		{store.DeviceSuspended, "alice", session.DeviceSuspended},
		{store.DeviceActive, "alice", nil},
	} {
		d, err := h.store.DeviceByID(t.Context(), "laptop")
		must(t, err)
		d.State, d.UserID = test.state, test.user
		must(t, h.store.UpdateDevice(t.Context(), d))
		if _, err := liveDevice(t, k, "laptop"); !errors.Is(err, test.want) {
			t.Errorf("%s of %q: %v, want %v", test.state, test.user, err, test.want)
		}
	}
}
