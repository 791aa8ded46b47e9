// Package store is the contract of persistence: the rows that Portcullis
// keeps, the operations on them, and what every implementation promises.
//
// The contract holds no rules of the product: what a row means and when it may
// change is decided by the packages above. It must not know HTTP, factors or
// Caddy. Each consumer declares, beside its own code, the few methods it uses;
// an implementation offers them all and passes package conformance.
//
// Times come back in UTC, cut to whole microseconds, and so do durations; the
// zero time comes back as zero. Empty lists, maps and byte slices come back
// nil. Texts are compared and sorted byte by byte. They have to be valid UTF-8
// without NUL: callers clean what strangers send. Bytes can be any.
package store

import (
	"context"
	"errors"
	"math"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
)

// The errors on which callers decide. Every other error means that the store
// could not tell, which is never to be read as "not there".
var (
	// ErrNotFound says that no such row exists.
	ErrNotFound = errors.New("not found in the store")
	// ErrConflict says that a compare-and-set lost: the row changed since it
	// was read, or a unique name or address is taken.
	ErrConflict = errors.New("changed in the store in the meantime")
	// ErrBusy says that the store gave up because others kept it busy for too long.
	// Nothing was done; a later try may succeed.
	ErrBusy = errors.New("the store is too busy")
	// ErrMissing says that there is no store where one is to be opened.
	ErrMissing = errors.New("there is no store")
	// ErrLost says that the store is gone from its place while it was open.
	ErrLost = errors.New("the store is lost")
)

// UserStatus says whether a person may sign in.
type UserStatus string

// The states of a user.
const (
	// UserInvited was created by an administrator and has not set up yet.
	UserInvited UserStatus = "invited"
	// UserActive has set up and may sign in.
	UserActive UserStatus = "active"
	// UserDisabled may not do anything until enabled again.
	UserDisabled UserStatus = "disabled"
)

// User is a person.
type User struct {
	ID          string // opaque, never reused
	Name        string // canonical sign-in name, unique
	DisplayName string
	Email       string // canonical, unique where not empty
	Groups      []string
	Status      UserStatus
	// NewPassword says that the password has to be replaced at the next
	// sign-in.
	NewPassword bool
	// Language and Zone are what messages to the user are written in: the language
	// and the time zone (IANA) of the newest sign-in; empty: they aren't known.
	Language, Zone string
	Created        time.Time
	Version        int64
}

// Location returns the time zone in which a user reads times: UTC if none is known.
func (u User) Location() *time.Location {
	zone, err := time.LoadLocation(u.Zone)
	if err != nil {
		return time.UTC
	}
	return zone
}

// CredentialState says whether a credential can be used.
type CredentialState string

// The states of a credential.
const (
	CredentialActive    CredentialState = "active"
	CredentialSuspended CredentialState = "suspended"
	// CredentialFrozen can't be used until its owner has signed in with another
	// factor.
	CredentialFrozen CredentialState = "frozen"
	// CredentialReplaced proves nothing, but can be brought back until ProbationUntil.
	CredentialReplaced CredentialState = "replaced"
)

// Credential is one enrolled instance of a factor.
type Credential struct {
	ID       string
	UserID   string
	Kind     assurance.Factor
	Name     string // given by its owner
	Secret   []byte // sealed by the caller; opaque here
	State    CredentialState
	Created  time.Time
	LastUsed time.Time // zero: never
	// LastUsedOn says when it was last used on which platform.
	LastUsedOn map[string]time.Time
	// ProbationUntil is until when its proofs are held to multi; zero: they aren't. Of one
	// that the link of a notice suspended, it is until when changes of the account still
	// ask for a proof of its rank.
	ProbationUntil time.Time
	// Realm is where it works, of a kind that works in one place alone; see
	// factors.Bound.
	Realm string
	// Holder is shared by the credentials that one thing, such as a phone, holds: they are
	// renamed, reported lost and removed together. Empty: the credential is alone.
	Holder  string
	Version int64
}

// RealmCount says how many active credentials of a kind work in one place
// alone, and how many users have them.
type RealmCount struct {
	Realm              string
	Credentials, Users int
}

// SignOn is what a finished flow yields and all sessions refer to.
type SignOn struct {
	ID            string
	UserID        string
	Started       time.Time
	Expires       time.Time     // absolute limit
	Idle          time.Duration // idle limit
	LastSeen      time.Time
	Ended         time.Time // zero: not ended
	EndReason     string
	Proofs        []assurance.Proof
	PortalSession string // hash of the portal session that counts
	Address       string // of the client, as of the start
	UserAgent     string // of the client, as of the start
	// Shared says that it was begun at a computer that others use: its cookies
	// end with the browser.
	Shared  bool
	Version int64
}

