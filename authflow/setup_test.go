package authflow_test

import (
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// TestNeedsSetup asks whether nobody can sign in yet, as people come and go.
func TestNeedsSetup(t *testing.T) {
	h := newHouse(t)
	expect := func(want bool, when string) {
		t.Helper()
		got, err := h.NeedsSetup(h.ctx)
		h.must(err)
		if got != want {
			t.Errorf("%s: %t, want %t", when, got, want)
		}
	}
	expect(true, "in an empty store")
	h.add("invited", store.UserInvited)
	expect(true, "with nobody but an invited user")
	ada := h.person("ada")
	expect(false, "with somebody who has set up")
	if disabled, err := h.AllDisabled(h.ctx); err != nil || disabled {
		t.Errorf("nobody is disabled, and AllDisabled says %t: %v", disabled, err)
	}
	h.add("bob", store.UserDisabled)
	if disabled, err := h.AllDisabled(h.ctx); err != nil || !disabled {
		t.Errorf("somebody is disabled, and AllDisabled says %t: %v", disabled, err)
	}
	h.must(h.store.DeleteUser(h.ctx, ada.id))
	expect(false, "less than a minute later")
	h.pass(time.Minute)
	expect(true, "a minute after the last one was deleted")
}
