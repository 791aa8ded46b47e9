package portal

import (
	"cmp"
	"errors"
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
		return wrongAnswer(t, kind, refused, p.valuesOf(kind))
	}}
}

// valuesOf are those that the texts about a kind may name.
func (p *Portal) valuesOf(kind assurance.Factor) map[string]any {
	f, err := p.Factors.Get(kind)
	if err != nil {
		return nil
	}
	if valued, ok := f.(factors.Valued); ok {
		return valued.Values()
	}
	return nil
}

// wrongAnswer says why an answer was refused: as the catalogue has it for the kind
// and the reason, else for the reason, else in general.
func wrongAnswer(t words, kind assurance.Factor, r *factors.Refused, values map[string]any) string {
	reason, off := string(r.Reason), r.Drift
	if r.Reason == factors.Drifting {
		reason = "fast"
		if off < 0 {
			reason, off = "slow", -off
		}
	}
	pairs := []any{"Model", cmp.Or(r.Model, t.kind(kind, "model")), "Time", roughly(t, off)}
	for name, value := range values {
		pairs = append(pairs, name, value)
	}
	for _, key := range []string{string(kind) + "." + reason, "unnamed." + reason} {
		key = "portal.refused." + key
		if said := t.say(key, pairs...); said != key {
			return said
		}
	}
	return t.say("portal.refused.unnamed.wrong")
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
