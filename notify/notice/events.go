package notice

import (
	"slices"
	"strings"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/browsers"
	"github.com/portcullis-mfa/portcullis/store"
)

// class says how soon people hear of an event.
type class int

const (
	daily  class = iota + 1 // in the digest
	prompt                  // right away, as long as there aren't too many
	urgent                  // right away, always
)

// classes says which events give a notice.
var classes = map[audit.Name]class{
	audit.FactorEnrolled:    urgent,
	audit.FactorRemoved:     urgent,
	audit.FactorLost:        urgent,
	audit.FactorRestored:    urgent,
	audit.FactorsReset:      urgent,
	audit.FactorsPaused:     urgent, // somebody knows the password
	audit.PasswordChanged:   urgent,
	audit.PasswordReset:     urgent,
	audit.AccessCodeCreated: urgent, // by it, another factor can be added
	audit.AccessCodeUsed:    urgent,
	audit.ActivityDisowned:  urgent,
	audit.RequestReported:   urgent, // somebody knows the password
	audit.UserSetUp:         urgent,
	audit.TokenCreated:      urgent, // of a person, it's an app password
	audit.UserChanged:       urgent, // if the address or the sign-in name changed; else daily
	audit.SignInSucceeded:   prompt, // in a new browser or place, or by a standby factor
	audit.StepUpSucceeded:   prompt, // by a standby factor
	audit.FactorAlert:       prompt,
	audit.CounterRegressed:  prompt,
	audit.TokenMoved:        prompt, // of a person, it's an app password
	audit.DeviceSuspended:   urgent, // somebody may have a copy of its key
	audit.DeviceTokenMade:   prompt,
	audit.DeviceIssued:      prompt,
	audit.DeviceAssigned:    prompt,
	audit.DeviceAdopted:     prompt,
	audit.DeviceRevoked:     daily,
	audit.TokenRevoked:      daily,
	audit.BrowserRemembered: daily,
	audit.FactorBarred:      daily,
	audit.PhoneUnreachable:  daily,
	audit.UserEnabled:       daily,
	audit.UserUnlocked:      daily,
}

// silent are the events that give no notice, and why.
var silent = map[audit.Name]string{
	audit.SignInFailed:      "strangers can cause it as often as they like; factor.alert tells of very many",
	audit.SignInSlowed:      "strangers can cause it as often as they like; factor.alert tells of very many",
	audit.SignOnEnded:       "it lets nobody in, and follows from something that gives a notice if it matters",
	audit.AppOpened:         "it's the daily business",
	audit.ClockDrifting:     "the sign-in page says so",
	audit.BrowserForgotten:  "it lets nobody in",
	audit.FactorRenamed:     "it changes nothing but a name",
	audit.DeviceRenewed:     "it happens by itself",
	audit.DeviceConfirmed:   "nothing is let in until the device gets its certificate, which gives a notice",
	audit.DeviceResumed:     "an administrator was asked to",
	audit.DeviceRenamed:     "it changes nothing but a name",
	audit.DeviceAdmitted:    "it's the daily business",
	audit.DeviceRefused:     "strangers can cause it",
	audit.RequestsRepeated:  "the phone shows each of the requests, and reporting one gives a notice",
	audit.TicketRefused:     "it's about nobody in particular",
	audit.CrossOrigin:       "it's about nobody in particular",
	audit.SetupLinkCreated:  "nobody has an account yet",
	audit.UserCreated:       "the invitation tells them",
	audit.UserInvited:       "the invitation tells them",
	audit.ResetRequested:    "the mail with the link tells them",
	audit.UserDisabled:      "they can't do anything about it here",
	audit.UserDeleted:       "nothing is left to protect",
	audit.TokenUnowned:      "administrators see to it",
	audit.TokenRenewed:      "it's about no person",
	audit.TokenUsed:         "its owner was told when the app password was created",
	audit.TokenRefused:      "strangers can cause it",
	audit.TokenAppRefused:   "administrators see to it",
	audit.TokenResumed:      "it's about no person",
	audit.KeysRotated:       "it's about no person",
	audit.BackupMade:        "it's about no person",
	audit.StoreRestored:     "it's about no person",
	audit.AdminRefused:      "it's about no person",
	audit.FleetTokenMade:    "it's about no person",
	audit.FleetTokenRevoked: "it's about no person",
}

// happening is an event as a notice tells of it. It is kept with the message.
type happening struct {
	store.Event
	// Text is the key of what the notice says.
	Text  string
	class class
}

// field returns a field of the event.
func (h happening) field(f audit.Field) string { return h.Fields[string(f)] }

// kinds are the factors that the event is about.
func (h happening) kinds() []assurance.Factor {
	var kinds []assurance.Factor
	for kind := range strings.SplitSeq(h.field(audit.Factor)+","+h.field(audit.Factors), ",") {
		if kind != "" {
			kinds = append(kinds, assurance.Factor(kind))
		}
	}
	return kinds
}

// browser returns the known names of browser and system.
func (h happening) browser() (name, system string) { return browsers.Named(h.field(audit.UserAgent)) }

// happeningOf returns what a notice tells of an event, apart from what has to be looked
// up; false: there is none.
func happeningOf(e store.Event) (happening, bool) {
	h := happening{Event: e, Text: "mail_notice.event." + e.Name, class: classes[audit.Name(e.Name)]}
	if audit.Name(e.Name) == audit.SignInSucceeded {
		h.Text = "mail_notice.event.sign_in.new_browser" // unless there is other news
	}
	if e.UserID == "" || h.class == 0 {
		return h, false
	}
	if audit.Name(e.Name) == audit.UserChanged {
		changed := strings.Split(h.field(audit.Changed), ",")
		switch {
		case slices.Contains(changed, "email"):
			h.Text = "mail_notice.event.user.changed_address"
		case slices.Contains(changed, "name"):
			h.Text = "mail_notice.event.user.changed_name"
		default:
			h.class = daily
		}
	}
	return h, true
}