// Activity says when a sign-on was last seen to be used.
type Activity struct {
	SignOn string
	Seen   time.Time
}

// LossNamespace is the namespace of the records of reported losses. They take rights
// away, so Renew keeps them.
const LossNamespace = "loss"

// Record is a short-lived value under a namespace: a flow, a ticket, an
// invitation. Keys of bearer tokens are hashes made by the caller.
type Record struct {
	Namespace string
	Key       string
	Owner     string // user id, or empty; lets all of a user's be deleted
	Value     []byte
	Expires   time.Time
	Version   int64
}

// AttemptKey names a counter.
type AttemptKey struct{ Scope, Key string }

// Attempts counts failures in a row under a key of a scope.
type Attempts struct {
	Scope    string // which kind of counter
	Key      string
	Failures int
	First    time.Time // the first failure that still counts
	Last     time.Time // the newest failure
}

// Within returns a count without what is too old. A window that lies in the future is
// one from before the clock was set back, and over.
func (a Attempts) Within(window time.Duration, now time.Time) Attempts {
	if now.Before(a.First) || now.Sub(a.First) >= window {
		return Attempts{Scope: a.Scope, Key: a.Key, First: now}
	}
	return a
}

// Browser is a browser that a user signed in with before.
type Browser struct {
	ID        string
	UserID    string
	TokenHash string
	UserAgent string // as of its creation
	Created   time.Time
	LastSeen  time.Time
	// Remembered is until when the browser stands in for a second factor, and
	// RememberedFor for which; zero and empty: it doesn't.
	Remembered    time.Time
	RememberedFor assurance.Factor
}

// DeviceState says what the certificates of a device are good for.
type DeviceState string

// The states of a device that isn't revoked.
const (
	// DevicePending hasn't been approved: its certificates open nothing yet.
	DevicePending DeviceState = "pending"
	DeviceActive  DeviceState = "active"
	// DeviceSuspended opens nothing until its owner or an administrator decides.
	DeviceSuspended DeviceState = "suspended"
)

// Device is a machine that carries certificates, and whose it is. Certificate and
// the fields that follow it are of one certificate: the one issued last, unless an
// operation says otherwise.
type Device struct {
	ID     string // opaque, never reused
	UserID string // empty: nobody's yet
	Name   string
	State  DeviceState
	// Machine, System and Agent are what the machine says of itself: an identifier,
	// the operating system, and the version of the agent.
	Machine, System, Agent string
	// Protection is what the machine says about where it keeps the key.
	Protection string
	// Via is how the device was enrolled.
	Via string
	// Replaces is the id of the device that the same machine was before; it may be
	// gone. Empty: of none.
	Replaces string
	// Certificate is the SHA-256 of the certificate (DER), in lower-case hex;
	// unique. Devices are looked up by it.
	Certificate string
	// Key is the SHA-256 of the certificate's public key (SubjectPublicKeyInfo), in
	// lower-case hex. Certificates issued here never share one. Empty: unknown.
	Key string
	// DER is the certificate itself; nil: it wasn't kept.
	DER []byte
	// Previous is the certificate that was the newest until this one was issued;
	// empty: there was none.
	Previous string
	Serial   string // of the certificate, in lower-case hex
	// Issuer is the name of the CA of the operator's that issued the certificate;
	// empty: it was issued here.
	Issuer       string
	Issued       time.Time
	Expires      time.Time // when the certificate does
	Revoked      time.Time // zero: not revoked
	RevokeReason string
	LastSeen     time.Time // zero: never
	Version      int64
}

// DeviceActivity says when a device was last seen.
type DeviceActivity struct {
	Device string
	Seen   time.Time
}

// Lane orders waiting messages: those in a lower lane are sent first.
type Lane int

// The lanes.
const (
	LaneCodes    Lane = iota // somebody is waiting at a page
	LaneCritical             // what a person must hear of
	LaneNotices              // what a person may want to hear of
	LaneBulk                 // all the rest
)

// MessageState says what became of a message.
type MessageState string

// The states of messages.
const (
	MessageWaiting MessageState = "waiting"
	// MessageHandedOver says that a server accepted the message. Nobody knows whether
	// it arrives.
	MessageHandedOver MessageState = "handed_over"
	// MessageFailed says that the sender gave up.
	MessageFailed MessageState = "failed"
	// MessageVoid says that the message was no longer needed when it was due.
	MessageVoid MessageState = "void"
)

