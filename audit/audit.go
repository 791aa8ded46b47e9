// Package audit is the catalogue of security events and the way that they are
// written: as log lines of the logger mfa.audit, and as rows of the store.
//
// No field ever holds a secret, a code, a live token or a cookie, nor what a
// stranger typed as a name, since people type passwords there. The package
// must not decide anything.
package audit

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/boundedlog"
	"github.com/portcullis-mfa/portcullis/showable"
	"github.com/portcullis-mfa/portcullis/store"
)

// Name identifies a kind of event.
type Name string

// The events.
const (
	SignInSucceeded   Name = "sign_in.succeeded"
	SignInFailed      Name = "sign_in.failed"
	SignInSlowed      Name = "sign_in.slowed"
	StepUpSucceeded   Name = "step_up.succeeded"
	FactorAlert       Name = "factor.alert"
	FactorEnrolled    Name = "factor.enrolled"
	FactorBarred      Name = "factor.barred"
	FactorRenamed     Name = "factor.renamed"
	FactorRemoved     Name = "factor.removed"
	FactorLost        Name = "factor.lost"
	FactorRestored    Name = "factor.restored"
	FactorsPaused     Name = "factors.paused"
	FactorsReset      Name = "factors.reset"
	PasswordChanged   Name = "password.changed"
	PasswordReset     Name = "password.reset"
	ResetRequested    Name = "password.reset_requested"
	AccessCodeCreated Name = "access_code.created"
	AccessCodeUsed    Name = "access_code.used"
	ActivityDisowned  Name = "activity.disowned"
	RequestReported   Name = "push.reported"
	RequestsRepeated  Name = "push.repeated"
	PhoneUnreachable  Name = "push.unreachable"
	AppOpened         Name = "app.opened"
	ClockDrifting     Name = "totp.clock_drifting"
	CounterRegressed  Name = "fido.counter_regressed"
	BrowserRemembered Name = "browser.remembered"
	BrowserForgotten  Name = "browser.forgotten"
	SignOnEnded       Name = "sign_on.ended"
	TicketRefused     Name = "ticket.refused"
	DeviceIssued      Name = "device.issued"
	DeviceRenewed     Name = "device.renewed"
	DeviceRenamed     Name = "device.renamed"
	DeviceSuspended   Name = "device.suspended"
	DeviceResumed     Name = "device.resumed"
	DeviceAssigned    Name = "device.assigned"
	DeviceTokenMade   Name = "device.token_created"
	DeviceConfirmed   Name = "device.confirmed"
	FleetTokenMade    Name = "device.fleet_token_created"
	FleetTokenRevoked Name = "device.fleet_token_revoked"
	DeviceRevoked     Name = "device.revoked"
	DeviceAdopted     Name = "device.adopted"
	DeviceAdmitted    Name = "device.admitted"
	DeviceRefused     Name = "device.refused"
	CrossOrigin       Name = "request.cross_origin_refused"
	SetupLinkCreated  Name = "setup_link.created"
	UserCreated       Name = "user.created"
	UserInvited       Name = "user.invited"
	UserSetUp         Name = "user.set_up"
	UserDisabled      Name = "user.disabled"
	UserEnabled       Name = "user.enabled"
	UserUnlocked      Name = "user.unlocked"
	UserChanged       Name = "user.changed"
	UserDeleted       Name = "user.deleted"
	TokenCreated      Name = "token.created"
	TokenRevoked      Name = "token.revoked"
	TokenResumed      Name = "token.resumed"
	TokenRenewed      Name = "token.renewed"
	TokenUsed         Name = "token.used"
	TokenRefused      Name = "token.refused"
	TokenMoved        Name = "token.moved"
	TokenAppRefused   Name = "token.app_refused"
	TokenUnowned      Name = "token.unowned"
	KeysRotated       Name = "keys.rotated"
	BackupMade        Name = "backup.made"
	StoreRestored     Name = "store.restored"
	AdminRefused      Name = "admin.refused"
)

// Field is the name of a detail of an event.
type Field string

// The fields.
const (
	User       Field = "user"       // sign-in name of a user who exists
	Factor     Field = "factor"     // kind of factor
	Factors    Field = "factors"    // kinds of factors, comma-separated
	Reason     Field = "reason"     // why, in a word
	Address    Field = "address"    // of the client
	UserAgent  Field = "user_agent" // of the client
	SignOn     Field = "sign_on"    // short form of a sign-on's id
	App        Field = "app"        // origin of the app concerned
	By         Field = "by"         // who did it, where not the user
	Failures   Field = "failures"   // in a row
	Drift      Field = "drift"      // of a clock
	Browser    Field = "browser"    // known, unknown or remembered
	Changed    Field = "changed"    // what of a user is new, comma-separated
	Groups     Field = "groups"     // all groups that a user is in from now on, comma-separated
	WasCalled  Field = "was_called" // the user's sign-in name before
	Outcome    Field = "outcome"    // refused or accepted
	ModelID    Field = "model_id"   // AAGUID of a security key or passkey
	Model      Field = "model"      // what it is called, where that is known
	Device     Field = "device"     // name of a device
	Credential Field = "credential" // what its owner calls a credential
	Serial     Field = "serial"     // number of a device's certificate
	Issuer     Field = "issuer"     // name of the CA of a certificate, as the certificate has it
	Token      Field = "token"      // name of an access token
	Hosts      Field = "hosts"      // for which an access token is, comma-separated
	Owner      Field = "owner"      // sign-in name of the user of a device, where somebody else uses it, or of who answers for a token
	Until      Field = "until"      // when something ends by itself (RFC 3339)
)

