package enrolment_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/enrolment"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/quota"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

func (o *office) user(id string) store.User {
	o.t.Helper()
	user, err := o.store.UserByID(o.ctx, id)
	o.must(err)
	return user
}

// TestC04ConfirmedInABrowser holds that a code buys one enrolment, of the key that was
// confirmed, for whoever has the verifier, for five minutes.
func TestC04ConfirmedInABrowser(t *testing.T) {
	o := newOffice(t)
	key, other := newKey(t), newKey(t)
	id, err := devices.KeyID(key.Public())
	o.must(err)
	const verifier = "a verifier of at least forty-three characters"
	sum := sha256.Sum256([]byte(verifier))
	confirm := func() (code string) {
		o.must(o.store.Atomically(o.ctx, func(tx store.Tx) (err error) {
			code, err = o.Confirm(o.ctx, tx, o.user("ada"), enrolment.Wish{
				Key: id, Challenge: base64.RawURLEncoding.EncodeToString(sum[:]), Claims: enrolment.Claims{Name: "Laptop"},
			})
			return err
		}))
		return code
	}
	code := confirm()
	for name, secret := range map[string]string{"without the verifier": code, "with another verifier": code + ".x", "the verifier alone": "." + verifier} {
		_, err := o.Enrol(o.ctx, secret, request(t, key), enrolment.Claims{})
		o.refused(name, err, enrolment.ErrRefused)
	}
	_, err = o.Enrol(o.ctx, code+"."+verifier, request(t, other), enrolment.Claims{})
	o.refused("for another key", err, enrolment.ErrRefused)
	first, err := o.Enrol(o.ctx, code+"."+verifier, request(t, key), enrolment.Claims{Name: "as it calls itself"})
	o.must(err)
	if first.Device.Name != "Laptop" || first.Device.Via != enrolment.ViaBrowser || first.Device.UserID != "ada" {
		t.Errorf("the device is %+v", first.Device)
	}
	again, err := o.Enrol(o.ctx, code+"."+verifier, request(t, key), enrolment.Claims{})
	o.must(err)
	if !again.Certificate.Equal(first.Certificate) {
		t.Error("asking again gave another certificate")
	}
	late := confirm()
	o.now = o.now.Add(enrolment.CodeLifetime)
	_, err = o.Enrol(o.ctx, late+"."+verifier, request(t, key), enrolment.Claims{})
	o.refused("after five minutes", err, enrolment.ErrRefused)
}

// typed does something with a code that ada typed, and commits what it counted.
func (o *office) typed(code string, do func(store.Tx, store.User, string) (enrolment.Asked, error)) (found enrolment.Asked, refused error) {
	o.t.Helper()
	letters, ok := token.ReadCode(code, enrolment.TypedLetters)
	if !ok {
		o.t.Fatalf("%q isn't a code", code)
	}
	err := o.store.Atomically(o.ctx, func(tx store.Tx) error {
		found, refused = do(tx, o.user("ada"), letters)
		if errors.Is(refused, enrolment.ErrRefused) {
			return nil
		}
		return refused
	})
	return found, errors.Join(refused, err)
}

func (o *office) find(tx store.Tx, user store.User, code string) (enrolment.Asked, error) {
	return o.Find(o.ctx, tx, user, code)
}

func (o *office) admit(tx store.Tx, user store.User, code string) (enrolment.Asked, error) {
	return o.Admit(o.ctx, tx, user, code)
}

func TestTypedCode(t *testing.T) {
	o := newOffice(t)
	key := newKey(t)
	says := enrolment.Claims{Name: "Box", System: "linux/arm64", Address: "192.0.2.7"}
	asking, err := o.Ask(o.ctx, request(t, key), says)
	o.must(err)
	_, err = o.Enrol(o.ctx, asking.Secret, request(t, key), says)
	o.refused("while nobody has confirmed", err, enrolment.ErrWaiting)
	found, err := o.typed(asking.Code, o.find)
	o.must(err)
	if found.Name != "Box" || found.Address != "192.0.2.7" || !found.At.Equal(o.now) {
		t.Errorf("who asks: %+v", found)
	}
	_, err = o.Enrol(o.ctx, asking.Secret, request(t, key), says)
	o.refused("after a look at who asks", err, enrolment.ErrWaiting)
	_, err = o.typed(asking.Code, o.admit)
	o.must(err)
	_, err = o.typed(asking.Code, o.admit)
	o.refused("the code once more", err, enrolment.ErrRefused)
	_, err = o.Enrol(o.ctx, asking.Secret, request(t, newKey(t)), says)
	o.refused("for another key", err, enrolment.ErrRefused)
	issued, err := o.Enrol(o.ctx, asking.Secret, request(t, key), says)
	o.must(err)
	if issued.Device.UserID != "ada" || issued.Device.Via != enrolment.ViaCode || issued.Device.Name != "Box" {
		t.Errorf("the device is %+v", issued.Device)
	}
	late, err := o.Ask(o.ctx, request(t, newKey(t)), says)
	o.must(err)
	o.now = o.now.Add(enrolment.CodeLifetime)
	_, err = o.typed(late.Code, o.find)
	o.refused("after five minutes", err, enrolment.ErrRefused)
}