// Message is a message that waits to be sent, or a record of what became of it. It
// contains neither its text nor a secret: its text is composed when it is sent.
type Message struct {
	ID      string
	Lane    Lane
	Purpose string // what kind of thing it is about
	Ref     string // which one
	UserID  string // whom it is for; empty: somebody who has no account yet
	// Data is whatever else there is to know. It is deleted once the message no longer
	// waits.
	Data    []byte
	Queued  time.Time
	Due     time.Time // it leaves no earlier
	Expires time.Time // and no later
	// Claimed is the end of the present claim; zero: nobody is sending it.
	Claimed  time.Time
	Attempts int // how often it was tried
	State    MessageState
	Failure  string // why the last attempt failed, as a code
	Version  int64
}

// Messages are the operations on messages.
type Messages interface {
	// QueueMessage inserts m with version 1. A taken id is ErrConflict, an
	// unknown user ErrNotFound.
	QueueMessage(ctx context.Context, m Message) error
	// ClaimMessages returns up to most messages that wait, are due, haven't expired
	// and aren't being sent, ordered by lane and then by Due. It claims them until
	// the given time and raises their versions, so that exactly one of any number
	// of callers gets a message.
	ClaimMessages(ctx context.Context, now, until time.Time, most int) ([]Message, error)
	// UpdateMessage changes only Due, Claimed, Attempts, State and Failure, and deletes
	// Data unless the message still waits. Like UpdateUser, it is a compare-and-set on
	// the version.
	UpdateMessage(ctx context.Context, m Message) error
	// NewestMessage returns the message about a thing that was queued most recently.
	NewestMessage(ctx context.Context, purpose, ref string) (Message, error)
	// VoidMessagesOf makes all of a user's waiting messages void, and deletes their
	// Data.
	VoidMessagesOf(ctx context.Context, userID string) error
}

// Event is one audit event. Fields holds no secret, ever.
type Event struct {
	ID     int64 // assigned by the store; ascends in the order of insertion, with gaps
	At     time.Time
	Name   string
	UserID string
	Fields map[string]string
}

// EventFilter narrows a listing of events; zero fields do not narrow.
type EventFilter struct {
	UserID string
	Name   string
	Since  time.Time // only events of this time or later
	Until  time.Time // only events before this time
	Before int64     // only events of lower ids
	Limit  int       // 0: 100
}

// Users are the operations on users. Names and addresses come canonical.
type Users interface {
	// CreateUser inserts u with version 1, as all creations do. A taken id,
	// name or address is ErrConflict.
	CreateUser(ctx context.Context, u User) error
	UserByID(ctx context.Context, id string) (User, error)
	UserByName(ctx context.Context, name string) (User, error)
	// UserByEmail finds by the whole address; the empty one finds nobody.
	UserByEmail(ctx context.Context, email string) (User, error)
	// UpdateUser replaces the row, all but its id and creation time, if its
	// version is still u.Version and raises the version by one; else it is
	// ErrConflict, or ErrNotFound. A name or address that another user has is
	// ErrConflict too.
	UpdateUser(ctx context.Context, u User) error
	// ListUsers returns a page of all users by name. A user who is renamed while the
	// pages are read may be on none of them, or on two.
	ListUsers(ctx context.Context, page Page[User]) ([]User, error)
	// CountUsers counts users in the given states; none given counts all.
	CountUsers(ctx context.Context, states ...UserStatus) (int, error)
	// DeleteUser deletes a user with all credentials, sign-ons, browsers,
	// devices, messages and records of theirs. Events stay. An unknown user is ErrNotFound.
	DeleteUser(ctx context.Context, id string) error
}

// Credentials are the operations on credentials.
type Credentials interface {
	// CreateCredential inserts c. A taken id is ErrConflict, an unknown user
	// ErrNotFound.
	CreateCredential(ctx context.Context, c Credential) error
	CredentialByID(ctx context.Context, id string) (Credential, error)
	// CredentialsOf returns a user's credentials of all kinds and states,
	// oldest first.
	CredentialsOf(ctx context.Context, userID string) ([]Credential, error)
	// CountByRealm counts the active credentials of a kind, by realm and sorted
	// by it.
	CountByRealm(ctx context.Context, kind assurance.Factor) ([]RealmCount, error)
	// UpdateCredential is a compare-and-set on the version, as UpdateUser.
	// Id, user, kind, realm, holder and creation time stay.
	UpdateCredential(ctx context.Context, c Credential) error
	// DeleteCredential is a compare-and-set on the version.
	DeleteCredential(ctx context.Context, id string, version int64) error
}

