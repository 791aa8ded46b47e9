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
		{store.Device{UserID: "u1", State: store.DeviceActive, Serial: "2b", Expires: later}, store.UserActive, "valid"},
		{store.Device{UserID: "u1", State: store.DeviceActive, Serial: "2a", Expires: later}, store.UserActive, "revoked_by_its_ca"},
		{store.Device{UserID: "u1", State: store.DeviceActive, Serial: "2a", Expires: later, Revoked: time.Now()}, store.UserActive, "revoked"},
		{store.Device{UserID: "u1", State: store.DeviceActive, Serial: "2a", Expires: time.Now()}, store.UserActive, "expired"},
		{store.Device{UserID: "u1", State: store.DeviceActive, Expires: later}, store.UserDisabled, "user_disabled"},
		{store.Device{UserID: "u1", State: store.DeviceActive, Expires: later}, store.UserInvited, "user_invited"},
		{store.Device{UserID: "u1", State: store.DevicePending, Expires: later}, store.UserActive, "pending"},
		{store.Device{State: store.DeviceActive, Expires: later}, "", "pending"},
		{store.Device{UserID: "u1", State: store.DeviceSuspended, Expires: later}, store.UserActive, "suspended"},
	} {
		if got := s.deviceOf(accounts.Device{Device: test.device, UserStatus: test.user}).Status; got != test.want {
			t.Errorf("%+v of a user who is %s: %s, not %s", test.device, test.user, got, test.want)
		}
	}
}
