package push

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"time"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/factors/push/message"
	"github.com/portcullis-mfa/portcullis/factors/qrcode"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/token"
)

// What a pairing is bounded by.
const (
	// TokenLifetime is how long the QR code works, and CodeLifetime the typed code and
	// the whole pairing.
	TokenLifetime = 5 * time.Minute
	CodeLifetime  = 15 * time.Minute
	// CodeLength is the length of a typed code: 40 bits.
	CodeLength = 8
	// checkDigits is how many digits of the key are compared.
	checkDigits = 6
	mostWrong   = 3
)

// stage is how far a pairing is.
type stage string

const (
	offered   stage = "offered"
	claimed   stage = "claimed"
	confirmed stage = "confirmed"
	settled   stage = "settled"
)

// pairing is what is kept of a pairing.
type pairing struct {
	Stage stage     `json:"stage"`
	Made  time.Time `json:"made"`
	Token string    `json:"token"`
	Code  string    `json:"code"`
	// Codes is the state of the enrolment of one-time codes, and their secret in the
	// end.
	Codes []byte `json:"codes"`
	// Phone and Name are of the phone that used the code.
	Phone json.RawMessage `json:"phone,omitempty"`
	Name  string          `json:"name,omitempty"`
	// Contested says that another phone used the same code.
	Contested bool `json:"contested,omitempty"`
	Wrong     int  `json:"wrong,omitempty"`
	// Told says that there is news which the browser hasn't been told yet.
	News bool `json:"news,omitempty"`
}

func (p pairing) until() time.Time { return p.Made.Add(CodeLifetime) }

// turn returns the turn that leaves a pairing like this. Until a phone is there it
// is found by its codes, and after that by the phone's key.
func (p pairing) turn() (*factors.Turn, error) {
	state, err := json.Marshal(p)
	if err != nil {
		return nil, fmt.Errorf("writing a pairing: %w", err)
	}
	handles := []string{TokenHandle(p.Token), CodeHandle(p.Code)}
	if p.Phone != nil {
		phone, err := ReadPhone(p.Phone)
		if err != nil {
			return nil, err
		}
		handles = append(handles, PhoneHandle(phone.Thumbprint))
	}
	return &factors.Turn{State: state, Until: p.until(), Settled: p.News, Handles: handles}, nil
}

// TokenHandle, CodeHandle and PhoneHandle are the handles of a pairing: by the token of its
// QR code, by its typed code, and by the key of the phone that used either. They are kept
// apart: guesses at typed codes are counted, and nobody must get around that by sending one
// as something else.
func TokenHandle(token string) string { return "token/" + token }

// CodeHandle is one of the handles; see TokenHandle. The code is as token.ReadCode returns it.
func CodeHandle(code string) string { return "code/" + code }

// PhoneHandle is one of the handles; see TokenHandle.
func PhoneHandle(thumbprint string) string { return "phone/" + thumbprint }

func readPairing(state []byte) (p pairing, err error) {
	if err := json.Unmarshal(state, &p); err != nil {
		return pairing{}, fmt.Errorf("reading a pairing: %w", err)
	}
	return p, nil
}

// Digits are the six digits by which a person recognizes the phone that was paired.
func Digits(pairing, thumbprint string) string {
	sum := sha256.Sum256([]byte("portcullis-pair-v1\n" + pairing + thumbprint))
	return fmt.Sprintf("%0*d", checkDigits, binary.BigEndian.Uint64(sum[:8])%uint64(math.Pow10(checkDigits)))
}

type enrolling struct{ *Factor }

// Begin offers a code.
func (e enrolling) Begin(ctx context.Context, a factors.Asking) (factors.Turn, error) {
	codes, err := e.Codes.Enrolling().Begin(ctx, a)
	if err != nil {
		return factors.Turn{}, err
	}
	p := pairing{Stage: offered, Made: e.clock(), Codes: codes.State}
	if p.Token, err = token.New(e.random); err != nil {
		return factors.Turn{}, err
	}
	if p.Code, err = token.NewCode(e.random, CodeLength); err != nil {
		return factors.Turn{}, err
	}
	turn, err := p.turn()
	if err != nil {
		return factors.Turn{}, err
	}
	return *turn, nil
}

// Resume shows the code, or asks for the phone's digits.
func (e enrolling) Resume(_ context.Context, _ factors.Asking, state []byte) (factors.Page, error) {
	p, err := readPairing(state)
	if err != nil {
		return factors.Page{}, err
	}
	page := templates.PushEnrolment{
		Stage: string(p.Stage), Authenticator: e.Origin, Phone: p.Name, Contested: p.Contested, Left: mostWrong - p.Wrong,
	}
	if p.Stage == offered {
		page.Code = token.Grouped(p.Code)
		if left := p.Made.Add(TokenLifetime).Sub(e.clock()); left > 0 {
			page.Link, page.LinkLeft = e.Origin+"/#p="+p.Token, left
			if page.QR, err = qrcode.Draw(page.Link); err != nil {
				return factors.Page{}, fmt.Errorf("drawing the QR code: %w", err)
			}
		}
	}
	return factors.Page{Content: page, Waits: p.Stage != claimed}, nil
}