// TestTypedCodesAreBounded holds that codes can't be guessed, nor the store filled.
func TestTypedCodesAreBounded(t *testing.T) {
	o := newOffice(t)
	asking, err := o.Ask(o.ctx, request(t, newKey(t)), enrolment.Claims{Address: "198.51.100.1"})
	o.must(err)
	exceeded := new(quota.Exceeded)
	for range 5 {
		_, err := o.typed("0000-0000", o.find)
		o.refused("a wrong code", err, enrolment.ErrRefused)
	}
	for _, act := range []func(store.Tx, store.User, string) (enrolment.Asked, error){o.find, o.admit} {
		if _, err := o.typed(asking.Code, act); !errors.As(err, &exceeded) {
			t.Errorf("the right code after five wrong ones: %v", err)
		}
	}
	o.now = o.now.Add(10 * time.Minute)
	request := request(t, newKey(t))
	var refused int
	for range 25 {
		if _, err := o.Ask(o.ctx, request, enrolment.Claims{Address: "192.0.2.7"}); errors.As(err, &exceeded) {
			refused++
		}
	}
	if refused != 5 {
		t.Errorf("of 25 machines of one network, %d were refused", refused)
	}
	_, err = o.Ask(o.ctx, request, enrolment.Claims{Address: "203.0.113.7"})
	o.must(err)
}

// TestRejoining holds that an expired device becomes itself again by a confirmation, for
// its own user alone.
func TestRejoining(t *testing.T) {
	o := newOffice(t)
	first, _ := o.enrolled()
	o.must(o.store.CreateUser(o.ctx, store.User{ID: "bob", Name: "bob", Status: store.UserActive}))
	o.now = o.now.Add(100 * 24 * time.Hour)
	former := enrolment.Claims{Former: first.Device.Certificate, Machine: "m1"}
	_, err := o.Renew(o.ctx, first.Device.Certificate, request(t, newKey(t)), former)
	o.refused("renewing", err, enrolment.ErrExpired)

	by, err := o.NewToken(o.ctx, "bob", "", "administrator")
	o.must(err)
	bobs, err := o.Enrol(o.ctx, by.Secret, request(t, newKey(t)), former)
	o.must(err)
	if bobs.Device.ID == first.Device.ID || bobs.Device.UserID != "bob" {
		t.Errorf("confirmed by another, it became %+v", bobs.Device)
	}
	joined, err := o.Enrol(o.ctx, o.token(), request(t, newKey(t)), former)
	o.must(err)
	if joined.Device.ID != first.Device.ID || joined.Device.Certificate == first.Device.Certificate {
		t.Errorf("it became another device: %+v", joined.Device)
	}
	next, err := o.Enrol(o.ctx, o.token(), request(t, newKey(t)), former)
	o.must(err)
	if next.Device.ID == first.Device.ID {
		t.Error("by a superseded certificate, it became the same device")
	}
	o.must(o.Retire(o.ctx, joined.Device.Certificate, enrolment.Claims{}))
	gone, err := o.Enrol(o.ctx, o.token(), request(t, newKey(t)), enrolment.Claims{Former: joined.Device.Certificate})
	o.must(err)
	if gone.Device.ID == first.Device.ID {
		t.Error("a revoked device came back")
	}
}