// catalogue says which fields each event may carry.
var catalogue = map[Name][]Field{
	SignInSucceeded:   {User, Factors, Device, Address, UserAgent, SignOn, Browser},
	SignInFailed:      {User, Factor, Reason, Address, UserAgent, Browser},
	SignInSlowed:      {User, Factor, Address, UserAgent, Browser, Failures},
	StepUpSucceeded:   {User, Factors, Address, UserAgent, SignOn},
	FactorAlert:       {User, Factor, Failures, Address},
	FactorEnrolled:    {User, Factor, Address, UserAgent},
	FactorBarred:      {User, Factor, Reason, ModelID, Model, Address, UserAgent},
	FactorRenamed:     {User, Factor, Address, UserAgent},
	FactorRemoved:     {User, Factor, Address, UserAgent},
	FactorLost:        {User, Factor, Address, UserAgent},
	FactorRestored:    {User, Factor, Address, UserAgent},
	FactorsPaused:     {User, Factor, Failures, Address},
	FactorsReset:      {User, Factors, By},
	PasswordChanged:   {User, Address, UserAgent},
	PasswordReset:     {User, Address, UserAgent},
	ResetRequested:    {User, Address},
	AccessCodeCreated: {User, By},
	AccessCodeUsed:    {User, Address, UserAgent},
	ActivityDisowned:  {User, Address, UserAgent},
	RequestReported:   {User, Credential, App, Address, UserAgent},
	RequestsRepeated:  {User, Factor, App, Address, UserAgent},
	PhoneUnreachable:  {User, Credential},
	AppOpened:         {User, App, SignOn, Address},
	ClockDrifting:     {User, Drift},
	CounterRegressed:  {User, Credential, Outcome, Address, UserAgent},
	BrowserRemembered: {User, Factor, Address, UserAgent},
	BrowserForgotten:  {User, Factor, Address, UserAgent, By},
	SignOnEnded:       {User, SignOn, Reason, By, Address},
	TicketRefused:     {App, Reason, Address},
	DeviceIssued:      {User, Device, Serial, By, Address},
	DeviceRenewed:     {User, Device, Serial, Address},
	DeviceSuspended:   {User, Device, Serial, By, Address},
	DeviceResumed:     {User, Device, Serial, By},
	DeviceAssigned:    {User, Device, Serial, By, Address},
	DeviceTokenMade:   {User, By, Address, UserAgent},
	FleetTokenMade:    {Token, By, Until},
	FleetTokenRevoked: {Token, By},
	DeviceConfirmed:   {User, Device, Address, UserAgent},
	DeviceRenamed:     {User, Device, Serial, By, Address, UserAgent},
	DeviceRevoked:     {User, Device, Serial, Reason, By, Address, UserAgent},
	DeviceAdopted:     {User, Device, Serial},
	DeviceAdmitted:    {User, Device, Owner, SignOn, App, Address},
	DeviceRefused:     {App, Reason, Serial, Issuer, Device, User, Address},
	CrossOrigin:       {Address, App},
	SetupLinkCreated:  {By},
	TokenCreated:      {User, Token, Hosts, Groups, Owner, By, Address, UserAgent},
	TokenRevoked:      {User, Token, Reason, Owner, By, Address, UserAgent},
	TokenResumed:      {User, Token, By},
	TokenRenewed:      {Token, By},
	TokenUsed:         {User, Token, App, Address},
	TokenRefused:      {User, Token, App, Reason, Address},
	TokenMoved:        {User, Token, App, Address},
	TokenAppRefused:   {User, Token, App, Address},
	TokenUnowned:      {Token, Owner, Until},
	UserCreated:       {User, By},
	UserInvited:       {User, By},
	UserSetUp:         {User, Address, UserAgent},
	UserDisabled:      {User, By},
	UserEnabled:       {User, By},
	UserUnlocked:      {User, By},
	UserChanged:       {User, Changed, Groups, WasCalled, By},
	UserDeleted:       {User, By},
	KeysRotated:       {By},
	BackupMade:        {By},
	StoreRestored:     {By},
	AdminRefused:      {Reason, Address},
}

// Catalogue returns the names of all events, sorted, for the documentation.
func Catalogue() []Name {
	names := make([]Name, 0, len(catalogue))
	for n := range catalogue {
		names = append(names, n)
	}
	slices.Sort(names)
	return names
}

