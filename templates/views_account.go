package templates

import (
	"time"
)

// OverviewView is the first page of somebody's account.
type OverviewView struct {
	Frame
	Done        string // what was done just before; empty: nothing
	Name        string
	DisplayName string
	Email       string
	Groups      []string
	Advice      []Advice
	Ways        []Way
	Since       time.Time  // when this browser's sign-on began
	Before      *Happening // the sign-in before that; nil: it isn't known
	Recent      []Happening
}

// Advice is one thing worth doing about an account, or a word that all is well.
type Advice struct {
	Text   string
	Action string // label of the link; empty: there is nothing to do
	URL    string
	Urgent bool
	Good   bool
}

// Way is one kind of proof, as somebody has it.
type Way struct {
	Kind     string // factor kind
	Name     string // "Authenticator apps"
	State    string // "2 set up"
	Daily    bool   // it is told when it was last used
	LastUsed time.Time
	URL      string
}

// Happening is one event in plain words.
type Happening struct {
	At    time.Time
	Text  string
	Where string // browser, address; may be empty
	// Alarming says that the event is a failure, or that somebody else may be behind
	// it.
	Alarming bool
}

// KindTexts is what pages say of one kind of proof, in the reader's language.
type KindTexts struct {
	Kind     string // factor kind
	URL      string // of the page that lists what somebody has of it
	Title    string // "Authenticator apps"
	About    string
	Add      string // label of the button that adds one
	AddAbout string // what adding one needs
	None     string // said where there is none
	Help     string // URL; empty: there is no help
}

// Item is one credential as its owner sees it.
type Item struct {
	ID             string
	Name           string
	Added          time.Time
	LastUsed       time.Time // zero: never
	Suspended      bool      // reported lost
	ProbationUntil time.Time // in place of a lost one, and worth less till then; zero: no
	Details        string    // "Synced passkey · USB"; may be empty
	Icon           string    // what it is kept in, as icons.html has it; may be empty
	Picture        string    // shows it in place of the icon, as a data URL of PNG or SVG; may be empty
	Heard          time.Time // when the thing itself was last heard from; zero: it isn't known
	Silent         bool      // it can't be sent notifications, though others can
	Elsewhere      string    // why it opens nothing any more, of what works elsewhere alone; may be empty
}

// KindView lists what somebody has of one kind of proof.
type KindView struct {
	Frame
	Done   string
	Kind   KindTexts
	Total  string // "3 authenticator apps"
	Items  []Item
	CanAdd bool
	// Single says that there can be one at most: nobody names it, or counts it.
	Single bool
	Codes  *CodesLeft // of backup codes; nil: there are none
	// Announcement is what the browser is told, in a form of the kind's own;
	// nil: nothing.
	Announcement any
}

// CodesLeft says what is left of a set of backup codes.
type CodesLeft struct {
	Left string // "7 of 10 are left"
	Few  bool
	Made time.Time
	Used []time.Time
}

// AddView is shown before one more of a kind is set up.
type AddView struct {
	Frame
	Kind KindTexts
	// Host is what the person goes on to, by the gate's Request; empty: to the
	// list of what they have.
	Host, Request string
}

// RenameView gives a credential another name.
type RenameView struct {
	Frame
	Kind  KindTexts
	ID    string
	Name  string // as it is
	Typed string
	Error Message
}

// RemoveView says what removing a credential leaves and ends.
type RemoveView struct {
	Frame
	Kind      KindTexts
	ID        string
	Name      string
	Suspended bool
	Last      bool     // it can't be removed: nothing would be left
	Remaining []string // what is left beside the password
}

// RemoveAllView says what removing all of a kind leaves and ends.
type RemoveAllView struct {
	Frame
	Kind      KindTexts
	Total     string   // "3 authenticator apps"
	Names     []string // of what goes
	Last      bool     // they can't be removed: nothing would be left
	Remaining []string // what is left beside the password
}

// PasskeyOfferView offers a passkey to somebody who has just signed in.
type PasskeyOfferView struct {
	Frame
	Host    string // where they were going; empty: to the portal
	Request string // the gate's request, as the form posts it
	To      string // path, likewise
}

// ChangePasswordView changes the password of somebody who is signed in.
type ChangePasswordView struct {
	Frame
	Name       string
	MinLength  int
	StrengthAt string // path that judges what is typed
	// AppPasswords are those that can be revoked with it.
	AppPasswords []OwnAppPassword
	Error        Message // about "current", "password" or the whole form
}

// OwnSignOn is one place where somebody is signed in.
type OwnSignOn struct {
	ID      string // as its form posts it
	Here    bool   // the one that asks
	Browser string // "Firefox on Windows"
	Address string
	Started time.Time
	Seen    time.Time
	Until   time.Time
	Apps    []string // hosts
}

// SignOnsView lists where somebody is signed in.
type SignOnsView struct {
	Frame
	Done     string
	SignOns  []OwnSignOn
	Others   bool // there are others than the one that asks
	Browsers []Browser
}

