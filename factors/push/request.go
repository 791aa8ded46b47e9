package push

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/json"
	"fmt"
	"math"
	"math/big"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/browsers"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/push/message"
	"github.com/portcullis-mfa/portcullis/factors/qrcode"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/token"
)

// What a request is bounded by.
const (
	// Patience is how long a request waits for an answer.
	Patience = 2 * time.Minute
	// collectable is how long an approval waits for the browser that asked.
	collectable = time.Minute
	// reportable is how long after its end a request can be reported.
	reportable = 10 * time.Minute
	// mostNumbers is how many numbers can be typed.
	mostNumbers = 2
)

// The states of a request, as phones are told them.
const (
	stateOpen      = "open"
	stateAllowed   = "allowed"
	stateDenied    = "denied"
	stateReported  = "reported"
	stateExpired   = "expired"
	stateCancelled = "cancelled"
)

// request is what is kept of a request.
type request struct {
	// Display is what the phone displays, byte for byte.
	Display []byte    `json:"display"`
	Number  string    `json:"number"`
	Expires time.Time `json:"expires"`
	// Named are the ids of the credentials that may answer.
	Named []string `json:"named"`
	Wrong int      `json:"wrong,omitempty"`
	// Said is what was decided, with the credential By, At a time; empty: nothing.
	Said string    `json:"said,omitempty"`
	By   string    `json:"by,omitempty"`
	At   time.Time `json:"at,omitzero"`
}

// Display is what a phone displays of a request.
type Display struct {
	Version  int    `json:"v"`
	ID       string `json:"id"`
	Audience string `json:"aud"`
	Account  string `json:"account"`
	App      string `json:"app,omitempty"`
	Browser  string `json:"browser,omitempty"`
	System   string `json:"system,omitempty"`
	Address  string `json:"address"`
	Place    string `json:"place,omitempty"`
	Known    bool   `json:"known"`
	At       int64  `json:"at"`      // NumericDate
	Expires  int64  `json:"expires"` // NumericDate
	Digits   int    `json:"digits"`
}

func readRequest(state []byte) (r request, err error) {
	if err := json.Unmarshal(state, &r); err != nil {
		return request{}, fmt.Errorf("reading a request: %w", err)
	}
	return r, nil
}

// turn returns the turn that leaves a request like this.
func (r request) turn() (*factors.Turn, error) {
	state, err := json.Marshal(r)
	if err != nil {
		return nil, fmt.Errorf("writing a request: %w", err)
	}
	until := r.Expires
	if r.Said != "" {
		until = r.At.Add(collectable)
	}
	return &factors.Turn{State: state, Until: until, Settled: r.Said != "", Kept: until.Add(reportable)}, nil
}

// stateAt is the state of a request; closed is when it was closed, or zero.
func (r request) stateAt(now, closed time.Time) string {
	switch {
	case r.Said == stateAllowed && closed.IsZero() && !now.Before(r.At.Add(collectable)):
		return stateExpired
	case r.Said != "":
		return r.Said
	case !closed.IsZero() && closed.Before(r.Expires):
		return stateCancelled
	case !now.Before(r.Expires):
		return stateExpired
	}
	return stateOpen
}

// requestCodeLength is the length of a request's code. It is shorter than that of a
// pairing, so that apps can tell them apart.
const requestCodeLength = 6

// RequestCode is the code that a person types into the app to open a request without
// scanning its QR code. The app computes the codes of the requests that it lists.
func RequestCode(request string) string {
	sum := sha256.Sum256([]byte("portcullis-request-v1\n" + request))
	return token.CodeOf(sum[:requestCodeLength])
}

type proving struct{ *Factor }

// Begin makes what the phones display, once.
func (p proving) Begin(_ context.Context, a factors.Asking) (factors.Turn, error) {
	now := p.clock()
	r := request{Expires: now.Add(Patience)}
	for _, c := range a.Credentials {
		r.Named = append(r.Named, c.ID)
	}
	number, err := rand.Int(p.random, big.NewInt(int64(math.Pow10(p.Digits))))
	if err != nil {
		return factors.Turn{}, fmt.Errorf("making a number: %w", err)
	}
	r.Number = fmt.Sprintf("%0*d", p.Digits, number)
	if r.Display, err = json.Marshal(p.display(a, now, r.Expires)); err != nil {
		return factors.Turn{}, fmt.Errorf("writing what a phone displays: %w", err)
	}
	turn, err := r.turn()
	if err != nil {
		return factors.Turn{}, err
	}
	to, err := p.reachable(a.Credentials)
	turn.Send = len(to) > 0
	return *turn, err
}

func (p proving) display(a factors.Asking, at, expires time.Time) Display {
	browser, system := browsers.Named(a.Scene.UserAgent)
	d := Display{
		Version: 1, ID: a.Ref, Audience: p.Origin, Account: a.Who.Name, App: a.Scene.Host,
		Browser: browser, System: system, Address: a.Scene.Address, Known: a.Scene.Known,
		At: at.Unix(), Expires: expires.Unix(), Digits: p.Digits,
	}
	if p.Place != nil {
		d.Place = p.Place(a.Scene.Address)
	}
	return d
}

// reachable returns the phones that can be sent a notification, by credential.
func (p proving) reachable(all []factors.Credential) (map[string]Phone, error) {
	phones := make(map[string]Phone)
	for _, c := range all {
		phone, err := ReadPhone(c.Secret)
		if err != nil {
			return nil, err
		}
		if phone.Subscription != nil && p.Accepts(*phone.Subscription) {
			phones[c.ID] = phone
		}
	}
	return phones, nil
}