// SignOns are the operations on sign-ons.
type SignOns interface {
	// CreateSignOn inserts s. A taken id is ErrConflict, an unknown user
	// ErrNotFound.
	CreateSignOn(ctx context.Context, s SignOn) error
	// SignOnByID finds ended and expired sign-ons too, until they are swept.
	SignOnByID(ctx context.Context, id string) (SignOn, error)
	// UpdateSignOn is a compare-and-set on the version, as UpdateUser. It
	// leaves id, user, start, Shared, LastSeen and the end alone, and an ended
	// sign-on is ErrConflict.
	UpdateSignOn(ctx context.Context, s SignOn) error
	// TouchSignOns raises LastSeen of each; it never lowers it and does nothing
	// to an ended or unknown sign-on. The versions stay, and no follower of the
	// feed is told. It may do so in several transactions, so an error can leave
	// a part touched; inside Atomically it is all one.
	TouchSignOns(ctx context.Context, seen []Activity) error
	// EndSignOn ends a sign-on that is not ended yet and raises its version;
	// of an ended one the first time and reason stay, without an error. An
	// unknown one is ErrNotFound. The time must not be zero.
	EndSignOn(ctx context.Context, id string, at time.Time, reason string) error
	// EndUnseenSignOn is EndSignOn for a sign-on whose LastSeen is still the
	// given one: where it was raised meanwhile, or the sign-on has ended, it is
	// ErrConflict.
	EndUnseenSignOn(ctx context.Context, id string, lastSeen, at time.Time, reason string) error
	// EndSignOnsOf ends all of a user's, as EndSignOn does, and returns the
	// ids of those that it ended itself, in any order.
	EndSignOnsOf(ctx context.Context, userID string, at time.Time, reason string) ([]string, error)
	// EndExpiredSignOns ends up to most of those whose absolute limit has come,
	// as EndSignOn does, and returns their ids, in any order.
	EndExpiredSignOns(ctx context.Context, now time.Time, reason string, most int) ([]string, error)
	// PullBackSignOns corrects what a clock has left in the future that was ahead:
	// of sign-ons not ended, an absolute limit after latest becomes latest, and a
	// LastSeen after now becomes now. It raises their versions and returns how
	// many it has changed.
	PullBackSignOns(ctx context.Context, now, latest time.Time) (int, error)
	// ListSignOns returns a page of the sign-ons that haven't ended and whose absolute
	// limit is after now, newest first; an empty userID lists everybody's.
	ListSignOns(ctx context.Context, userID string, now time.Time, page Page[SignOn]) ([]SignOn, error)
}

// Records are the operations on short-lived records. A record whose expiry
// has come is ErrNotFound at once, swept or not: callers pass the time.
type Records interface {
	// PutRecord inserts r with version 1; a taken key is ErrConflict, and an
	// expired record takes its key until it is swept.
	PutRecord(ctx context.Context, r Record) error
	GetRecord(ctx context.Context, namespace, key string, now time.Time) (Record, error)
	// UpdateRecord is a compare-and-set on the version, as UpdateUser, of
	// value and expiry only.
	UpdateRecord(ctx context.Context, r Record, now time.Time) error
	// TakeRecord reads and deletes: of any number of callers exactly one gets
	// the record, the others ErrNotFound.
	TakeRecord(ctx context.Context, namespace, key string, now time.Time) (Record, error)
	// RecordsOf returns a user's records in a namespace, by key. The empty owner owns
	// none.
	RecordsOf(ctx context.Context, namespace, owner string, now time.Time) ([]Record, error)
	// DeleteRecordsOf deletes a user's records in a namespace but for the one
	// with the key that is spared; empty: none is. The empty owner owns none.
	DeleteRecordsOf(ctx context.Context, namespace, owner, spared string) error
}

// AttemptCounts are the operations on counters. Inside Atomically a read
// counter stays as read until the transaction ends.
type AttemptCounts interface {
	// GetAttempts returns the zero count for a key that has none.
	GetAttempts(ctx context.Context, scope, key string) (Attempts, error)
	// PutAttempts inserts or replaces the count of a key.
	PutAttempts(ctx context.Context, a Attempts) error
	// DeleteAttempts forgets keys with the given prefix in a scope; the prefix
	// is literal, and the empty one forgets the scope.
	DeleteAttempts(ctx context.Context, scope, keyPrefix string) error
}

