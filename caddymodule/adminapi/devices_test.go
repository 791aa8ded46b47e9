package adminapi

import (
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/store"
)

// TestStatusOfDevices wants to be told why a device doesn't count.
func TestStatusOfDevices(t *testing.T) {
	later := time.Now().Add(time.Hour)
	s := &Server{IsWithdrawn: func(d store.Device) bool { return d.Serial == "2a" }}
	for _, test := range []struct {
		device store.Device
		user   store.UserStatus
		want   string
	}{
		{store.Device{Serial: "2b", Expires: later}, store.UserActive, "valid"},
		{store.Device{Serial: "2a", Expires: later}, store.UserActive, "revoked_by_its_ca"},
		{store.Device{Serial: "2a", Expires: later, Revoked: time.Now()}, store.UserActive, "revoked"},
		{store.Device{Serial: "2a", Expires: time.Now()}, store.UserActive, "expired"},
		{store.Device{Expires: later}, store.UserDisabled, "user_disabled"},
		{store.Device{Expires: later}, store.UserInvited, "user_invited"},
	} {
		if got := s.deviceOf(accounts.Device{Device: test.device, UserStatus: test.user}).Status; got != test.want {
			t.Errorf("%+v of a user who is %s: %s, not %s", test.device, test.user, got, test.want)
		}
	}
}
