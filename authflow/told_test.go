package authflow_test

import (
	"crypto/rand"
	"fmt"
	"maps"
	"slices"
	"testing"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
)

// belongings are what somebody has that can end, by id: sign-ons, remembered
// browsers and credentials of second factors, each with its kind.
type belongings struct{ signOns, browsers, credentials map[string]string }

func (p *member) belongings() belongings {
	p.h.t.Helper()
	b := belongings{make(map[string]string), make(map[string]string), make(map[string]string)}
	signOns, err := p.h.store.ListSignOns(p.h.ctx, p.id, time.Time{}, store.Page[store.SignOn]{})
	p.h.must(err)
	for _, s := range signOns {
		b.signOns[s.ID] = "sign-on"
	}
	browsers, err := p.h.store.BrowsersOf(p.h.ctx, p.id)
	p.h.must(err)
	for _, one := range browsers {
		if person.IsRemembered(one, p.h.clock()) {
			b.browsers[one.ID] = "browser"
		}
	}
	credentials, err := p.h.store.CredentialsOf(p.h.ctx, p.id)
	p.h.must(err)
	for _, c := range credentials {
		if c.Kind != assurance.Password && c.State == store.CredentialActive {
			b.credentials[c.ID] = string(c.Kind)
		}
	}
	return b
}

// lost returns which of what was there isn't any more.
func lost(before, after map[string]string) []string {
	return slices.DeleteFunc(slices.Sorted(maps.Keys(before)), func(id string) bool { return after[id] != "" })
}