// Browsers are the operations on known browsers.
type Browsers interface {
	// CreateBrowser inserts b. A taken id, or a token that the user has an
	// entry for, is ErrConflict; an unknown user is ErrNotFound.
	CreateBrowser(ctx context.Context, b Browser) error
	// BrowserByToken finds the user's entry for a browser's token.
	BrowserByToken(ctx context.Context, userID, tokenHash string) (Browser, error)
	// BrowsersOf returns a user's browsers, last seen first.
	BrowsersOf(ctx context.Context, userID string) ([]Browser, error)
	// TouchBrowser raises LastSeen; it never lowers it and does nothing to an
	// unknown browser.
	TouchBrowser(ctx context.Context, id string, seen time.Time) error
	// RememberBrowser sets until when a browser of the user is remembered, and
	// for which factor; the zero time forgets it. Of an unknown browser, or
	// another user's, it is ErrNotFound.
	RememberBrowser(ctx context.Context, userID, id string, until time.Time, by assurance.Factor) error
	// ForgetBrowsersOf has none of a user's browsers remembered any more. They
	// stay known.
	ForgetBrowsersOf(ctx context.Context, userID string) error
	DeleteBrowsersOf(ctx context.Context, userID string) error
}

// Devices are the operations on devices. Those revoked and expired are found
// too, until they are swept.
type Devices interface {
	// CreateDevice inserts d with its first certificate. A taken id, certificate or
	// key is ErrConflict, an unknown user ErrNotFound. Previous is ignored.
	CreateDevice(ctx context.Context, d Device) error
	// RenewDevice gives a device the certificate that d describes, from Certificate to
	// Expires but for Previous. It is a compare-and-set on the version, as UpdateUser. A
	// taken certificate or key is ErrConflict too. The earlier certificates stay.
	RenewDevice(ctx context.Context, d Device) error
	DeviceByID(ctx context.Context, id string) (Device, error)
	// DeviceByCertificate returns the device that has a certificate, with that
	// certificate.
	DeviceByCertificate(ctx context.Context, certificate string) (Device, error)
	// DeviceByKey returns the device that has the certificate issued here for a key,
	// with that certificate. The empty key is nobody's.
	DeviceByKey(ctx context.Context, key string) (Device, error)
	// CertificatesOf returns a device once for each of its certificates, newest first.
	CertificatesOf(ctx context.Context, id string) ([]Device, error)
	// RevokedCertificates returns all revoked devices, once for each certificate that
	// expires after now, ordered by certificate.
	RevokedCertificates(ctx context.Context, now time.Time) ([]Device, error)
	// DevicesOf returns a user's devices, newest certificate first.
	DevicesOf(ctx context.Context, userID string) ([]Device, error)
	// ListDevices returns a page of everybody's devices, newest certificate first. A
	// device that is renewed while the pages are read may be on none of them, or on two.
	ListDevices(ctx context.Context, page Page[Device]) ([]Device, error)
	// UpdateDevice is a compare-and-set on the version, as UpdateUser, of name, user,
	// state, machine, system, agent and protection. An unknown user is ErrNotFound.
	UpdateDevice(ctx context.Context, d Device) error
	// RevokeDevice revokes a device that is not revoked yet and raises its
	// version; of a revoked one the first time and reason stay, without an
	// error. An unknown one is ErrNotFound. The time must not be zero.
	RevokeDevice(ctx context.Context, id string, at time.Time, reason string) error
	// TouchDevices raises LastSeen of each, as TouchSignOns does; it does
	// nothing to a revoked or unknown device.
	TouchDevices(ctx context.Context, seen []DeviceActivity) error
	// BarCertificate remembers a certificate, by its fingerprint, whose device
	// is gone and must not come back, until it is swept after its expiry. Of a
	// barred one the first expiry stays, without an error.
	BarCertificate(ctx context.Context, certificate string, expires time.Time) error
	IsBarred(ctx context.Context, certificate string) (bool, error)
}

// Issuer is a certificate of the CA held here from which devices were issued.
type Issuer struct {
	Fingerprint string // SHA-256 of the certificate, in lower-case hex; unique
	Certificate []byte // DER
	Expires     time.Time
}

// Issuers are the operations on the certificates that sign those of devices.
type Issuers interface {
	// KeepIssuer remembers i until it is swept after its expiry. One that is
	// kept already stays as it is, without an error.
	KeepIssuer(ctx context.Context, i Issuer) error
	// ListIssuers returns all that are kept, by fingerprint.
	ListIssuers(ctx context.Context) ([]Issuer, error)
}

// FormerName is a sign-in name or an e-mail address that a user had and gave up:
// they were given another one, or deleted. Whoever has it since is somebody else.
type FormerName struct {
	Name    string // canonical; an address has an @, a sign-in name none
	UserID  string // who had it; may be gone
	GivenUp time.Time
}

// FormerNames are the operations on names that were given up. UpdateUser and
// DeleteUser don't give up any by themselves: callers do so in the same
// transaction.
type FormerNames interface {
	// GiveUpName notes that a user gave up a name. Of one that they gave up
	// before the later time stays.
	GiveUpName(ctx context.Context, n FormerName) error
	// ListFormerNames returns who gave up a name, by user id, until they are swept.
	ListFormerNames(ctx context.Context, name string) ([]FormerName, error)
}

