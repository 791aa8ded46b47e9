package templates

import (
	"html/template"
	"slices"
	"time"
)

// Frame is what every page shows around its card. Each view embeds it.
type Frame struct {
	// Brand is the operator's name for the portal, above the card.
	Brand string
	// Contact is whom to ask for help: a name, an address or a URL; may be empty.
	Contact string
	// Assets is the path under which the style sheet and scripts are served,
	// without a slash at the end.
	Assets string
	// Language is the tag of the language that the page is in; empty, or one
	// that there isn't: English.
	Language string
	// Languages are those that can be chosen; none: the chooser isn't shown.
	Languages []Language
	// Here is the path to come back to when another language is chosen; empty:
	// the chooser isn't shown.
	Here string
}

// language makes a view of what embeds a Frame.
func (f Frame) language() string { return f.Language }

// MoreTime offers to put off the end of a flow; without a flow nothing is
// offered.
type MoreTime struct {
	Seconds int    // until the flow ends
	Flow    string // id
}

// Message is one thing that a person has to be told beside a form.
type Message struct {
	// Field is the name of the input that it is about; empty: the whole form.
	Field string
	Text  string
	// RetryAfter, where set, is counted down behind the text of a message about
	// the whole form.
	RetryAfter time.Duration
	// Unknown is what the browser calls a passkey that has come and isn't kept
	// here; empty: there is none.
	Unknown string
}

// Wait is RetryAfter as it is told where nothing counts it down: a minute at
// least, since the seconds pass while they are read.
func (m Message) Wait() time.Duration { return max(m.RetryAfter, time.Minute) }

// Step says where in a set-up the person is; the zero Step shows nothing.
type Step struct {
	Number, Of int
}

// SignInView is the first form: name and password.
type SignInView struct {
	Frame
	Host    string // the app to be opened; empty: the portal itself
	Request string // the gate's signed request, passed on
	To      string // the portal's own page to be opened, passed on
	Name    string // what was typed before
	Shared  bool   // ticked before
	Error   Message
	// Current is who is signed in already, where somebody wants to switch.
	Current string
	// Passkey says that a passkey does, too.
	Passkey bool
	// Unknown is the id of a credential, in base64url, that the browser should
	// offer no more; empty: none.
	Unknown string
	// Device is who can go on without typing anything, since this device is
	// theirs; empty: nobody.
	Device string
	// Notice is what is wrong with the device's certificate; empty: nothing.
	Notice string
	// Help is the page about forgotten passwords; empty: there is none.
	Help string
	// Resets says that a link to choose a new password can be had there. Otherwise the page
	// only explains, and opens beside the form.
	Resets bool
}

// Choice is one other way to go on.
type Choice struct {
	Kind string // factor kind
	Text string // "Use a backup code"
	URL  string
	// Standby says that it is for emergencies, such as backup codes.
	Standby bool
}

// Waiting is what a page needs if another device can answer its question.
type Waiting struct {
	Poll string        // URL at which wait.js asks whether it has
	Page string        // URL of the page itself
	Left time.Duration // until it can't be answered any more; 0: it has no time of its own
}

// Sending is the button that sends a message about a question.
type Sending struct {
	Flow   string
	Factor string
	First  bool          // nothing is asked until then
	After  time.Duration // until it can be sent again
	Left   int           // how often it can be sent again
}

// Asked is how the question of a page is going.
type Asked struct {
	Waiting  *Waiting // nil: no other device can answer
	Sending  *Sending // nil: no message can be sent
	Said     string   // of what was done just before; empty: nothing
	Unsent   bool     // Said is that the message couldn't be sent
	Tracking string   // where the page learns what became of the message; empty: it is known
}