// FieldsOf returns the fields that an event may carry.
func FieldsOf(n Name) []Field { return slices.Clone(catalogue[n]) }

// AllFields returns every field that some event may carry, sorted.
func AllFields() []Field {
	var all []Field
	for _, fields := range catalogue {
		all = append(all, fields...)
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// Fields holds the details of one event.
type Fields map[Field]string

// maxValue bounds a field in bytes, since some hold what a client sent.
const maxValue = 256

// New makes an event. An unknown name or field is a fault of the code itself
// and panics. Empty values are left out, long ones cut, and what can't be
// shown as text is replaced.
func New(at time.Time, n Name, userID string, fields Fields) store.Event {
	allowed, known := catalogue[n]
	if !known {
		panic(fmt.Sprintf("audit: event %q is not in the catalogue", n))
	}
	e := store.Event{At: at, Name: string(n), UserID: userID, Fields: make(map[string]string, len(fields))}
	for f, v := range fields {
		if !slices.Contains(allowed, f) {
			panic(fmt.Sprintf("audit: event %q has no field %q", n, f))
		}
		if v != "" {
			e.Fields[string(f)] = bounded(v)
		}
	}
	return e
}

func bounded(s string) string {
	return showable.Text(strings.ToValidUTF8(s[:min(len(s), maxValue)], "?"))
}

// ShortID is the form in which a sign-on appears in events and lists: enough
// to tell sign-ons apart, and nothing of the id itself.
func ShortID(id string) string {
	sum := sha256.Sum256([]byte(id))
	return hex.EncodeToString(sum[:6])
}

// Sink keeps events.
type Sink interface {
	AppendEvent(ctx context.Context, e store.Event) error
}

// What the field Browser says of the browser that a person is in.
const (
	KnownBrowser      = "known"      // it signed them in before
	UnknownBrowser    = "unknown"    // it didn't
	RememberedBrowser = "remembered" // it stood in for a second factor
)

// Log writes events.
type Log struct {
	logger *zap.Logger
	// bounded is where strangers can write as often as they like.
	bounded *zap.Logger
	sink    Sink
	clock   func() time.Time
	notices Notices
	// observers hear of each event once it is over.
	observers []func(store.Event)
}

// NewLog returns a log that writes lines to logger and rows to sink.
func NewLog(logger *zap.Logger, sink Sink, clock func() time.Time) *Log {
	return &Log{logger: logger, bounded: boundedlog.New(logger), sink: sink, clock: clock}
}

// Notify makes the log tell people about events from now on. It must be called before
// the log is used.
func (l *Log) Notify(n Notices) { l.notices = n }

// Observe makes the log call a function with each event from now on, once it has
// happened. It must be called before the log is used. The function must return quickly,
// since whoever caused the event waits for it.
func (l *Log) Observe(observe func(store.Event)) { l.observers = append(l.observers, observe) }

// Event makes an event of this moment, to be appended by the caller inside the
// transaction that it reports and passed to Written once that committed.
func (l *Log) Event(n Name, userID string, fields Fields) store.Event {
	return New(l.clock(), n, userID, fields)
}

// Written puts events that are in the store already into the log.
func (l *Log) Written(events ...store.Event) {
	for _, e := range events {
		l.write(l.logger, e)
	}
}

func (l *Log) write(logger *zap.Logger, e store.Event) {
	for _, observe := range l.observers {
		observe(e)
	}
	fields := make([]zap.Field, 0, len(e.Fields)+2)
	if e.UserID != "" {
		fields = append(fields, zap.String("user_id", e.UserID))
	}
	for k, v := range e.Fields {
		fields = append(fields, zap.String(k, v))
	}
	logger.Info(e.Name, fields...)
}

// Note writes an event into the log alone. It is for what strangers can cause
// as often as they like: rows would be theirs to make grow. Lines of a flood are
// counted rather than written (see boundedlog).
func (l *Log) Note(n Name, userID string, fields Fields) {
	l.write(l.bounded, l.Event(n, userID, fields))
}

// Record keeps an event that stands alone, such as a refusal. Where the store
// fails the line is written all the same, with the failure beside it: a
// refusal stays one.
func (l *Log) Record(ctx context.Context, n Name, userID string, fields Fields) {
	e := l.Event(n, userID, fields)
	if err := l.keep(ctx, e); err != nil {
		l.bounded.Error("keeping an audit event", zap.String("event", e.Name), zap.Error(err))
	}
	l.Written(e)
}

// keep keeps an event that stands alone, with the notice of it if there may be one.
func (l *Log) keep(ctx context.Context, e store.Event) error {
	transactor, ok := l.sink.(Transactor)
	if !ok || l.notices == nil || !l.notices.Gives(e) {
		return l.sink.AppendEvent(ctx, e)
	}
	return l.commit(ctx, transactor, func(store.Tx) ([]store.Event, error) { return []store.Event{e}, nil })
}
