package portal

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"time"

	"github.com/mileusna/useragent"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/templates"
)

// Everything that people read and that isn't in a template stands here.

func (p *Portal) wrongPassword() string {
	if p.Contact == "" {
		return "That name and password don't match. Try again."
	}
	return "That name and password don't match. Try again, or ask " + p.Contact + " for help."
}

// contactOr is whom to ask: the operator's contact where there is one.
func (p *Portal) contactOr(somebody string) string {
	if p.Contact != "" {
		return p.Contact
	}
	return somebody
}

// wrongAnswer says why a code was refused; period is how often codes change.
func wrongAnswer(kind assurance.Factor, r *authflow.Refused, period time.Duration) string {
	if kind == assurance.BackupCode {
		if r.Reason == factors.Used {
			return "That backup code was used before. Each works once: take the next one from your list."
		}
		return "That backup code didn't work. It has three groups of four letters and digits."
	}
	switch r.Reason {
	case factors.Used:
		return "That code was used a moment ago. Wait for the next one."
	case factors.Drifting:
		return drifting(r.Drift)
	case factors.Malformed:
		return "Enter all the digits that the app shows, and nothing else."
	}
	return fmt.Sprintf("That code didn't work. Codes change every %.0f seconds: wait for the next one.", period.Seconds())
}

// drifting tells a person that their phone's clock is off.
func drifting(d time.Duration) string {
	direction := "fast"
	if d < 0 {
		direction, d = "slow", -d
	}
	return fmt.Sprintf("Your phone's clock is about %s %s. Set it to automatic, then use the next code.", roughly(d), direction)
}

// roughly puts a duration into words.
func roughly(d time.Duration) string {
	if d < 50*time.Second {
		return plural(int(math.Ceil(d.Seconds())), "second")
	}
	if d < time.Hour {
		return plural(int(math.Round(d.Minutes())), "minute")
	}
	return plural(int(math.Round(d.Hours())), "hour")
}

// lasting puts how long something lasts into words, in the largest unit that
// says it exactly, down to minutes.
func lasting(d time.Duration) string {
	switch {
	case d%(24*time.Hour) == 0:
		return plural(int(d/(24*time.Hour)), "day")
	case d%time.Hour == 0:
		return plural(int(d/time.Hour), "hour")
	}
	return plural(int(d/time.Minute), "minute")
}

// browserName puts what a browser calls itself into words.
func browserName(userAgent string) string {
	parsed := useragent.Parse(userAgent)
	name := cmp.Or(parsed.Name, "A browser")
	if parsed.OS == "" {
		return name
	}
	return name + " on " + parsed.OS
}

func plural(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}

// tooMany tells somebody to wait, where waiting helps.
func tooMany(s *authflow.Slowed) templates.Message {
	if s.Locked {
		return templates.Message{Text: "Too many attempts. Use a browser that you signed in with before, or another way in."}
	}
	return templates.Message{Text: "Too many attempts.", RetryAfter: s.RetryAfter}
}

// textOf returns what an error says to people, where it says anything.
func textOf(err error) string {
	var speaks interface{ Text() string }
	if errors.As(err, &speaks) {
		return speaks.Text()
	}
	return "This can't be used. Choose something else."
}

// otherWay names another second factor in a link.
func otherWay(kind assurance.Factor) string {
	switch kind {
	case assurance.TOTP:
		return "Use the code from your authenticator app"
	case assurance.BackupCode:
		return "Use a backup code"
	}
	return "Use another way"
}
