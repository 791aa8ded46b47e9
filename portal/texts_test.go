package portal

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/templates"
)

// speaker speaks one of the product's languages.
func speaker(t *testing.T, language string) words {
	t.Helper()
	pages, err := templates.New(templates.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return words{pages: pages, language: language}
}

// TestEventsAreToldInWords wants words for every event that is about a person.
func TestEventsAreToldInWords(t *testing.T) {
	aboutNobody := []audit.Name{
		audit.TicketRefused, audit.CrossOrigin, audit.SetupLinkCreated, audit.KeysRotated, audit.AdminRefused,
		audit.DeviceRefused, audit.FleetTokenMade, audit.FleetTokenRevoked, audit.TokenUnowned, audit.TokenRenewed, audit.BackupMade, audit.StoreRestored,
	}
	for _, language := range []string{"en", "de"} {
		speaks := speaker(t, language)
		for _, name := range audit.Catalogue() {
			told := tell(speaks, store.Event{Name: string(name), Fields: map[string]string{"factor": "totp", "factors": "totp", "app": "https://wiki.example.com"}})
			if general := told == speaks.say("portal.event.unnamed"); general != slices.Contains(aboutNobody, name) {
				t.Errorf("%s: %s is told as %q", language, name, told)
			}
			if strings.Contains(told, "<no value>") {
				t.Errorf("%s: %s is told as %q", language, name, told)
			}
		}
	}
}

// TestWrongAnswer holds the texts against how the product speaks.
func TestWrongAnswer(t *testing.T) {
	for _, c := range []struct {
		kind    assurance.Factor
		refused factors.Refused
		seconds int
		want    string
	}{
		{assurance.TOTP, factors.Refused{Reason: factors.Wrong}, 30, "That code didn't work. Codes change every 30 seconds: wait for the next one."},
		{assurance.TOTP, factors.Refused{Reason: factors.Wrong}, 60, "That code didn't work. Codes change every 60 seconds: wait for the next one."},
		{assurance.TOTP, factors.Refused{Reason: factors.Used}, 30, "That code was used a moment ago. Wait for the next one."},
		{assurance.TOTP, factors.Refused{Reason: factors.Malformed}, 30, "Enter all the digits that the app shows, and nothing else."},
		{assurance.TOTP, factors.Refused{Reason: factors.Drifting, Drift: -2 * time.Minute}, 30, "Your phone's clock is about 2 minutes slow. Set it to automatic, then use the next code."},
		{assurance.TOTP, factors.Refused{Reason: factors.Drifting, Drift: time.Minute}, 30, "Your phone's clock is about 1 minute fast. Set it to automatic, then use the next code."},
		{assurance.TOTP, factors.Refused{Reason: factors.TooSoon}, 30, "We sent one a moment ago."},
		{"telepathy", factors.Refused{Reason: factors.Wrong}, 30, "That didn't work. Try again, or use another way."},
		{"telepathy", factors.Refused{Reason: "unheard of"}, 30, "That didn't work. Try again, or use another way."},
		{assurance.BackupCode, factors.Refused{Reason: factors.Unconfirmed}, 0, "Save the codes first, then tick the box."},
		{assurance.BackupCode, factors.Refused{Reason: factors.Used}, 30, "That backup code has already been used. Each works once: use the next one on your list."},
		{assurance.BackupCode, factors.Refused{Reason: factors.Wrong}, 30, "That backup code didn't work. It has three groups of four letters and digits."},
		{assurance.BackupCode, factors.Refused{Reason: factors.Malformed}, 30, "Enter all twelve letters and digits of a backup code."},
	} {
		if got := wrongAnswer(speaker(t, "en"), c.kind, &c.refused, map[string]any{"Seconds": c.seconds}); got != c.want {
			t.Errorf("%s %+v: %q, want %q", c.kind, c.refused, got, c.want)
		}
	}
}

func TestRoughly(t *testing.T) {
	for d, want := range map[time.Duration]string{
		time.Second:                     "1 second",
		30 * time.Second:                "30 seconds",
		49*time.Second + 1:              "50 seconds",
		50 * time.Second:                "1 minute",
		89 * time.Second:                "1 minute",
		90 * time.Second:                "2 minutes",
		5 * time.Minute:                 "5 minutes",
		20 * time.Minute:                "20 minutes",
		time.Hour:                       "1 hour",
		2*time.Hour + 10*time.Minute:    "2 hours",
		23*time.Hour + 40*time.Minute:   "24 hours",
		59*time.Minute + 20*time.Second: "59 minutes",
		47*time.Hour + 20*time.Minute:   "47 hours",
		54 * time.Hour:                  "2 days",
	} {
		if got := roughly(speaker(t, "en"), d); got != want {
			t.Errorf("%s is called %q, want %q", d, got, want)
		}
	}
}

func TestTooMany(t *testing.T) {
	for _, c := range []struct {
		slowed guess.Slowed
		want   templates.Message
	}{
		{guess.Slowed{RetryAfter: 4 * time.Minute}, templates.Message{Text: "Too many attempts.", RetryAfter: 4 * time.Minute}},
		// No waiting helps, so none is told.
		{guess.Slowed{RetryAfter: time.Hour, Locked: true}, templates.Message{Text: "Too many attempts. Use a browser that you've signed in with before, or another way to sign in. This one works again tomorrow."}},
		{guess.Slowed{RetryAfter: 29*24*time.Hour + 20*time.Hour, Paused: true}, templates.Message{Text: "Somebody who knows your password has entered many wrong codes. For the next 30 days, this browser won't accept any codes except backup codes. Sign in another way, or in a browser that you've used before, and change your password: codes will then work everywhere again. If you can't, ask the people who run this site for help."}},
	} {
		if got := new(Portal).tooMany(speaker(t, "en"), &c.slowed); got != c.want {
			t.Errorf("%+v: %+v, want %+v", c.slowed, got, c.want)
		}
	}
}

func TestSecondsAreRoundedUp(t *testing.T) {
	for d, want := range map[time.Duration]string{time.Nanosecond: "1", time.Second: "1", 1500 * time.Millisecond: "2", time.Hour: "3600"} {
		if got := seconds(d); got != want {
			t.Errorf("%s: %q, want %q", d, got, want)
		}
	}
}

func TestWrongPassword(t *testing.T) {
	p, wrong := new(Portal), &factors.Refused{Reason: factors.Wrong}
	if got := p.wrongPassword(speaker(t, "en"), &factors.Refused{Reason: factors.Malformed}); got != "Enter your password." {
		t.Errorf("%q", got)
	}
	if got := p.wrongPassword(speaker(t, "en"), wrong); got != "That name and password don't match. Try again." {
		t.Errorf("%q", got)
	}
	p.Contact = "the help desk"
	if got := p.wrongPassword(speaker(t, "en"), wrong); got != "That name and password don't match. Try again, or ask the help desk for help." {
		t.Errorf("%q", got)
	}
}

// speaking is an error that says something to people.
type speaking struct{ error }

func (speaking) Phrase() (string, map[string]any) {
	return "portal.refused.totp.fast", map[string]any{"Time": "a day"}
}

func TestPhrase(t *testing.T) {
	said := "Your phone's clock is about a day fast. Set it to automatic, then use the next code."
	inside := errors.New("row 7 is locked")
	for err, want := range map[error]string{
		speaking{inside}:                      said,
		errors.Join(inside, speaking{inside}): said,
		inside:                                "You can't use this. Choose something else.",
	} {
		if got := speaker(t, "en").phrase(err); got != want {
			t.Errorf("%v: %q", err, got)
		}
	}
}

func TestOtherWay(t *testing.T) {
	for kind, want := range map[assurance.Factor]string{
		assurance.TOTP:       "Use the code from your authenticator app",
		assurance.BackupCode: "Use a backup code",
		authflow.AccessCode:  "Use a code from an administrator",
		"telepathy":          "Use another way",
	} {
		if got := speaker(t, "en").kind(kind, "use"); got != want {
			t.Errorf("%s: %q, want %q", kind, got, want)
		}
	}
}

func TestLasting(t *testing.T) {
	for d, want := range map[time.Duration]string{
		30 * 24 * time.Hour:     "30 days",
		24 * time.Hour:          "1 day",
		36 * time.Hour:          "36 hours",
		90 * time.Minute:        "90 minutes",
		time.Hour + time.Second: "60 minutes",
		365 * 24 * time.Hour:    "365 days",
	} {
		if got := lasting(speaker(t, "en"), d); got != want {
			t.Errorf("%v: %q, want %q", d, got, want)
		}
	}
}

func TestBrowserName(t *testing.T) {
	for userAgent, want := range map[string]string{
		"Mozilla/5.0 (Windows NT 10.0; Win64; x64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Safari/537.36 Edg/141.0.0.0":           "Edge on Windows",
		"Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1": "Safari on iOS",
		"Mozilla/5.0 (Linux; Android 10; K) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/141.0.0.0 Mobile Safari/537.36":                         "Chrome on Android",
		"curl/8.5.0": "curl",
		"":           "A browser",
	} {
		if got := browserName(speaker(t, "en"), userAgent); got != want {
			t.Errorf("%q: %q, want %q", userAgent, got, want)
		}
	}
}