// AccessToken is what a program presents in place of a person's session.
type AccessToken struct {
	ID string // opaque, never reused
	// UserID is the person whose app password it is. Empty: it is a service token.
	UserID string
	// Name is unique among the user's app passwords, or among all service tokens,
	// that aren't revoked.
	Name string
	// Selector is the unique part of the token by which it is looked up. Hash is the
	// hash of the whole token, made by package token.
	Selector, Hash string
	// FormerHash is the hash of the token that a renewal replaced. That token also
	// works until FormerUntil.
	FormerHash  string
	FormerUntil time.Time
	Groups      []string
	Scope       []byte // what it is good for; the store doesn't read it
	// OwnerID is the user who answers for a service token, and may be gone. Empty:
	// nobody does. Unowned is when the owner was first found unable to sign in;
	// zero: the owner can. Warned is when administrators were last told so.
	OwnerID         string
	Unowned, Warned time.Time
	Created         time.Time
	Expires         time.Time
	Revoked         time.Time // zero: not revoked
	// LastUsed is at most a few minutes behind; zero: never used. Networks are where it was
	// used from, oldest first.
	LastUsed time.Time
	Networks []string
	// Suspended says that the store was restored from a copy: the token may have
	// been revoked since the copy was taken.
	Suspended bool
}

// AccessTokenActivity says when an access token was last seen.
type AccessTokenActivity struct {
	Token string // id
	Seen  time.Time
}

// AccessTokens are the operations on access tokens. They also find revoked and
// expired tokens, until those are swept.
type AccessTokens interface {
	// CreateAccessToken inserts t, which is neither revoked nor suspended. A taken
	// id, selector or name is ErrConflict, and a missing user ErrNotFound.
	CreateAccessToken(ctx context.Context, t AccessToken) error
	AccessTokenBySelector(ctx context.Context, selector string) (AccessToken, error)
	// AccessTokenByName returns the service token with the name that isn't revoked.
	AccessTokenByName(ctx context.Context, name string) (AccessToken, error)
	// AccessTokensOf returns a user's app passwords, in the order of
	// ListAccessTokens.
	AccessTokensOf(ctx context.Context, userID string) ([]AccessToken, error)
	// ListAccessTokens returns all tokens by name; tokens that share a name, newest
	// first.
	ListAccessTokens(ctx context.Context) ([]AccessToken, error)
	// UpdateAccessToken replaces what can change of a token: the hashes, FormerUntil,
	// the owner, Unowned, Warned, Expires and Networks.
	UpdateAccessToken(ctx context.Context, t AccessToken) error
	// TouchAccessTokens raises LastUsed of each, as TouchSignOns does for sign-ons. It
	// does nothing to a revoked or unknown token.
	TouchAccessTokens(ctx context.Context, seen []AccessTokenActivity) error
	// RevokeAccessToken revokes a token. If it is revoked already, the earlier time
	// stays, and there is no error. The time must not be zero.
	RevokeAccessToken(ctx context.Context, id string, at time.Time) error
	// ResumeAccessToken resumes a suspended token. A token that isn't suspended stays
	// as it is, without an error.
	ResumeAccessToken(ctx context.Context, id string) error
}

// Events are the operations on audit events.
type Events interface {
	// AppendEvent adds e under an id above those of all events inserted before;
	// e.ID is ignored.
	AppendEvent(ctx context.Context, e Event) error
	// ListEvents returns events, newest first. Transactions may commit in another
	// order than they insert, so an event can appear later than one with a higher id.
	ListEvents(ctx context.Context, f EventFilter) ([]Event, error)
	// EventsAfter returns events with higher ids than after, lowest first. It holds
	// events back while one with a lower id could still appear, so a caller that
	// continues after its last event misses none.
	EventsAfter(ctx context.Context, after int64, f EventFilter) ([]Event, error)
}

// Tx is everything that can be done, alone or inside one transaction.
type Tx interface {
	Users
	Credentials
	SignOns
	Records
	AttemptCounts
	Browsers
	Devices
	Issuers
	FormerNames
	Messages
	AccessTokens
	Events
}

