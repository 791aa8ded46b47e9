package caddymodule

import (
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/portcullis-mfa/portcullis/session"
)

// SessionSettings say how long people stay signed in. Changes apply to sign-ons that
// begin after them.
type SessionSettings struct {
	// Lifetime is how long until people have to sign in again, whatever they do: at
	// most 90d. Default: 12h.
	Lifetime caddy.Duration `json:"lifetime,omitempty"`
	// Idle is how long people can go without a request to any app before they have to
	// sign in again: 1m to the lifetime. Default: 1h, or the lifetime if that is less.
	Idle caddy.Duration `json:"idle,omitempty"`
	// Remember is how long a browser can skip the second factor after its user asked
	// for that: longer than idle, at most 365d. It never counts for
	// max_age or phishing_resistant. Default: the second factor is asked for
	// each time.
	Remember caddy.Duration `json:"remember,omitempty"`
}

// The bounds of the settings.
const (
	// longestLifetime bounds how long retired keys have to be kept, and how long a
	// stolen cookie can be of use.
	longestLifetime = 90 * 24 * time.Hour
	// longestRemembering is how long the cookie that identifies a browser lives.
	longestRemembering = 365 * 24 * time.Hour
)

// complete fills in defaults and refuses values that make no sense.
func (s *SessionSettings) complete() error {
	if s.Lifetime == 0 {
		s.Lifetime = caddy.Duration(session.DefaultLifetime)
	}
	if s.Idle == 0 {
		s.Idle = min(caddy.Duration(session.DefaultIdle), s.Lifetime)
	}
	lifetime, idle, remember := time.Duration(s.Lifetime), time.Duration(s.Idle), time.Duration(s.Remember)
	switch {
	case lifetime < session.Granularity || lifetime > longestLifetime:
		return fmt.Errorf("lifetime %s: write a time from 1m to 90d", shown(lifetime))
	case idle < session.Granularity:
		return fmt.Errorf("idle %s: activity is recorded once a minute: write 1m or more", shown(idle))
	case idle > lifetime:
		return fmt.Errorf("idle %s: it can't be longer than the lifetime, which is %s: write a shorter idle or a longer lifetime", shown(idle), shown(lifetime))
	case remember < 0 || remember > longestRemembering:
		return fmt.Errorf("remember %s: write a time up to 365d, or leave it out so that the second factor is asked for each time", shown(remember))
	case remember > 0 && remember <= idle:
		return fmt.Errorf("remember %s: nobody is asked again until idle (%s) is over, so it must be longer", shown(remember), shown(idle))
	}
	return nil
}