// Resume shows the number.
func (p proving) Resume(_ context.Context, a factors.Asking, state []byte) (factors.Page, error) {
	page := templates.PushChallenge{Authenticator: p.Origin, Phones: len(a.Credentials), Minutes: int(Patience / time.Minute)}
	if state == nil {
		return factors.Page{Content: page, Waits: true}, nil
	}
	r, err := readRequest(state)
	if err != nil {
		return factors.Page{}, err
	}
	page.Number, page.Link, page.Code = r.Number, p.Origin+"/#r="+a.Ref, RequestCode(a.Ref)
	if page.QR, err = qrcode.Draw(page.Link); err != nil {
		return factors.Page{}, fmt.Errorf("drawing the QR code: %w", err)
	}
	return factors.Page{Content: page, Waits: true}, nil
}

// Check collects what a phone decided.
func (p proving) Check(_ context.Context, a factors.Asking, state []byte, answer factors.Answer) (factors.Verdict, error) {
	if answer != nil {
		return factors.Verdict{Reason: factors.Malformed}, nil
	}
	r, err := readRequest(state)
	if err != nil {
		return factors.Verdict{}, err
	}
	isPaired := slices.ContainsFunc(a.Credentials, func(c factors.Credential) bool { return c.ID == r.By })
	switch state := r.stateAt(p.clock(), time.Time{}); {
	case state == stateAllowed && isPaired:
		return factors.Verdict{Outcome: factors.OutcomeAccepted, CredentialID: r.By}, nil
	case state == stateAllowed:
		return factors.Verdict{Reason: factors.Unknown, Closes: true}, nil
	case state == stateOpen:
		return factors.Verdict{Outcome: factors.OutcomePending}, nil
	case state == stateExpired:
		return factors.Verdict{Reason: factors.Expired, Closes: true}, nil
	}
	return factors.Verdict{Reason: factors.Denied, Closes: true, CredentialID: r.By}, nil
}

// Resolve takes a phone's decision.
func (p proving) Resolve(_ context.Context, a factors.Asking, state, raw []byte) (factors.Verdict, error) {
	r, err := readRequest(state)
	if err != nil {
		return factors.Verdict{}, err
	}
	signed, err := message.Parse(raw)
	if err != nil || signed.Type != message.Answer {
		return failing(FailedMalformed)
	}
	by, phone, found, err := named(a.Credentials, signed.Thumbprint)
	switch {
	case err != nil:
		return factors.Verdict{}, err
	case !found:
		return failing(FailedRemoved)
	case !slices.Contains(r.Named, by.ID):
		return failing(FailedUnknown)
	case !signed.IsBy(phone.Key):
		return failing(FailedSignature)
	}
	var claims message.AnswerClaims
	shown := sha256.Sum256(r.Display)
	if signed.Read(&claims) != nil || claims.Request != a.Ref || claims.Shown != message.Encode(shown[:]) ||
		(claims.Decision == message.Allow) != (claims.Number != "") {
		return failing(FailedMalformed)
	}
	return r.decide(claims, by.ID, p.clock(), a.Closed)
}

// decide takes a decision of a phone that may make one.
func (r request) decide(claims message.AnswerClaims, by string, now, closed time.Time) (factors.Verdict, error) {
	state := r.stateAt(now, closed)
	switch {
	case claims.Decision == message.Report && state != stateReported:
		r.Said, r.By, r.At = stateReported, by, now
	case state != stateOpen:
		return late(state)
	case claims.Decision == message.Deny:
		r.Said, r.By, r.At = stateDenied, by, now
	case claims.Decision != message.Allow:
		return failing(FailedMalformed)
	case subtle.ConstantTimeCompare([]byte(claims.Number), []byte(r.Number)) == 1:
		r.Said, r.By, r.At = stateAllowed, by, now
	default:
		if r.Wrong++; r.Wrong >= mostNumbers {
			r.Said, r.By, r.At = stateDenied, by, now
		}
	}
	reply := Reply{State: r.Said}
	if r.Said == "" {
		reply.State, reply.Left = stateOpen, mostNumbers-r.Wrong
	}
	verdict, err := replying(reply)
	if err != nil {
		return verdict, err
	}
	verdict.Next, err = r.turn()
	verdict.CredentialID, verdict.Disowned = by, r.Said == stateReported
	return verdict, err
}

// Shown is an open request as a phone lists it.
type Shown struct {
	ID      string `json:"id"`
	Display string `json:"display"` // base64url
}

// Show returns the request that a question's state holds, if the credential may
// answer it.
func Show(ref string, state []byte, credential string) (Shown, bool, error) {
	r, err := readRequest(state)
	if err != nil {
		return Shown{}, false, err
	}
	return Shown{ref, message.Encode(r.Display)}, r.Said == "" && slices.Contains(r.Named, credential), nil
}

// Notification is what is sent about a request, to each of the phones.
type Notification struct {
	Phones   map[string]Phone // by credential
	Display  Display
	Navigate string
	Language string
	Expires  time.Time
}

// Compose implements factors.Composer.
func (p proving) Compose(_ context.Context, a factors.Asking, state []byte) (any, bool, error) {
	r, err := readRequest(state)
	if err != nil {
		return nil, false, err
	}
	asked := slices.DeleteFunc(slices.Clone(a.Credentials), func(c factors.Credential) bool { return !slices.Contains(r.Named, c.ID) })
	n := Notification{Navigate: p.Origin + "/#r=" + a.Ref, Language: a.Scene.Language, Expires: r.Expires}
	if err := json.Unmarshal(r.Display, &n.Display); err != nil {
		return nil, false, fmt.Errorf("reading what a phone displays: %w", err)
	}
	if n.Phones, err = p.reachable(asked); err != nil {
		return nil, false, err
	}
	return factors.Letter{Content: n, Language: n.Language}, len(n.Phones) > 0 && r.stateAt(p.clock(), a.Closed) == stateOpen, nil
}
