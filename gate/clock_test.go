package gate

import (
	"net/http"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/session"
)

// X05: a clock that was set back makes sessions that were minted before seem to
// come from the future. Whoever holds one of those that counts no more signs in
// anew; only one that was refused right after it was made is a loop, though the
// clock of the node that made it may be minutes ahead.
func TestX05ClockSetBack(t *testing.T) {
	for _, tt := range []struct {
		what   string
		age    time.Duration
		status int
	}{
		{"refused at once", time.Second, http.StatusForbidden},
		{"refused at once, by a node whose clock is behind", -4 * time.Minute, http.StatusForbidden},
		{"refused later", time.Minute, http.StatusFound},
		{"the clock was set back by an hour", -time.Hour, http.StatusFound},
		{"by a day", -24 * time.Hour, http.StatusFound},
	} {
		t.Run("ended, "+tt.what, func(t *testing.T) {
			g := newTestGate(t)
			g.sessions["old"] = sessionOf("old", tt.age)
			g.live = func(string) error { return session.ErrEnded }
			g.serve(navigate("/"), "__Host-mfa=old").expectStopped(t, tt.status)
		})
		t.Run("not enough, "+tt.what, func(t *testing.T) {
			g := newTestGate(t)
			old := sessionOf("old", tt.age, assurance.Password)
			old.Asked = g.Rules[0].Require
			g.sessions["old"] = old
			g.serve(navigate("/"), "__Host-mfa=old").expectStopped(t, tt.status)
		})
	}
}
