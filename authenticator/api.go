package authenticator

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/ceremony"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors/push"
	"github.com/portcullis-mfa/portcullis/factors/push/message"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/stream"
)

// Companions are what phones do with questions; they advance no flow.
type Companions interface {
	Companion(ctx context.Context, kind assurance.Factor, unique string) (authflow.Companion, error)
	UpdateCompanion(ctx context.Context, c authflow.Companion, secret []byte) error
	LeaveCompanion(ctx context.Context, c authflow.Companion, client person.Client) error
	Waiting(ctx context.Context, c authflow.Companion) ([]ceremony.Question, error)
	Referred(ctx context.Context, kind assurance.Factor, handle string) (ref string, err error)
	Resolve(ctx context.Context, kind assurance.Factor, ref string, message []byte) (reply []byte, err error)
}

// Codec signs nonces.
type Codec interface {
	Encode(value []byte) (string, error)
	Decode(encoded string) ([]byte, error)
}

// Listener tells when a user's questions may have changed.
type Listener interface {
	Listen(user string) (heard <-chan struct{}, stop func())
}

// Counters count guesses.
type Counters interface {
	CountAttempts(ctx context.Context, keys []store.AttemptKey, fn func(counts store.AttemptCounts) error) error
}

// APISettings are what an API is made of. All fields but Key are needed.
type APISettings struct {
	Companions Companions
	// Kind is the kind of factor that phones are.
	Kind   assurance.Factor
	Phones interface {
		Accepts(message.Subscription) bool
	}
	Nonces   Codec
	Bell     Listener
	Counters Counters
	// Incarnation identifies the life of the store, which ends when a backup is restored.
	Incarnation func() string
	// Origin is the authenticator's.
	Origin string
	// Key is the public key by which notifications are signed, as base64url of an
	// uncompressed point; empty: none are sent.
	Key    string
	Clock  func() time.Time
	Logger *zap.Logger
	// Streams bounds how many phones listen at the same time.
	Streams *stream.Room
	// Address is where a request comes from.
	Address func(r *http.Request) string
	// Ending reports whether the server is about to stop, so that streams have to end.
	Ending func() bool
}

// API is what phones talk to: docs/push-protocol.md. It is safe for concurrent use.
type API struct {
	APISettings
	routes *http.ServeMux
}

// NewAPI returns the API. Its paths begin with /api/.
func NewAPI(s APISettings) *API {
	a := &API{APISettings: s, routes: http.NewServeMux()}
	a.routes.HandleFunc("POST /api/nonce", a.nonce)
	for kind, answer := range map[message.Type]func(context.Context, call) (any, error){
		message.Pair: a.pair, message.Paired: a.pairing, message.Ready: a.pairing,
		message.List: a.list, message.Subscribe: a.subscribe, message.Answer: a.answer, message.Leave: a.leave,
	} {
		a.routes.HandleFunc("POST /api/"+string(kind), a.answering(kind, answer))
	}
	a.routes.HandleFunc("POST /api/"+string(message.Listen), a.listen)
	return a
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Cache-Control", "no-store")
	a.routes.ServeHTTP(w, r)
}

// call is a message that came at its path, in time.
type call struct {
	signed  message.Signed
	raw     []byte
	address string
}

// problem is an answer that isn't 200.
type problem struct {
	status     int
	reply      push.Reply
	retryAfter time.Duration
}

func (p *problem) Error() string { return fmt.Sprintf("%d %s", p.status, p.reply.Failure) }

// statuses are those of failures.
var statuses = map[push.Failure]int{
	push.FailedMalformed: http.StatusBadRequest, push.FailedSignature: http.StatusUnauthorized, failedNonce: http.StatusUnauthorized,
	push.FailedCode: http.StatusForbidden, push.FailedUnknown: http.StatusNotFound, push.FailedState: http.StatusConflict,
	push.FailedRemoved: http.StatusGone, failedSlow: http.StatusTooManyRequests, failedUnavailable: http.StatusServiceUnavailable,
	failedService: http.StatusForbidden,
}

// Failures that aren't about what a message says.
const (
	failedNonce       push.Failure = "nonce"
	failedSlow        push.Failure = "slow"
	failedService     push.Failure = "service"
	failedUnavailable push.Failure = "unavailable"
)

