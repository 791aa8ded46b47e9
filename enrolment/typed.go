package enrolment

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/devices"
	"github.com/portcullis-mfa/portcullis/netblock"
	"github.com/portcullis-mfa/portcullis/quota"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// Machines without a browser (RFC 8628): the machine gets a secret for itself and a code
// for a person, who types the code in a browser elsewhere, sees which machine asked, and
// confirms.

const (
	// TypedLetters is how many letters a typed code has, of five bits each.
	TypedLetters = 8
	// typed is the namespace of the codes, under their hash, and asked the scope of the
	// counters of those who ask.
	typed = "device_code"
	asked = "device_code"
)

// Limits: on machines that ask, by network and in all, and on a user's wrong codes.
var (
	asksInAll    = quota.Quota{Key: "all", Most: 1000, Per: 10 * time.Minute}
	asksOfOne    = quota.Quota{Most: 20, Per: 10 * time.Minute}
	wrongOfOwner = quota.Quota{Most: 5, Per: 10 * time.Minute}
)

// ErrWaiting says that nobody has typed the machine's code yet.
var ErrWaiting = errors.New("nobody has confirmed the enrolment yet")

// Asking is what a machine without a browser gets.
type Asking struct {
	Secret  string // for the machine: Enrol takes it once somebody has confirmed
	Code    string // for a person
	Expires time.Time
}

// question is what a typed code stands for.
type question struct {
	Permit string    `json:"permit"` // key of the record that waits
	Asked  time.Time `json:"asked"`
	Says   Claims    `json:"says"`
}

// Ask lets a machine wait for somebody to type a code, so that it can enrol the key of a
// signing request. It returns *quota.Exceeded if too many machines ask.
func (r *Registrar) Ask(ctx context.Context, request []byte, says Claims) (Asking, error) {
	var made Asking
	fromNetwork := asksOfOne
	fromNetwork.Key = "network/" + netblock.Network(says.Address)
	err := r.Store.Atomically(ctx, func(tx store.Tx) error {
		if _, err := quota.Charge(ctx, tx, asked, []quota.Quota{fromNetwork, asksInAll}, r.Clock()); err != nil {
			return err
		}
		key, err := devices.RequestedKey(request)
		if err != nil {
			return err
		}
		code, err := token.NewCode(r.Random, TypedLetters)
		if err != nil {
			return err
		}
		permitted, err := r.newPermit(ctx, tx, store.User{}, CodeLifetime, permit{Via: ViaCode, Name: shown(says.Name), Key: key, Waiting: true})
		if err != nil {
			return err
		}
		// Anybody may ask, and may send headers of any size.
		seen := Claims{Name: shown(says.Name), System: shown(says.System), Address: says.Address}
		value, err := json.Marshal(question{token.Hash(permitted.Secret), r.Clock(), seen})
		if err != nil {
			return fmt.Errorf("encoding a question: %w", err)
		}
		made = Asking{permitted.Secret, token.Grouped(code), permitted.Expires}
		return tx.PutRecord(ctx, store.Record{Namespace: typed, Key: token.Hash(code), Value: value, Expires: made.Expires})
	})
	return made, err
}

// Asked is a machine that waits for somebody to type a code: its name and system, if they
// can be shown, and its address.
type Asked struct {
	Claims
	At time.Time
}

// Find returns the machine that waits for a typed code. It returns ErrRefused if none
// does, and *quota.Exceeded once the user has typed too many wrong codes. A wrong code is
// counted in the transaction, which has to be committed after ErrRefused, too.
func (r *Registrar) Find(ctx context.Context, tx store.Tx, user store.User, code string) (Asked, error) {
	_, found, err := r.find(ctx, tx, user, code)
	return Asked{found.Says, found.Asked}, err
}

func (r *Registrar) find(ctx context.Context, tx store.Tx, user store.User, code string) (store.Record, question, error) {
	var found question
	limit := wrongOfOwner
	limit.Key = "user/" + user.ID
	count, err := tx.GetAttempts(ctx, asked, limit.Key)
	if err != nil {
		return store.Record{}, found, fmt.Errorf("counting wrong codes: %w", err)
	}
	if count = count.Within(limit.Per, r.Clock()); count.Failures >= limit.Most {
		return store.Record{}, found, &quota.Exceeded{Key: limit.Key, RetryAfter: count.First.Add(limit.Per).Sub(r.Clock())}
	}
	record, err := tx.GetRecord(ctx, typed, token.Hash(code), r.Clock())
	if errors.Is(err, store.ErrNotFound) {
		if _, err := quota.Charge(ctx, tx, asked, []quota.Quota{limit}, r.Clock()); err != nil {
			return record, found, err
		}
		return record, found, ErrRefused
	}
	if err == nil {
		err = json.Unmarshal(record.Value, &found)
	}
	return record, found, err
}

// Admit lets the machine that waits for a typed code become a device of the user who
// confirmed it, and uses up the code. Its errors are those of Find.
func (r *Registrar) Admit(ctx context.Context, tx store.Tx, user store.User, code string) (Asked, error) {
	record, found, err := r.find(ctx, tx, user, code)
	if err != nil {
		return Asked{}, err
	}
	if _, err := tx.TakeRecord(ctx, record.Namespace, record.Key, r.Clock()); err != nil {
		return Asked{}, err
	}
	waiting, err := tx.TakeRecord(ctx, namespace, found.Permit, r.Clock())
	if err != nil {
		return Asked{}, refusing(err)
	}
	var allowed permit
	if err := json.Unmarshal(waiting.Value, &allowed); err != nil {
		return Asked{}, fmt.Errorf("reading a machine's question: %w", err)
	}
	allowed.Waiting = false
	if waiting.Value, err = json.Marshal(allowed); err != nil {
		return Asked{}, fmt.Errorf("encoding a machine's question: %w", err)
	}
	waiting.Owner, waiting.Expires = user.ID, r.Clock().Add(CodeLifetime)
	return Asked{found.Says, found.Asked}, tx.PutRecord(ctx, waiting)
}