// ways are all ways in which something of ada's ends, and for what reason her
// sign-ons do; empty: they don't.
var ways = map[string]struct {
	reason string
	end    func(h *house, ada *member, s store.SignOn)
	// all is the event that tells of all her credentials; empty: each has its own.
	all audit.Name
}{
	"another signs in in her browser": {"another_sign_in", func(h *house, ada *member, s store.SignOn) {
		bob := h.person("bob")
		_, err := h.Grant(h.ctx, bob.complete(), s.ID, person.Client{})
		h.must(err)
	}, ""},
	"a device signs in in her browser": {"another_sign_in", func(h *house, ada *member, s store.SignOn) {
		ada.byLaptop(s.ID)
	}, ""},
	"she ends one": {"ended_by_owner", func(h *house, ada *member, s store.SignOn) {
		h.must(h.EndSignOn(h.ctx, ada.user(), audit.ShortID(s.ID), person.Client{}))
	}, ""},
	"she ends all others": {"ended_by_owner", func(h *house, ada *member, s store.SignOn) {
		_, err := h.EndOthers(h.ctx, s, ada.user(), person.Client{})
		h.must(err)
	}, ""},
	"she disowns it all": {"activity_disowned", func(h *house, ada *member, s store.SignOn) {
		h.must(h.Disown(h.ctx, s, ada.user(), person.Client{}))
	}, ""},
	"she changes the password": {"password_changed", func(h *house, ada *member, s store.SignOn) {
		_, err := h.ChangePassword(h.ctx, s, ada.user(), selfservice.PasswordChange{Current: ada.password, New: "window kettle 90"}, person.Client{})
		h.must(err)
	}, ""},
	"she has to choose another password": {"password_changed", func(h *house, ada *member, _ store.SignOn) {
		h.must(h.ChooseNewPassword(h.ctx, ada.mustChoose(), "window kettle 90", person.Client{}))
	}, ""},
	"she resets the password": {"password_reset", func(h *house, ada *member, _ store.SignOn) {
		f := ada.resetting()
		h.must(ada.answer(f, ada.code(), person.Client{}))
		h.must(h.ChooseNewPassword(h.ctx, h.load(f), "window kettle 90", person.Client{}))
	}, ""},
	"she removes a credential": {"factor_removed", func(h *house, ada *member, s store.SignOn) {
		_, err := h.Remove(h.ctx, s, ada.user(), ada.named("Tablet").ID, person.Client{})
		h.must(err)
	}, ""},
	"she removes all of a kind": {"factor_removed", func(h *house, ada *member, s store.SignOn) {
		_, err := h.RemoveAll(h.ctx, s, ada.user(), assurance.BackupCode, person.Client{})
		h.must(err)
	}, ""},
	"she loses a credential": {"factor_lost", func(h *house, ada *member, _ store.SignOn) {
		h.must(ada.backup(ada.lost(), 0))
	}, ""},
	"she is helped": {"factor_lost", func(h *house, ada *member, _ store.SignOn) {
		f := ada.lost()
		code, err := h.NewAccessCode(h.ctx, ada.user())
		h.must(err)
		h.must(h.AnswerAccessCode(h.ctx, f, code, person.Client{}))
	}, ""},
	"she makes new backup codes": {"", func(h *house, ada *member, s store.SignOn) {
		f, err := h.BeginEnrolment(h.ctx, s, ada.user(), authflow.Adding{Kind: assurance.BackupCode}, person.Client{})
		h.must(err)
		_, err = h.Enrolment(h.ctx, f, assurance.BackupCode, person.Client{})
		h.must(err)
		h.must(h.AnswerEnrolment(h.ctx, h.load(f), authflow.EnrolmentAnswer{
			Factor: assurance.BackupCode, Answer: factors.Answer{"saved": "yes"},
		}, person.Client{}))
	}, ""},
	"she forgets a browser": {"", func(h *house, ada *member, _ store.SignOn) {
		browsers, err := h.Remembered(h.ctx, ada.id)
		h.must(err)
		h.must(h.Forget(h.ctx, ada.user(), browsers[0].ID, person.Client{}))
	}, ""},
	"she revokes a device": {"device_revoked", func(h *house, ada *member, s store.SignOn) {
		h.must(h.RevokeDevice(h.ctx, s, ada.user(), "laptop", person.Client{}))
	}, ""},
	"one idles out": {"idle", func(h *house, _ *member, s store.SignOn) {
		h.pass(s.Idle + session.Granularity + time.Second)
		h.must(h.desk().EndUnseen(h.ctx, s.ID, s.LastSeen, h.clock(), session.EndedIdle))
	}, ""},
	"all reach their limit": {"expired", func(h *house, _ *member, s store.SignOn) {
		h.pass(s.Expires.Sub(h.clock()))
		ended, err := h.desk().EndExpired(h.ctx, 100)
		h.must(err)
		if ended < 3 {
			h.t.Errorf("said to have ended %d", ended)
		}
	}, ""},
	"an administrator disables her": {"user_disabled", func(h *house, ada *member, _ store.SignOn) {
		h.must(h.desk().Disable(h.ctx, ada.name))
	}, ""},
	"an administrator resets her factors": {"factors_reset", func(h *house, ada *member, _ store.SignOn) {
		reset, err := h.desk().ResetFactors(h.ctx, ada.name, false)
		h.must(err)
		if reset.Ended < 3 {
			h.t.Errorf("said to have ended %d", reset.Ended)
		}
	}, audit.FactorsReset},
	"an administrator deletes her": {"user_deleted", func(h *house, ada *member, _ store.SignOn) {
		_, err := h.desk().Delete(h.ctx, ada.name)
		h.must(err)
	}, audit.UserDeleted},
	"an administrator ends one": {"ended_by_administrator", func(h *house, _ *member, s store.SignOn) {
		h.must(h.desk().EndSignOn(h.ctx, audit.ShortID(s.ID)))
	}, ""},
	"an administrator ends all": {"ended_by_administrator", func(h *house, ada *member, _ store.SignOn) {
		_, err := h.desk().EndSignOnsOf(h.ctx, ada.name)
		h.must(err)
	}, ""},
	"an administrator forgets a browser": {"", func(h *house, ada *member, _ store.SignOn) {
		browsers, err := h.Remembered(h.ctx, ada.id)
		h.must(err)
		h.must(h.desk().ForgetBrowser(h.ctx, ada.name, audit.ShortID(browsers[0].ID)))
	}, ""},
	"an administrator revokes a device": {"device_revoked", func(h *house, _ *member, _ store.SignOn) {
		_, err := h.desk().RevokeDevice(h.ctx, "laptop", "")
		h.must(err)
	}, ""},
}