// ChallengeView asks for a second factor. Its template is "challenge_" and the
// factor's kind; Ceremony is what the factor hands to it.
type ChallengeView struct {
	Frame
	Asked
	MoreTime   MoreTime
	Flow       string
	Host       string
	Name       string // who is signing in
	Ceremony   any
	Also       string // which other codes can be typed into the field; empty: none
	AlsoDigits int    // how many digits the longest of those has
	Error      Message
	Others     []Choice
	// Lost leads on for somebody who can't use this factor; empty: it isn't
	// offered.
	Lost string
	// Help explains the factor; empty: nothing does.
	Help string
	// Note says what else is to be known of what is asked; empty: nothing.
	Note string
	// Remember says for how long the browser can skip this step if the person
	// wants that ("30 days"); empty: it isn't offered.
	Remember string
	// Remembering says that they wanted it before.
	Remembering bool
	// StepUp says that the person is signed in and is asked for a fresh check.
	StepUp bool
	// Reset says that the person has forgotten the password and chooses a new one next.
	Reset bool
	// StartOver leads to the sign-in form as somebody else.
	StartOver string
}

// Code is the content of a challenge that asks for a code of digits.
type Code interface {
	// Length is how many digits a code has.
	Length() int
}

// Digits is how many digits the longest code that can be typed into the field has; 0: it
// isn't known.
func (v ChallengeView) Digits() int {
	if code, ok := v.Ceremony.(Code); ok {
		return max(code.Length(), v.AlsoDigits)
	}
	return v.AlsoDigits
}

// Choices are the other factors to choose from: those that are like this one.
func (v ChallengeView) Choices() []Choice {
	return slices.DeleteFunc(slices.Clone(v.Others), func(c Choice) bool { return c.Standby })
}

// Standbys returns the other ways that are for emergencies, such as backup codes.
func (v ChallengeView) Standbys() []Choice {
	return slices.DeleteFunc(slices.Clone(v.Others), func(c Choice) bool { return !c.Standby })
}

// AccountView is the first step of a set-up: name and password.
type AccountView struct {
	Frame
	MoreTime    MoreTime
	Flow        string
	Step        Step
	Name        string
	NameFixed   bool // chosen by an administrator
	DisplayName string
	Errors      []Message
	MinLength   int
	First       bool // the first administrator
}

// ErrorOn returns the first message about the input of that name. What is
// about no input of the page ("") counts as about the whole form.
func (v AccountView) ErrorOn(field string) Message {
	for _, message := range v.Errors {
		if accountField(message.Field) == field {
			return message
		}
	}
	return Message{}
}

// Focus returns the name of the input to begin with: the first on the page
// that has a message, else the first that can be filled.
func (v AccountView) Focus() string {
	for _, field := range accountFields {
		if v.ErrorOn(field).Text != "" && !(field == "name" && v.NameFixed) {
			return field
		}
	}
	if v.NameFixed {
		return "display_name"
	}
	return "name"
}

// accountFields are the inputs of the account page from top to bottom.
var accountFields = []string{"name", "display_name", "password"}

func accountField(name string) string {
	if slices.Contains(accountFields, name) {
		return name
	}
	return ""
}

// EnrolView adds a factor. Its template is "enrol_" and the factor's kind.
type EnrolView struct {
	Frame
	Asked
	MoreTime MoreTime
	Flow     string
	Step     Step
	Name     string
	Ceremony any
	Error    Message
	Others   []Choice // what could be set up instead
	// AtOnce says that the person has just said yes to an offer of it.
	AtOnce bool
	// Called is what the new one is called, to be changed as the person likes;
	// empty: they aren't asked.
	Called string
	// Replaces says that the new one takes the place of one that the person has.
	Replaces bool
	Help     string // URL; empty: there is no help
	Cancel   string // URL; empty: nobody leaves here
	// Download is where a file to keep is to be had; empty: there is none.
	Download string
}

// PasswordView asks a person who is signed in for the password alone.
type PasswordView struct {
	Frame
	MoreTime  MoreTime
	Flow      string
	Host      string
	Name      string
	Error     Message
	StartOver string
}

// App is one entry of the landing page.
type App struct {
	Name string // host
	URL  string
}

// Browser is one that skips the second step.
type Browser struct {
	ID    string // as its form posts it
	Name  string // "Firefox on Windows"
	Here  bool   // the one that asks
	Until time.Time
}

// HomeView is the landing page of somebody who is signed in.
type HomeView struct {
	Frame
	Done        string // what was just done; empty: nothing
	Name        string
	DisplayName string
	Apps        []App
	Since       time.Time
	Until       time.Time
}