// Reader is what can be looked up; the groups of Tx say how.
type Reader interface {
	UserByID(ctx context.Context, id string) (User, error)
	UserByName(ctx context.Context, name string) (User, error)
	UserByEmail(ctx context.Context, email string) (User, error)
	ListUsers(ctx context.Context, page Page[User]) ([]User, error)
	CountUsers(ctx context.Context, states ...UserStatus) (int, error)
	CredentialByID(ctx context.Context, id string) (Credential, error)
	CredentialsOf(ctx context.Context, userID string) ([]Credential, error)
	CountByRealm(ctx context.Context, kind assurance.Factor) ([]RealmCount, error)
	SignOnByID(ctx context.Context, id string) (SignOn, error)
	ListSignOns(ctx context.Context, userID string, now time.Time, page Page[SignOn]) ([]SignOn, error)
	GetRecord(ctx context.Context, namespace, key string, now time.Time) (Record, error)
	RecordsOf(ctx context.Context, namespace, owner string, now time.Time) ([]Record, error)
	GetAttempts(ctx context.Context, scope, key string) (Attempts, error)
	BrowserByToken(ctx context.Context, userID, tokenHash string) (Browser, error)
	BrowsersOf(ctx context.Context, userID string) ([]Browser, error)
	DeviceByID(ctx context.Context, id string) (Device, error)
	DeviceByCertificate(ctx context.Context, certificate string) (Device, error)
	DeviceByKey(ctx context.Context, key string) (Device, error)
	CertificatesOf(ctx context.Context, id string) ([]Device, error)
	RevokedCertificates(ctx context.Context, now time.Time) ([]Device, error)
	DevicesOf(ctx context.Context, userID string) ([]Device, error)
	ListDevices(ctx context.Context, page Page[Device]) ([]Device, error)
	IsBarred(ctx context.Context, certificate string) (bool, error)
	ListIssuers(ctx context.Context) ([]Issuer, error)
	ListFormerNames(ctx context.Context, name string) ([]FormerName, error)
	NewestMessage(ctx context.Context, purpose, ref string) (Message, error)
	AccessTokenBySelector(ctx context.Context, selector string) (AccessToken, error)
	AccessTokenByName(ctx context.Context, name string) (AccessToken, error)
	AccessTokensOf(ctx context.Context, userID string) ([]AccessToken, error)
	ListAccessTokens(ctx context.Context) ([]AccessToken, error)
	ListEvents(ctx context.Context, f EventFilter) ([]Event, error)
	EventsAfter(ctx context.Context, after int64, f EventFilter) ([]Event, error)
}

// SweepLimits bounds what strangers can make grow. Zero fields forget nothing.
type SweepLimits struct {
	// KeepAttempts is how many counters of each scope may stay, newest last
	// failure first; scopes not named are not bounded, and 0 keeps none.
	KeepAttempts map[string]int
	// AttemptsBefore forgets counters whose last failure is older.
	AttemptsBefore time.Time
	// SignOnsBefore forgets sign-ons ended or expired before it.
	SignOnsBefore time.Time
	// BrowsersBefore forgets browsers last seen before it.
	BrowsersBefore time.Time
	// DevicesBefore forgets devices whose newest certificate expired before it, and
	// earlier certificates, barred certificates and issuers that did.
	DevicesBefore time.Time
	// PendingDevicesBefore forgets pending devices whose newest certificate was issued
	// before it.
	PendingDevicesBefore time.Time
	// FormerNamesBefore forgets names that were given up before it.
	FormerNamesBefore time.Time
	// MessagesBefore forgets messages that expired before it.
	MessagesBefore time.Time
	// AccessTokensBefore forgets access tokens that expired before it.
	AccessTokensBefore time.Time
	// EventsBefore forgets events older than it.
	EventsBefore time.Time
}

// ChangeKind says what happened to a row.
type ChangeKind string

// The changes that followers are told of.
const (
	// SignOnEnded was ended, or deleted with its user.
	SignOnEnded ChangeKind = "sign_on_ended"
	// SignOnChanged has new proofs or limits.
	SignOnChanged ChangeKind = "sign_on_changed"
	// UserChanged has another name, address, groups or status, or was deleted.
	UserChanged ChangeKind = "user_changed"
	// DeviceChanged was created, updated, renewed, revoked, or deleted. There is a
	// change for each certificate of the device, which names it by that: a caller who
	// looked for it before it existed knows nothing else about the device.
	DeviceChanged ChangeKind = "device_changed"
	// AccessTokenChanged says that a token was created, updated, revoked, resumed,
	// or deleted with its user. The change names it by its Selector.
	AccessTokenChanged ChangeKind = "access_token_changed"
	// RecordsChanged says that records of a user were put, updated, taken or deleted. The
	// change names the user. Changes of records without an owner aren't reported.
	RecordsChanged ChangeKind = "records_changed"
)

// Change names a row that is not as it was.
type Change struct {
	Kind ChangeKind
	ID   string
}

