package selfservice

import (
	"context"
	"errors"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/enrolment"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/quota"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// Enrolment makes the codes and tokens with which machines enrol. Package enrolment
// implements it.
type Enrolment interface {
	Confirm(ctx context.Context, tx store.Tx, user store.User, w enrolment.Wish) (code string, err error)
	Find(ctx context.Context, tx store.Tx, user store.User, code string) (enrolment.Asked, error)
	Admit(ctx context.Context, tx store.Tx, user store.User, code string) (enrolment.Asked, error)
	NewOwnToken(ctx context.Context, tx store.Tx, user store.User) (enrolment.Token, error)
}

// ConfirmDevice lets a machine become one of the person's devices, and returns the code
// with which it does. It returns person.ErrStale if the person has to be checked first.
func (s *Service) ConfirmDevice(ctx context.Context, by store.SignOn, w enrolment.Wish, c person.Client) (code string, err error) {
	err = s.People.Change(ctx, "confirming a device", func(tx store.Tx) ([]store.Event, error) {
		_, user, _, err := s.People.Checked(ctx, tx, by.ID)
		if err != nil {
			return nil, err
		}
		code, err = s.Enrolment.Confirm(ctx, tx, user, w)
		return []store.Event{s.People.Own(audit.DeviceConfirmed, user, c, audit.Fields{audit.Device: w.Name})}, err
	})
	return code, err
}

// FindDevice returns the machine that waits for the code that the person typed. It returns
// person.ErrStale if the person has to be checked first, *factors.Refused if the code is
// wrong, and *guess.Slowed after too many wrong codes.
func (s *Service) FindDevice(ctx context.Context, by store.SignOn, typed string, _ person.Client) (enrolment.Asked, error) {
	return s.typed(ctx, by, typed, func(tx store.Tx, user store.User, code string) (enrolment.Asked, []store.Event, error) {
		found, err := s.Enrolment.Find(ctx, tx, user, code)
		return found, nil, err
	})
}

// AdmitDevice lets the machine that waits for a typed code become one of the person's
// devices. Its errors are those of FindDevice.
func (s *Service) AdmitDevice(ctx context.Context, by store.SignOn, typed string, c person.Client) (enrolment.Asked, error) {
	return s.typed(ctx, by, typed, func(tx store.Tx, user store.User, code string) (enrolment.Asked, []store.Event, error) {
		found, err := s.Enrolment.Admit(ctx, tx, user, code)
		return found, []store.Event{s.People.Own(audit.DeviceConfirmed, user, c, audit.Fields{audit.Device: found.Name})}, err
	})
}

// typed does something with a code that somebody typed. A wrong one is counted.
func (s *Service) typed(ctx context.Context, by store.SignOn, typed string, do func(store.Tx, store.User, string) (enrolment.Asked, []store.Event, error)) (enrolment.Asked, error) {
	code, ok := token.ReadCode(typed, enrolment.TypedLetters)
	if !ok {
		return enrolment.Asked{}, &factors.Refused{Reason: factors.Malformed}
	}
	var found enrolment.Asked
	var wrong bool
	err := s.People.Change(ctx, "reading a machine's code", func(tx store.Tx) ([]store.Event, error) {
		wrong = false // it may run again
		_, user, _, err := s.People.Checked(ctx, tx, by.ID)
		if err != nil {
			return nil, err
		}
		var events []store.Event
		if found, events, err = do(tx, user, code); errors.Is(err, enrolment.ErrRefused) {
			wrong = true
			return nil, nil
		}
		return events, err
	})
	if exceeded := new(quota.Exceeded); errors.As(err, &exceeded) {
		return found, &guess.Slowed{RetryAfter: exceeded.RetryAfter}
	}
	if err == nil && wrong {
		err = &factors.Refused{Reason: factors.Wrong}
	}
	return found, err
}

// DeviceToken makes a token that enrols one machine as the person's device.
// It returns person.ErrStale if the person has to be checked first.
func (s *Service) DeviceToken(ctx context.Context, by store.SignOn, c person.Client) (made enrolment.Token, err error) {
	err = s.People.Change(ctx, "making an enrolment token", func(tx store.Tx) ([]store.Event, error) {
		_, user, _, err := s.People.Checked(ctx, tx, by.ID)
		if err != nil {
			return nil, err
		}
		made, err = s.Enrolment.NewOwnToken(ctx, tx, user)
		return []store.Event{s.People.Own(audit.DeviceTokenMade, user, c, nil)}, err
	})
	return made, err
}
