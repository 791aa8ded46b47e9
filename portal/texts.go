package portal

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/templates"
)

// wrongPassword says that a name and a password don't match.
func (p *Portal) wrongPassword(t words, refused *factors.Refused) string {
	if refused.Reason == factors.Malformed {
		return t.say("portal.wrong.password_missing")
	}
	if p.Contact == "" {
		return t.say("portal.wrong.password")
	}
	return t.say("portal.wrong.password_ask", "Contact", p.Contact)
}

// contactOr is whom to ask: the operator's contact where there is one.
func (p *Portal) contactOr(somebody string) string {
	if p.Contact != "" {
		return p.Contact
	}
	return somebody
}

// formOf is the form in which an answer of a kind is typed.
func (p *Portal) formOf(kind assurance.Factor) form {
	return form{field: "code", wrong: func(t words, refused *factors.Refused) string {
		return wrongAnswer(t, kind, refused, p.CodePeriod)
	}}
}

// wrongAnswer says why an answer was refused, as the catalogue has it for the
// kind, else as for a code; period is how often codes change.
func wrongAnswer(t words, kind assurance.Factor, r *factors.Refused, period time.Duration) string {
	key := "portal.refused." + string(kind) + "." + string(r.Reason)
	model := cmp.Or(r.Model, t.kind(kind, "model"))
	if said := t.say(key, "Model", model); said != key {
		return said
	}
	if kind == assurance.BackupCode {
		if r.Reason == factors.Used {
			return t.say("portal.wrong.backup_code_used")
		}
		return t.say("portal.wrong.backup_code")
	}
	switch r.Reason {
	case factors.Used:
		return t.say("portal.wrong.code_used")
	case factors.Drifting:
		return drifting(t, r.Drift)
	case factors.Malformed:
		return t.say("portal.wrong.code_malformed")
	}
	return t.say("portal.wrong.code", "Seconds", fmt.Sprintf("%.0f", period.Seconds()))
}

// drifting tells a person that their phone's clock is off.
func drifting(t words, d time.Duration) string {
	if d < 0 {
		return t.say("portal.wrong.clock_slow", "Time", roughly(t, -d))
	}
	return t.say("portal.wrong.clock_fast", "Time", roughly(t, d))
}

// roughly puts a duration into words.
func roughly(t words, d time.Duration) string {
	if d < 50*time.Second {
		return t.count("time.seconds", int(math.Ceil(d.Seconds())))
	}
	if d < time.Hour {
		return t.count("time.minutes", int(math.Round(d.Minutes())))
	}
	if d < 48*time.Hour {
		return t.count("time.hours", int(math.Round(d.Hours())))
	}
	return t.count("time.days", int(math.Round(d.Hours()/24)))
}

// lasting puts how long something lasts into words, in the largest unit that
// says it exactly, down to minutes.
func lasting(t words, d time.Duration) string {
	switch {
	case d%(24*time.Hour) == 0:
		return t.count("time.days", int(d/(24*time.Hour)))
	case d%time.Hour == 0:
		return t.count("time.hours", int(d/time.Hour))
	}
	return t.count("time.minutes", int(d/time.Minute))
}

// tooMany tells somebody to wait, where waiting helps.
func (p *Portal) tooMany(t words, s *guess.Slowed) templates.Message {
	switch {
	case s.Paused:
		return templates.Message{Text: t.say("portal.wrong.paused",
			"Time", roughly(t, s.RetryAfter), "Contact", p.contactOr(t.say("portal.wrong.paused_contact")))}
	case s.Locked:
		return templates.Message{Text: t.say("portal.wrong.locked")}
	}
	return templates.Message{Text: t.say("portal.wrong.too_many"), RetryAfter: s.RetryAfter}
}

// phrase returns what an error says to people, where it says anything.
func (t words) phrase(err error) string {
	var speaks interface {
		Phrase() (key string, values map[string]any)
	}
	if !errors.As(err, &speaks) {
		return t.say("portal.wrong.unusable")
	}
	key, values := speaks.Phrase()
	return t.pages.Text(t.language, key, values)
}

// firstOf returns what is to be mended first.
func (t words) firstOf(invalid *person.Invalid) templates.Message {
	for _, field := range slices.Sorted(maps.Keys(invalid.Fields)) {
		return templates.Message{Field: field, Text: t.phrase(invalid.Fields[field])}
	}
	return templates.Message{Text: t.say("portal.wrong.unusable")}
}

// strength says how well a password resists guessing, from 0 to 4.
func strength(t words, score int) string { return t.say("strength." + strconv.Itoa(score)) }