// Follower is told of changes. Its methods return soon, don't use the store,
// and are called by several goroutines.
type Follower interface {
	// Changed tells of committed changes, in any order, perhaps repeatedly.
	// Before a writing operation of this process returns, its own changes have
	// been told. Where a commit failed and nobody knows whether it took effect,
	// its changes are told too: what became of a row is read, not concluded.
	Changed(changes []Change)
	// Heartbeat says that all changes committed before the time sent have been
	// told. Times never go back. They keep the reading of the monotonic clock, so
	// that nothing looks current because a clock was set back.
	Heartbeat(sent time.Time)
	// Renewed says that the store began another life (see Store.Renew) under the
	// given incarnation: everything read before is void.
	Renewed(incarnation string)
	// Lost says that changes since the last Heartbeat may never be told:
	// whatever was read before the next Heartbeat is in doubt.
	Lost()
}

// Always is the Heartbeat of a store whose only writer is this process: what
// its followers were told is never out of date.
var Always = time.Unix(0, math.MaxInt64).UTC()

// Store is a database. All methods are safe for concurrent use, end early
// with the context's error when it ends, and leave nothing half done. What a
// method acknowledged survives the death of the process and of the machine.
type Store interface {
	Tx
	// Atomically runs fn in one serializable transaction: it sees and leaves
	// the store as if it ran alone. An error of fn rolls back and is returned
	// as it is. An operation of tx that returns ErrConflict or ErrNotFound has
	// done nothing, and fn may go on.
	//
	// If transactions conflict, one of them is rolled back and its fn runs again,
	// whatever it returned: fn must have no other effects, and must use tx only,
	// never the Store. After a bounded number of tries, it is ErrBusy.
	//
	// Once a transaction has begun to commit, it does so under a deadline of the
	// store's own, even if the caller stops waiting. If that deadline passes, nobody
	// knows whether the transaction took effect: that is an error, and its changes
	// are told.
	Atomically(ctx context.Context, fn func(tx Tx) error) error
	// CountAttempts runs fn while it holds the counters of the given keys. Callers
	// that ask for the same counters take turns, so a counter that everybody wants
	// costs no second try. fn may read, put and delete only those, each by its whole
	// key; any other is an error. An error of fn leaves all of them as they were and
	// is returned as it is. fn may run more than once and must have no other effects.
	CountAttempts(ctx context.Context, keys []AttemptKey, fn func(counts AttemptCounts) error) error
	// View runs fn on a snapshot of the store. It waits for no writer, and no writer
	// waits for it. An error of fn is returned as it is. fn may run more than once
	// and must use r only, never the Store.
	View(ctx context.Context, fn func(r Reader) error) error
	// Incarnation identifies this store's life. Sessions of another life are void. It
	// changes before followers are told so.
	Incarnation() string
	// Descends reports whether the store's life is that of the given incarnation, or
	// came from it by renewals.
	Descends(ctx context.Context, incarnation string) (bool, error)
	// Renew begins another life under a new incarnation: for a store that may
	// have been brought back from a copy, in which what was ended since is
	// alive again. It deletes all sign-ons, and all records but those of
	// LossNamespace, and has no browser remembered, makes all waiting messages void, since they may have been sent
	// already, and suspends all access tokens, so that nothing outlives the change
	// whatever its cookie says.
	// Followers are told that the store was renewed, but not about each sign-on.
	// Devices stay: the store can't know which of them have been revoked since.
	//
	// If the store's incarnation is no longer from, because another process renewed
	// it, Renew returns ErrConflict, and Incarnation returns the present one.
	Renew(ctx context.Context, from string) error
	// Position counts the transactions that created, changed, ended or deleted
	// sign-ons, users, credentials, devices or access tokens: a copy brought back is behind the
	// store it was taken of. TouchSignOns, TouchDevices,
	// TouchAccessTokens and Sweep don't count. It goes on through
	// Renew.
	Position(ctx context.Context) (int64, error)
	// Lease gives a holder work that only one of several processes should do, for d
	// from now by the store's clock. It reports false if another holder has the work.
	// The holder asks again before d is over. A d of 0 gives the work up and reports
	// false. All callers that ask for the same work pass the same d. The work must be
	// safe to do twice: a holder that is delayed doesn't notice that d is over.
	Lease(ctx context.Context, work, holder string, d time.Duration) (held bool, err error)
	// Follow tells the follower of all changes from now on, until stop is
	// called. What is being told at that moment may still arrive.
	Follow(f Follower) (stop func())
	// Sweep deletes records expired before now and what the limits name. It
	// may do so in several transactions, so an error can leave a part swept.
	Sweep(ctx context.Context, now time.Time, limits SweepLimits) error
	Close() error
}