// TestC07FleetTokens holds that a token for many machines makes pending devices alone,
// which are nobody's until somebody confirms one by its own key.
func TestC07FleetTokens(t *testing.T) {
	o := newOffice(t)
	fleet := enrolment.Fleet{Name: "laptops", Most: 2, From: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}, Expires: o.now.Add(24 * time.Hour)}
	made, err := o.NewFleet(o.ctx, fleet, "administrator")
	o.must(err)
	_, err = o.NewFleet(o.ctx, fleet, "administrator")
	o.refused("the same name again", err, enrolment.ErrFleetTaken)
	inside, key := enrolment.Claims{Name: "ada", Machine: "m1", Address: "192.0.2.7"}, newKey(t)
	_, err = o.Enrol(o.ctx, made.Secret, request(t, key), enrolment.Claims{Address: "198.51.100.7"})
	o.refused("from another network", err, enrolment.ErrRefused)
	first, err := o.Enrol(o.ctx, made.Secret, request(t, key), inside)
	o.must(err)
	if first.Device.UserID != "" || first.Device.State != store.DevicePending || first.Device.Via != "fleet:laptops" {
		t.Errorf("it made %+v", first.Device)
	}
	again, err := o.Enrol(o.ctx, made.Secret, request(t, key), inside)
	if err != nil || !again.Certificate.Equal(first.Certificate) {
		t.Errorf("after a lost answer: %v", err)
	}
	_, err = o.Renew(o.ctx, first.Device.Certificate, request(t, newKey(t)), inside)
	o.refused("renewing while pending", err, enrolment.ErrInactive)
	second, err := o.Enrol(o.ctx, made.Secret, request(t, newKey(t)), inside)
	o.must(err)
	_, err = o.Enrol(o.ctx, made.Secret, request(t, newKey(t)), inside)
	o.refused("one more than it makes", err, enrolment.ErrRefused)
	if all, err := o.Fleets(o.ctx); err != nil || len(all) != 1 || all[0].Used != 2 {
		t.Errorf("listed: %+v, %v", all, err)
	}

	// A token of ada's names no key, so it claims nothing.
	_, err = o.Enrol(o.ctx, o.token(), request(t, key), inside)
	o.refused("claimed without a confirmation", err, enrolment.ErrKeyTaken)
	asking, err := o.Ask(o.ctx, request(t, key), inside)
	o.must(err)
	_, err = o.typed(asking.Code, o.admit)
	o.must(err)
	for range 2 { // once more after a lost answer
		claimed, err := o.Enrol(o.ctx, asking.Secret, request(t, key), inside)
		o.must(err)
		if claimed.Device.ID != first.Device.ID || claimed.Device.UserID != "ada" || claimed.Device.State != store.DeviceActive || !claimed.Certificate.Equal(first.Certificate) {
			t.Errorf("claimed: %+v", claimed.Device)
		}
	}
	asking, err = o.Ask(o.ctx, request(t, key), inside)
	o.must(err)
	_, err = o.typed(asking.Code, o.admit)
	o.must(err)
	_, err = o.Enrol(o.ctx, asking.Secret, request(t, key), inside)
	o.refused("claimed once more", err, enrolment.ErrKeyTaken)

	o.must(o.RevokeFleet(o.ctx, "laptops", "administrator"))
	o.refused("revoked twice", o.RevokeFleet(o.ctx, "laptops", "administrator"), enrolment.ErrNoFleet)
	if d, err := o.store.DeviceByID(o.ctx, second.Device.ID); err != nil || d.State != store.DevicePending {
		t.Errorf("its devices after the revocation: %+v, %v", d, err)
	}
	late, err := o.NewFleet(o.ctx, fleet, "administrator")
	o.must(err)
	o.now = fleet.Expires
	_, err = o.Enrol(o.ctx, late.Secret, request(t, newKey(t)), inside)
	o.refused("an expired one", err, enrolment.ErrRefused)
}

// TestC04AbandonedEnrolments has ada end what is under way, such as by saying that it wasn't
// her: a thief's machine gets nothing by what was confirmed or made before.
func TestC04AbandonedEnrolments(t *testing.T) {
	o := newOffice(t)
	byToken, key := o.token(), newKey(t)
	asking, err := o.Ask(o.ctx, request(t, key), enrolment.Claims{Name: "Box"})
	o.must(err)
	_, err = o.typed(asking.Code, o.admit)
	o.must(err)
	o.must(o.store.Atomically(o.ctx, func(tx store.Tx) error { return person.AbandonFlows(o.ctx, tx, "ada") }))
	_, err = o.Enrol(o.ctx, byToken, request(t, newKey(t)), enrolment.Claims{})
	o.refused("by a token", err, enrolment.ErrRefused)
	_, err = o.Enrol(o.ctx, asking.Secret, request(t, key), enrolment.Claims{})
	o.refused("by a code", err, enrolment.ErrRefused)
}

// TestC04ClaimsOfStrangersAreBounded has a machine, which anybody may be, say much and what
// can't be shown, to whoever types its code.
func TestC04ClaimsOfStrangersAreBounded(t *testing.T) {
	o := newOffice(t)
	long := strings.Repeat("x", 1<<16)
	asking, err := o.Ask(o.ctx, request(t, newKey(t)), enrolment.Claims{
		Name: "Box\nConfirm, says IT", System: long, Machine: long, Agent: long, Protection: long, Address: "192.0.2.7",
	})
	o.must(err)
	found, err := o.typed(asking.Code, o.find)
	o.must(err)
	if want := (enrolment.Claims{Address: "192.0.2.7"}); found.Claims != want {
		t.Errorf("who asks: a name of %d bytes, a system of %d, %d bytes of what nobody sees, from %q",
			len(found.Name), len(found.System), len(found.Machine)+len(found.Agent)+len(found.Protection), found.Address)
	}
}

// counted counts the transactions of a store.
type counted struct {
	enrolment.Store
	transactions int
}

func (c *counted) Atomically(ctx context.Context, fn func(tx store.Tx) error) error {
	c.transactions++
	return c.Store.Atomically(ctx, fn)
}

// A machine that waits, which anybody may make, asks as often as it likes: others that
// write don't wait for it.
func TestWaitingMachinesCostNoTransaction(t *testing.T) {
	o := newOffice(t)
	key := newKey(t)
	asking, err := o.Ask(o.ctx, request(t, key), enrolment.Claims{})
	o.must(err)
	c := &counted{Store: o.Registrar.Store}
	o.Registrar.Store = c
	for range 3 {
		_, err = o.Enrol(o.ctx, asking.Secret, request(t, key), enrolment.Claims{})
		o.refused("while nobody has confirmed", err, enrolment.ErrWaiting)
	}
	if c.transactions > 0 {
		t.Errorf("asking three times took %d transactions", c.transactions)
	}
}