// desk is where administrators ask for what they do to people.
func (h *house) desk() *accounts.Desk {
	log := audit.NewLog(zap.NewNop(), h.store, h.clock)
	return accounts.NewDesk(h.store, h.Engine, nil, log, h.clock, rand.Reader)
}

// byLaptop has ada's laptop sign in.
func (p *member) byLaptop(previous string) {
	p.h.t.Helper()
	login := authflow.DeviceLogin{ID: "laptop", Expires: p.h.clock().Add(time.Hour)}
	_, err := p.h.SignInDevice(p.h.ctx, login, previous, person.Client{})
	p.h.must(err)
}

// TestWhateverEndsIsTold compares what ends in the store, in every way that there
// is, with what the audit is told of it: each sign-on once, for the reason that
// the store has, each remembered browser and each credential.
func TestWhateverEndsIsTold(t *testing.T) {
	for what, way := range ways {
		t.Run(what, func(t *testing.T) {
			h := remembering(t)
			ada := h.person("ada")
			ada.device("laptop", time.Hour)
			ada.addTOTP(ada.in(), "Tablet")
			ada.browserToken = ada.remembered().Browser
			ada.in()
			ada.byLaptop("")
			signOn := ada.in()
			before, old := ada.belongings(), h.told(ada.id)
			way.end(h, ada, signOn)
			after, told := ada.belongings(), h.told(ada.id)[len(old):]

			ended := lost(before.signOns, after.signOns)
			if (len(ended) > 0) != (way.reason != "") {
				t.Errorf("%d sign-ons ended", len(ended))
			}
			var want []string
			for _, id := range ended {
				if s, err := h.store.SignOnByID(h.ctx, id); err == nil && s.EndReason != way.reason {
					t.Errorf("a sign-on ended for %s, want %s", s.EndReason, way.reason)
				}
				want = append(want, fmt.Sprintf("%s ada %s %s", audit.SignOnEnded, audit.ShortID(id), way.reason))
			}
			for range lost(before.browsers, after.browsers) {
				want = append(want, fmt.Sprintf("%s ada totp", audit.BrowserForgotten))
			}
			gone := lost(before.credentials, after.credentials)
			if way.all != "" && len(gone) > 0 && len(h.events(way.all)) == 1 {
				gone = nil
			}
			for _, id := range gone {
				want = append(want, "a credential "+before.credentials[id])
			}
			slices.Sort(want)
			if got := endings(told); !slices.Equal(got, want) {
				t.Errorf("told are\n%q\nwant\n%q", got, want)
			}
		})
	}
}

// told are the events about a user, oldest first.
func (h *house) told(userID string) []store.Event {
	h.t.Helper()
	events, err := h.store.ListEvents(h.ctx, store.EventFilter{UserID: userID, Limit: 1000})
	h.must(err)
	slices.Reverse(events)
	return events
}

// endings says what events tell has ended, sorted.
func endings(events []store.Event) []string {
	var said []string
	for _, e := range events {
		name, user := audit.Name(e.Name), e.Fields[string(audit.User)]
		switch name {
		case audit.SignOnEnded:
			said = append(said, fmt.Sprintf("%s %s %s %s", name, user, e.Fields[string(audit.SignOn)], e.Fields[string(audit.Reason)]))
		case audit.BrowserForgotten:
			said = append(said, fmt.Sprintf("%s %s %s", name, user, e.Fields[string(audit.Factor)]))
		case audit.FactorRemoved, audit.FactorLost:
			said = append(said, "a credential "+e.Fields[string(audit.Factor)])
		}
	}
	slices.Sort(said)
	return said
}
