package authflow_test

import (
	"errors"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/selfservice"
	"github.com/portcullis-mfa/portcullis/store"
)

// TestMeterSaysWhatTheFormSays holds that whoever is told that a password is
// good enough while they type it isn't refused it afterwards, nor the other way
// round, with whichever names beside it: in a set-up, the first one too, and
// where somebody changes their password.
func TestMeterSaysWhatTheFormSays(t *testing.T) {
	empty := newHouse(t)
	setup, err := empty.NewSetupLink(empty.ctx)
	empty.must(err)
	h := newHouse(t)
	invited := h.add("zoe", store.UserInvited)
	invited.Email, invited.DisplayName = "badger@burrow.example", "Zoe Quince"
	h.must(h.store.UpdateUser(h.ctx, invited))
	invitation, err := h.NewInvitation(h.ctx, invited)
	h.must(err)
	ada := h.person("ada")
	signOn := ada.in()
	names := rapid.SampledFrom([]string{"", "zoe", "Tamsin Wolf", "tamsin.wolf", "a,b", strings.Repeat("x", 300), "ada"})
	passwords := rapid.SampledFrom([]string{
		"", "short", "badger@burrow.example", "badger burrow 1", "Quince2026!", "tamsin.wolf", "Tamsin_Wolf_1", "wolf99!!", "zoezoezoe", "ada@example.com", "adaadaada",
		"password1", "abababab", "purple otter 41 sails", "tamsin likes nine plums on the roof",
	})
	rapid.Check(t, func(rt *rapid.T) {
		choice := authflow.Choice{Name: names.Draw(rt, "name"), DisplayName: names.Draw(rt, "display name"), Password: passwords.Draw(rt, "password")}
		for link, house := range map[string]*house{setup: empty, invitation: h} {
			f, err := house.OpenLink(h.ctx, link)
			h.must(err)
			judged, err := house.Engine.JudgePassword(h.ctx, f, choice)
			h.must(err)
			invalid := new(person.Invalid)
			if err := house.ChooseAccount(h.ctx, f, choice); err != nil && !errors.As(err, &invalid) {
				rt.Fatal(err)
			}
			agree(rt, judged, invalid.Fields["password"])
		}
		judged := h.Service.JudgePassword(ada.user(), choice.Password)
		invalid := new(person.Invalid)
		_, err = h.ChangePassword(h.ctx, signOn, ada.user(), selfservice.PasswordChange{Current: "not hers", New: choice.Password}, person.Client{})
		errors.As(err, &invalid)
		agree(rt, judged, invalid.Fields["password"])
	})
}

func agree(t *rapid.T, judged person.Judgement, refused error) {
	t.Helper()
	if (judged.Refusal == nil) != (refused == nil) || refused != nil && judged.Refusal.Error() != refused.Error() {
		t.Fatalf("the meter says %v, and the form %v", judged.Refusal, refused)
	}
}