func failed(why push.Failure) error {
	return &problem{status: statuses[why], reply: push.Reply{Failure: why}}
}

// answering answers messages of a type.
func (a *API) answering(kind message.Type, answer func(context.Context, call) (any, error)) http.HandlerFunc {
	return func(w http.ResponseWriter, r *http.Request) {
		c, err := a.receive(w, r, kind)
		var reply any
		if err == nil {
			reply, err = answer(r.Context(), c)
		}
		a.reply(w, r, reply, err)
	}
}

// bodyTime is how long a message may take to arrive.
const bodyTime = 10 * time.Second

// receive reads a message, and checks all of it that needs no credential.
func (a *API) receive(w http.ResponseWriter, r *http.Request, kind message.Type) (call, error) {
	_ = http.NewResponseController(w).SetReadDeadline(time.Now().Add(bodyTime)) // it isn't always possible
	raw, err := io.ReadAll(http.MaxBytesReader(w, r.Body, message.MaxSize))
	if err != nil || r.Header.Get("Content-Type") != "application/jose" {
		return call{}, failed(push.FailedMalformed)
	}
	_ = http.NewResponseController(w).SetReadDeadline(time.Time{})
	signed, err := message.Parse(raw)
	if err != nil || signed.Type != kind {
		return call{}, failed(push.FailedMalformed)
	}
	fresh, err := signed.FreshOf()
	if err != nil || fresh.Audience != a.Origin {
		return call{}, failed(push.FailedMalformed)
	}
	if !a.isFresh(fresh.Nonce) {
		return call{}, failed(failedNonce)
	}
	return call{signed, raw, a.Address(r)}, nil
}

// reply writes an answer.
func (a *API) reply(w http.ResponseWriter, r *http.Request, reply any, err error) {
	status, p := http.StatusOK, new(problem)
	switch {
	case errors.As(err, &p):
		status, reply = p.status, p.reply
		if p.retryAfter > 0 {
			w.Header().Set("Retry-After", strconv.Itoa(int(p.retryAfter/time.Second)+1))
		}
	case err != nil:
		if r.Context().Err() == nil {
			a.Logger.Error("answering the authenticator app", zap.String("path", r.URL.Path), zap.Error(err))
		}
		status, reply = http.StatusServiceUnavailable, push.Reply{Failure: failedUnavailable}
	}
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(reply) // who has gone needs no answer
}

// phone returns the phone that sent a message, whose signature is right.
func (a *API) phone(ctx context.Context, c call) (authflow.Companion, push.Phone, error) {
	companion, err := a.Companions.Companion(ctx, a.Kind, c.signed.Thumbprint)
	if errors.Is(err, credentials.ErrUnknown) {
		return companion, push.Phone{}, a.absent(ctx, c)
	}
	if err != nil {
		return companion, push.Phone{}, err
	}
	phone, err := push.ReadPhone(companion.Credential.Secret)
	if err != nil {
		return companion, push.Phone{}, err
	}
	if !c.signed.IsBy(phone.Key) {
		return companion, push.Phone{}, failed(push.FailedSignature)
	}
	return companion, phone, nil
}

// absent says why there is no credential: it was removed, or its pairing isn't
// complete yet.
func (a *API) absent(ctx context.Context, c call) error {
	ref, err := a.Companions.Referred(ctx, a.Kind, push.PhoneHandle(c.signed.Thumbprint))
	if errors.Is(err, ceremony.ErrNone) {
		return failed(push.FailedRemoved)
	}
	if err != nil {
		return err
	}
	_, err = a.resolve(ctx, ref, c)
	if p := new(problem); errors.As(err, &p) && p.reply.Failure == push.FailedUnknown {
		return failed(push.FailedRemoved)
	}
	return err
}

// resolve hands a message to the question that it is about.
func (a *API) resolve(ctx context.Context, ref string, c call) (any, error) {
	raw, err := a.Companions.Resolve(ctx, a.Kind, ref, c.raw)
	if errors.Is(err, ceremony.ErrNone) {
		return nil, failed(push.FailedUnknown)
	}
	if err != nil {
		return nil, err
	}
	reply, err := push.ReadReply(raw)
	if err == nil && reply.Failure != "" {
		err = &problem{status: statuses[reply.Failure], reply: reply}
	}
	return reply, err
}