// ForgottenView asks somebody who has forgotten the password who they are.
type ForgottenView struct {
	Frame
	Name  string // as it was typed
	Error Message
	// Sent says that a link is on its way, if they may have one.
	Sent bool
}

// UndoView asks whoever opened the link of a notice for the name of its recipient.
type UndoView struct {
	Frame
	Token string
	Name  string // as it was typed
	Error Message
	// Credential says that a new way to sign in is turned off; otherwise, somebody is
	// signed out.
	Credential bool
	// Restores says that the previous address or number is used again in its place.
	Restores bool
	// AppPassword says that an app password is revoked.
	AppPassword bool
	// Done says that it happened.
	Done bool
}

// SignOutView asks before signing out; Action is where its form posts to.
type SignOutView struct {
	Frame
	Name   string
	Action string
}

// SignedOutView confirms it.
type SignedOutView struct {
	Frame
	SignIn string // URL
	// ByDevice says that the device opens the app all the same.
	ByDevice bool
}

// RefusedView tells somebody who is signed in that this is not for them.
type RefusedView struct {
	Frame
	Name      string
	What      string // host and path
	Switch    string // URL to sign in as somebody else
	Home      string // URL of the portal
	Reference string
}

// SendAgainView tells somebody whose form came too late how to send it all the
// same.
type SendAgainView struct {
	Frame
	Host string
	// StepUp says that the person is signed in and is asked for a fresh check.
	StepUp bool
	SignIn string // URL, opened in a new tab
}

// LeaveFrameView leads out of a frame to the sign-in.
type LeaveFrameView struct {
	Frame
	Host   string
	StepUp bool
	SignIn string // URL, opened in the whole window
}

// SignedInView ends a sign-in in a new tab. The tab was opened beside a form or, with
// BesidePage, beside a page that stays open.
type SignedInView struct {
	Frame
	Host       string
	BesidePage bool
}

// ProblemView is every other page that says what happened and what to do.
type ProblemView struct {
	Frame
	Status    int
	Title     string // h1
	Text      string
	Action    string // label of the one next action; empty: none
	ActionURL string
	// WholeWindow opens that in the whole window, out of a frame.
	WholeWindow bool
	// RetryAfter, where set, is counted down until the action is offered.
	RetryAfter time.Duration
	Reference  string
}

// TOTPChallenge is what challenge_totp shows.
type TOTPChallenge struct {
	Digits int
	Period int // seconds
}

// Length implements Code.
func (c TOTPChallenge) Length() int { return c.Digits }

// TOTPEnrolment is what enrol_totp shows.
type TOTPEnrolment struct {
	QR      template.HTML // an inline SVG
	Key     string        // base32, in groups of four
	URI     string        // otpauth
	Issuer  string
	Account string
	Digits  int
	Period  int // seconds
}

// FIDOCeremony is what challenge_fido and enrol_fido show.
type FIDOCeremony struct {
	// Options are what the browser is asked, as JSON for fido.js: a
	// PublicKeyCredentialRequestOptionsJSON or …CreationOptionsJSON (WebAuthn
	// Level 3 §5.1.8, §5.1.9).
	Options string
}

// FIDOSignals is what account_kind tells the browser of somebody's keys.
type FIDOSignals struct {
	// Accepted and Details are what signal.js signals, as JSON:
	// AllAcceptedCredentialsOptions and CurrentUserDetailsOptions (WebAuthn
	// Level 3 §5.1.10).
	Accepted, Details string
}

// BackupCodes is what enrol_backup_code shows.
type BackupCodes struct {
	Codes []string
}

// MessageCode is what challenge_email and challenge_sms show, and enrol_email and
// enrol_sms once a code has been sent.
type MessageCode struct {
	Address string // masked where whoever sees it may not know it
	Sent    bool   // a code is on its way there
	Digits  int
	Minutes int // how long a code counts
}

// Length implements Code.
func (c MessageCode) Length() int { return c.Digits }

// MessageEnrolment is what enrol_email and enrol_sms show.
type MessageEnrolment struct {
	Sent *MessageCode // nil: an address is asked for
}
