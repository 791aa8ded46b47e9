package authflow_test

import (
	"errors"
	"testing"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
)

// TestL03WhatAFlowRestsOnIsGone takes users and factors away from flows that a
// request has just read: it hears of a definite end, never that it is to try
// again, which would fail for as long as it does.
func TestL03WhatAFlowRestsOnIsGone(t *testing.T) {
	flows := map[string]func(*house) authflow.Flow{
		"choosing a password": func(h *house) authflow.Flow {
			link, err := h.NewInvitation(h.ctx, h.add("ada", store.UserInvited))
			h.must(err)
			f, err := h.OpenLink(h.ctx, link)
			h.must(err)
			return f
		},
		"adding": func(h *house) authflow.Flow {
			ada := h.person("ada")
			f, _ := ada.addingTOTP(ada.in())
			return h.load(f)
		},
		"replacing": func(h *house) authflow.Flow {
			ada := h.person("ada")
			f := ada.lost()
			h.must(ada.backup(f, 0))
			return h.load(f)
		},
	}
	losses := map[string]func(*house, authflow.Flow){
		"the user":             func(h *house, f authflow.Flow) { h.must(h.store.DeleteUser(h.ctx, f.UserID)) },
		"the factor":           func(h *house, _ authflow.Flow) { h.vault.Factors = h.vault.Factors[1:] },
		"all factors":          func(h *house, _ authflow.Flow) { h.vault.Factors = nil },
		"the credentials":      func(h *house, f authflow.Flow) { h.takeCredentials(f.UserID) },
		"what was under way":   func(h *house, f authflow.Flow) { h.abandon(f.UserID) },
		"nothing, but it ends": func(h *house, _ authflow.Flow) { h.pass(authflow.FlowLifetime) },
	}
	for at, begin := range flows {
		for lost, take := range losses {
			t.Run(at+", "+lost, func(t *testing.T) {
				h := newHouse(t)
				f := begin(h)
				take(h, f)
				step, err := h.Step(h.ctx, f, "")
				h.expectDefinite("the step", err)
				if step.Kind == authflow.StepEnrol && step.Factor == "" {
					t.Error("it asks to set up nothing")
				}
				for _, kind := range []assurance.Factor{assurance.TOTP, assurance.BackupCode, ""} {
					h.expectDefinite("the page of "+string(kind), second(h.Enrolment(h.ctx, f, kind, person.Client{})))
					answer := authflow.EnrolmentAnswer{Factor: kind, Answer: factors.Answer{"code": "123456", "saved": "yes"}}
					h.expectDefinite("enrolling "+string(kind), h.AnswerEnrolment(h.ctx, f, answer, person.Client{}))
				}
				h.expectDefinite("the invited user", second(h.Invited(h.ctx, f)))
				h.expectDefinite("the account", h.ChooseAccount(h.ctx, f, authflow.Choice{Name: "ada", Password: rightPassword}))
				h.expectDefinite("the grant", second(h.Grant(h.ctx, f, "", person.Client{})))
			})
		}
	}
}

func (h *house) takeCredentials(userID string) {
	h.t.Helper()
	h.must(h.store.Atomically(h.ctx, func(tx store.Tx) error {
		all, err := tx.CredentialsOf(h.ctx, userID)
		for _, c := range all {
			err = errors.Join(err, tx.DeleteCredential(h.ctx, c.ID, c.Version))
		}
		return err
	}))
}

func (h *house) abandon(userID string) {
	h.t.Helper()
	h.must(h.store.Atomically(h.ctx, func(tx store.Tx) error { return person.Abandon(h.ctx, tx, userID) }))
}

// expectDefinite wants success, or an error that says how the flow goes on.
func (h *house) expectDefinite(what string, err error) {
	h.t.Helper()
	if err == nil || errors.As(err, new(*factors.Refused)) || errors.As(err, new(*person.Invalid)) {
		return
	}
	for _, definite := range []error{
		authflow.ErrFlowGone, authflow.ErrLinkGone, authflow.ErrWrongStep, person.ErrStale, credentials.ErrUnknown, store.ErrConflict,
	} {
		if errors.Is(err, definite) {
			return
		}
	}
	h.t.Errorf("%s: %v", what, err)
}