// Check takes answer "digits", or collects what the phone did.
func (e enrolling) Check(_ context.Context, a factors.Asking, state []byte, answer factors.Answer) (factors.Verdict, error) {
	p, err := readPairing(state)
	switch {
	case err != nil:
		return factors.Verdict{}, err
	case answer == nil && p.Stage == settled:
		return p.made(e.Codes)
	case answer == nil:
		p.News = false
		return p.pending(factors.Verdict{})
	case p.Stage != claimed:
		return factors.Verdict{Reason: factors.Malformed}, nil
	}
	typed, ok := token.ReadDigits(answer["digits"], checkDigits)
	if !ok {
		return factors.Verdict{Reason: factors.Malformed}, nil
	}
	phone, err := ReadPhone(p.Phone)
	if err != nil {
		return factors.Verdict{}, err
	}
	if subtle.ConstantTimeCompare([]byte(typed), []byte(Digits(a.Ref, phone.Thumbprint))) != 1 {
		p.Wrong++
		next, err := p.turn()
		return factors.Verdict{Reason: factors.Wrong, Next: next, Closes: p.Wrong >= mostWrong}, err
	}
	p.Stage = confirmed
	return p.pending(factors.Verdict{})
}

// pending is a verdict that leaves the pairing like this.
func (p pairing) pending(v factors.Verdict) (factors.Verdict, error) {
	next, err := p.turn()
	v.Outcome, v.Next = factors.OutcomePending, next
	return v, err
}

// made are the two credentials of a phone.
func (p pairing) made(codes Codes) (factors.Verdict, error) {
	phone, err := ReadPhone(p.Phone)
	return factors.Verdict{
		Outcome: factors.OutcomeAccepted, Model: factors.Model{Name: p.Name},
		Made: factors.Made{Secret: p.Phone, Name: p.Name, Unique: phone.Thumbprint},
		Also: []factors.Made{{Kind: codes.Kind(), Secret: p.Codes, Name: p.Name}},
	}, err
}

// Resolve takes the phone's messages.
func (e enrolling) Resolve(ctx context.Context, a factors.Asking, state, raw []byte) (factors.Verdict, error) {
	p, err := readPairing(state)
	if err != nil {
		return factors.Verdict{}, err
	}
	signed, err := message.Parse(raw)
	if err != nil {
		return failing(FailedMalformed)
	}
	if signed.Type == message.Pair {
		return e.claim(p, a, signed)
	}
	if p.Phone == nil {
		return failing(FailedUnknown)
	}
	phone, err := ReadPhone(p.Phone)
	switch {
	case err != nil:
		return factors.Verdict{}, err
	case signed.Thumbprint != phone.Thumbprint:
		return failing(FailedUnknown)
	case !signed.IsBy(phone.Key):
		return failing(FailedSignature)
	}
	switch signed.Type {
	case message.Paired:
		return e.tell(p, a)
	case message.Ready:
		return e.settle(ctx, p, a, signed)
	}
	return late(string(p.Stage))
}

// claim has a phone take the code, if it is the first one.
func (e enrolling) claim(p pairing, a factors.Asking, signed message.Signed) (factors.Verdict, error) {
	var claims message.PairClaims
	if signed.Read(&claims) != nil || (claims.Token == "") == (claims.Code == "") {
		return failing(FailedMalformed)
	}
	if !signed.IsBy(signed.Key) {
		return failing(FailedSignature)
	}
	byToken := subtle.ConstantTimeCompare([]byte(claims.Token), []byte(p.Token)) == 1 && e.clock().Before(p.Made.Add(TokenLifetime))
	code, isCode := token.ReadCode(claims.Code, CodeLength)
	byCode := isCode && subtle.ConstantTimeCompare([]byte(code), []byte(p.Code)) == 1
	reply := Reply{State: string(claimed), Pairing: a.Ref, Credential: signed.Thumbprint, Account: a.Who.Name, Until: p.until().Unix()}
	switch {
	case !byToken && !byCode:
		return failing(FailedUnknown)
	case p.Stage != offered:
		phone, err := ReadPhone(p.Phone)
		if err != nil {
			return factors.Verdict{}, err
		}
		if phone.Thumbprint == signed.Thumbprint { // its first message was answered in vain
			reply.State = string(p.Stage)
			return replying(reply)
		}
		p.Contested, p.News = true, p.News || p.Stage == claimed
		return p.replying(Reply{Failure: FailedState, State: string(p.Stage)})
	}
	phone := Phone{Key: signed.Key, Thumbprint: signed.Thumbprint, Heard: e.clock()}
	if claims.Subscription != nil && e.Accepts(*claims.Subscription) {
		phone.Subscription = claims.Subscription
	}
	var err error
	if p.Phone, err = phone.Secret(); err != nil {
		return factors.Verdict{}, err
	}
	p.Stage, p.Name, p.News = claimed, nameOf(claims.Name), true
	return p.replying(reply)
}

// replying is a verdict that leaves the pairing like this.
func (p pairing) replying(r Reply) (factors.Verdict, error) {
	v, err := replying(r)
	if err != nil {
		return v, err
	}
	v.Next, err = p.turn()
	return v, err
}

// tell tells the phone how far the pairing is.
func (e enrolling) tell(p pairing, a factors.Asking) (factors.Verdict, error) {
	reply := Reply{State: string(p.Stage)}
	if p.Stage == confirmed {
		var err error
		if reply.Codes, err = e.Codes.URI(p.Codes, a.Who); err != nil {
			return factors.Verdict{}, err
		}
	}
	return replying(reply)
}

// settle takes the first one-time code of the phone.
func (e enrolling) settle(ctx context.Context, p pairing, a factors.Asking, signed message.Signed) (factors.Verdict, error) {
	var claims message.ReadyClaims
	if signed.Read(&claims) != nil {
		return failing(FailedMalformed)
	}
	if p.Stage != confirmed {
		return late(string(p.Stage))
	}
	checked, err := e.Codes.Enrolling().Check(ctx, a, p.Codes, factors.Answer{"code": claims.Code})
	if err != nil {
		return factors.Verdict{}, err
	}
	if !checked.Accepted() {
		return failing(FailedCode)
	}
	p.Stage, p.Codes, p.News = settled, checked.Made.Secret, true
	return p.replying(Reply{State: string(settled)})
}
