package adminapi

import (
	"net/netip"
	"time"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
)

// Each type below is the JSON body of a request or a response. With --json, the
// commands print responses in the same form.
type (
	// User is a person with an account.
	User struct {
		Name        string    `json:"name"`
		DisplayName string    `json:"display_name,omitempty"`
		Email       string    `json:"email,omitempty"`
		Groups      []string  `json:"groups"`
		Status      string    `json:"status"`
		Created     time.Time `json:"created"`
		Factors     []string  `json:"factors,omitempty"`
		Sessions    []Session `json:"sessions,omitempty"`
		Browsers    []Browser `json:"browsers,omitempty"`
		// PausedUntil is until when unknown browsers accept no codes from the user.
		PausedUntil time.Time `json:"paused_until,omitzero"`
	}
	// Unlocked is the response when a user has been unlocked.
	Unlocked struct {
		// WasPaused says that unknown browsers accepted no codes from the user.
		WasPaused bool `json:"was_paused,omitempty"`
	}
	// Session is one sign-on that hasn't ended.
	Session struct {
		ID        string    `json:"id"`
		User      string    `json:"user,omitempty"`
		Started   time.Time `json:"started"`
		LastSeen  time.Time `json:"last_seen"`
		Expires   time.Time `json:"expires"`
		Factors   []string  `json:"factors"`
		Address   string    `json:"address,omitempty"`
		UserAgent string    `json:"user_agent,omitempty"`
	}
	// Browser is a browser that skips the second factor.
	Browser struct {
		ID        string    `json:"id"`
		UserAgent string    `json:"user_agent,omitempty"`
		Factor    string    `json:"factor"` // that it stands in for
		Until     time.Time `json:"until"`
		LastSeen  time.Time `json:"last_seen"`
	}
	// Link is a link that works once.
	Link struct {
		Link    string    `json:"link"`
		Expires time.Time `json:"expires"`
	}
	// Code is a code that works once.
	Code struct {
		Code    string    `json:"code"`
		Expires time.Time `json:"expires"`
	}
	// NewUser asks for a new user.
	NewUser struct {
		Name        string   `json:"name"`
		DisplayName string   `json:"display_name"`
		Email       string   `json:"email"`
		Groups      []string `json:"groups"`
		Send        bool     `json:"send,omitempty"` // the invitation, by e-mail
	}
	// NewInvitation asks for another invitation.
	NewInvitation struct {
		Send bool `json:"send,omitempty"` // it by e-mail
	}
	// Invited is the response with an invitation: a link, or where it is being sent.
	Invited struct {
		Link    string    `json:"link,omitempty"`
		SentTo  string    `json:"sent_to,omitempty"`
		Expires time.Time `json:"expires"`
	}
	// Changes asks for changes to a user. Nil fields stay as they are.
	Changes struct {
		Name        *string   `json:"name,omitempty"`
		DisplayName *string   `json:"display_name,omitempty"`
		Email       *string   `json:"email,omitempty"`
		Groups      *[]string `json:"groups,omitempty"`
	}
	// Done is the response when a user has been changed or deleted.
	Done struct {
		User    *User  `json:"user,omitempty"`
		Warning string `json:"warning,omitempty"`
	}
	// Reset asks for a user's second factors to be removed.
	Reset struct {
		Password bool `json:"password"` // remove it, too
	}
	// ResetDone says what was removed, and contains what the user needs next.
	ResetDone struct {
		Factors []string `json:"factors"`
		Ended   int      `json:"ended"`
		Code    *Code    `json:"access_code,omitempty"`
		Link    *Link    `json:"invitation,omitempty"`
	}
	// Ended says how many sessions were ended.
	Ended struct {
		Ended int `json:"ended"`
	}
)

// The same for devices.
type (
	// Device is a device with a certificate.
	Device struct {
		ID      string    `json:"id"`
		User    string    `json:"user"`
		Name    string    `json:"name"`
		Serial  string    `json:"serial"`
		SHA256  string    `json:"sha256"` // of the certificate
		Issuer  string    `json:"issuer,omitempty"`
		Status  string    `json:"status"`
		Reason  string    `json:"reason,omitempty"`
		Revoked time.Time `json:"revoked,omitzero"`

		Issued   time.Time `json:"issued"`
		Expires  time.Time `json:"expires"`
		LastSeen time.Time `json:"last_seen,omitzero"`

		Machine    string `json:"machine,omitempty"`
		System     string `json:"system,omitempty"`
		Agent      string `json:"agent,omitempty"`
		Protection string `json:"protection,omitempty"`
		Via        string `json:"via,omitempty"`
		Replaces   string `json:"replaces,omitempty"` // ID of a device
	}
	// EnrolmentToken is the response with a token that enrols one machine.
	EnrolmentToken struct {
		Token   string    `json:"token"`
		User    string    `json:"user"`
		Portal  string    `json:"portal"`
		Expires time.Time `json:"expires"`
	}
	// NewFleetToken asks for a fleet token, which enrols many machines.
	NewFleetToken struct {
		Name     string         `json:"name"`
		Most     int            `json:"most"`
		Lifetime int64          `json:"lifetime"` // seconds
		From     []netip.Prefix `json:"from,omitempty"`
	}
	// NewOwner asks for a device to be given to a user.
	NewOwner struct {
		User string `json:"user"`
	}
	// NewDevice asks for a certificate.
	NewDevice struct {
		Name    string `json:"name"`
		Request string `json:"request"` // PEM
	}
	// Issued is the response with a new certificate.
	Issued struct {
		Device Device `json:"device"`
		Chain  string `json:"chain"` // PEM, the device's own first
	}
	// NewName asks for a device to be renamed.
	NewName struct {
		Name string `json:"name"`
	}
	// Revocation asks for a device to be revoked.
	Revocation struct {
		Reason string `json:"reason"`
	}
)

func userOf(u store.User) User {
	groups := u.Groups
	if groups == nil {
		groups = []string{}
	}
	return User{
		Name: u.Name, DisplayName: u.DisplayName, Email: u.Email, Groups: groups,
		Status: string(u.Status), Created: u.Created,
	}
}

func sessionOf(s store.SignOn, user string) Session {
	shown := assurance.Shown(s.Proofs)
	kinds := make([]string, len(shown))
	for i, p := range shown {
		kinds[i] = string(p.Factor)
	}
	return Session{
		ID: audit.ShortID(s.ID), User: user, Started: s.Started, LastSeen: s.LastSeen, Expires: s.Expires,
		Factors: kinds, Address: s.Address, UserAgent: s.UserAgent,
	}
}

func browserOf(b store.Browser) Browser {
	return Browser{
		ID: audit.ShortID(b.ID), UserAgent: b.UserAgent, Factor: string(b.RememberedFor),
		Until: b.Remembered, LastSeen: b.LastSeen,
	}
}

func personOf(p accounts.Person) User {
	shown := userOf(p.User)
	for _, kind := range p.Factors {
		shown.Factors = append(shown.Factors, string(kind))
	}
	for _, s := range p.SignOns {
		shown.Sessions = append(shown.Sessions, sessionOf(s, ""))
	}
	for _, b := range p.Browsers {
		shown.Browsers = append(shown.Browsers, browserOf(b))
	}
	shown.PausedUntil = p.PausedUntil
	return shown
}
