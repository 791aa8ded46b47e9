package identity

import (
	"errors"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/templates"
)

// TestPhrasesSayWhatTextsSay wants each reason in the catalogues, where the
// English text is what operators read too.
func TestPhrasesSayWhatTextsSay(t *testing.T) {
	var refusals []error
	for _, reason := range []PasswordReason{TooShort, TooLong, Malformed, Common, Patterned, OwnName, BrandName, "another"} {
		for _, length := range []int{0, 1, 7} {
			for _, limit := range []int{1, 8} {
				refusals = append(refusals, &PasswordError{Reason: reason, Length: length, Limit: limit})
			}
		}
	}
	bad := []string{
		"", "a@b", "a,b", ".a", "a b", " a", "a\x00", "\xff", "аb", strings.Repeat("a", 100), strings.Repeat("a", 129),
		strings.Repeat("a", 4096), "name", "а@example.com", "аb@example.com", strings.Repeat("a", 250) + "@example.com", strings.Repeat("a", 65) + "@example.com",
	}
	for _, name := range bad {
		for _, check := range []func(string) (string, error){CanonicalName, CanonicalEmail, CheckDisplayName, CheckGroup} {
			if _, err := check(name); err != nil {
				refusals = append(refusals, err)
			}
		}
	}
	pages, err := templates.New(templates.Options{})
	if err != nil {
		t.Fatal(err)
	}
	said := make(map[string]bool)
	for _, refusal := range refusals {
		var spoken interface {
			Text() string
			Phrase() (string, map[string]any)
		}
		if !errors.As(refusal, &spoken) {
			t.Fatalf("%v says nothing to people", refusal)
		}
		key, values := spoken.Phrase()
		said[key] = true
		if got := pages.Text(templates.English, key, values); got != spoken.Text() {
			t.Errorf("%q says %q, want %q", key, got, spoken.Text())
		}
	}
	for _, key := range []string{
		"user_name.missing", "user_name.too_big", "user_name.too_long", "user_name.unreadable", "user_name.invisible",
		"user_name.malformed", "user_name.mixed", "user_name.at_sign", "user_name.comma", "user_name.dot",
		"email_address.missing", "email_address.too_big", "email_address.unreadable", "email_address.invisible",
		"email_address.malformed", "email_address.mixed",
		"display_name.too_big", "display_name.too_long", "display_name.unreadable", "display_name.invisible",
		"group_name.missing", "group_name.too_big", "group_name.too_long", "group_name.unreadable", "group_name.invisible",
		"group_name.comma", "group_name.space",
	} {
		if !said[key] {
			t.Errorf("no name was refused with %q", key)
		}
	}
}