// OwnDevice is one machine of somebody's that carries a certificate.
type OwnDevice struct {
	ID      string // as its form posts it
	Name    string
	Serial  string // of the certificate
	Issued  time.Time
	Expires time.Time
	Seen    time.Time // zero: never
	// System and Agent are what the machine says that it runs. Either may be empty.
	System, Agent string
	// InFile says that the key is in a file, according to the machine.
	InFile bool
	// Replaces is the name of the device that the machine was before, if that device
	// hasn't been revoked; empty: there is none.
	Replaces string
	// Suspended says that it opens nothing for now.
	Suspended bool
	// Withdrawn says that its CA revoked the certificate.
	Withdrawn bool
}

// DevicesView lists the machines of somebody's that carry a certificate.
type DevicesView struct {
	Frame
	Done    string
	Devices []OwnDevice
	Add     string // URL; empty: they can't be added here
}

// AddDeviceView says how to add a device.
type AddDeviceView struct {
	Frame
	Portal string // its address
	// Agents are the files of the agent for the visitor's system; empty: none is offered.
	Agents      []AgentFile
	Code, Token string // URLs of the other ways
}

// AgentFile is a file of the device agent.
type AgentFile struct{ Name, URL string }

// DeviceCodeView asks for the code that a machine shows.
type DeviceCodeView struct {
	Frame
	Error Message
}

// DeviceTokenView offers a one-time password for adding a device, and shows it once.
type DeviceTokenView struct {
	Frame
	Secret string    // empty: it isn't made yet
	Until  time.Time // it works
}

// DeviceConfirmView shows what asks to become one of somebody's devices.
type DeviceConfirmView struct {
	Frame
	// Name and System are what the machine says of itself; System may be empty.
	Name, System string
	Address      string    // from which it asks
	At           time.Time // when it asked
	User         string    // whose device it would be
	UserID       string    // as the form posts it
	Action       string    // where the form leads
	// Request or Code is what the form posts. The machine that waits for a code isn't the
	// one with the browser.
	Request, Code string
	Cancel        string // URL
}

// RevokeView says what revoking a device ends.
type RevokeView struct {
	Frame
	Device OwnDevice
}

// ActivityView lists what happened in somebody's account, newest first.
type ActivityView struct {
	Frame
	Events []Happening
	Older  string // URL; empty: there are none
	Later  bool   // there are newer ones than these
}

// DisownView asks before everything is ended.
type DisownView struct {
	Frame
	Name string
	// Devices leads to what goes on opening apps by a certificate; empty:
	// nothing does.
	Devices string
	// AppPasswords says that there are some, which will be revoked.
	AppPasswords bool
}

// OwnAppPassword is one app password as its owner sees it.
type OwnAppPassword struct {
	ID       string // as its form posts it
	Name     string
	Hosts    []string
	Created  time.Time
	Expires  time.Time
	LastUsed time.Time // zero: never
	// Suspended says that it waits for an administrator, since the store was restored
	// from a copy.
	Suspended bool
	Ticked    bool // where it can be chosen
}

// PasswordApp is an app for which somebody can create an app password.
type PasswordApp struct {
	Host string
	URL  string // of the form
}

// AppPasswordsView lists somebody's app passwords.
type AppPasswordsView struct {
	Frame
	Done      string
	Passwords []OwnAppPassword
	Apps      []PasswordApp
}

// AddAppPasswordView asks what a new app password is to be called.
type AddAppPasswordView struct {
	Frame
	Host  string
	Until time.Time // when it will expire
	Typed string
	Error Message
}

// MadeAppPasswordView shows a new app password, once.
type MadeAppPasswordView struct {
	Frame
	Host   string
	User   string // sign-in name, for clients that ask for one
	Secret string
	Until  time.Time
}

// RevokeAppPasswordView says what revoking an app password ends.
type RevokeAppPasswordView struct {
	Frame
	Password OwnAppPassword
}

// LostView tells somebody how to go on without what a flow asks for.
type LostView struct {
	Frame
	Flow      string
	MoreTime  MoreTime
	Host      string
	Name      string // who is signing in
	StartOver string
	Kind      string // factor kind that was asked for
	Title     string // "You can't use your authenticator app"
	Others    []Choice
	Items     []Losable
	Back      string // URL of the step
	Error     Message
}

// Losable is one credential that somebody may have lost.
type Losable struct {
	ID     string
	Name   string
	Added  time.Time
	Ticked bool
}

// AccessCodeView asks for the code that an administrator gave.
type AccessCodeView struct {
	Frame
	Flow      string
	MoreTime  MoreTime
	Host      string
	Name      string
	StartOver string
	Others    []Choice
	Error     Message
}

// NewPasswordView asks for a new password in the middle of a sign-in, or in a reset.
type NewPasswordView struct {
	Frame
	Flow      string
	MoreTime  MoreTime
	Name      string
	StartOver string
	MinLength int
	// StrengthAt is the path that judges what is typed.
	StrengthAt string
	// Reset says that the password is reset.
	Reset bool
	Error Message
}

// HelpView explains one kind of proof. Its template is "help_" and the factor's
// kind.
type HelpView struct {
	Frame
	Values    map[string]any // of the kind, for its texts
	MinLength int            // of passwords
	Account   string
}
