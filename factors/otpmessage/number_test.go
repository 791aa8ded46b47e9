package otpmessage

import (
	"crypto/rand"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/factors"
)

var parseGerman = parseNumber([]string{"DE", "AT"})

func TestM01NumbersThatMaySend(t *testing.T) {
	taken := map[string]string{
		"0170 1234567": "+491701234567", "+49 (170) 123-4567": "+491701234567", "0049 170 1234567": "+491701234567",
		" +43 664 1234567 ": "+436641234567", "015112345678": "+4915112345678",
	}
	for written, want := range taken {
		if got, ok := parseGerman(written); !ok || got != want {
			t.Errorf("%q is %q, %t; want %q", written, got, ok, want)
		}
	}
	for what, written := range map[string]string{
		"nothing": "", "a word": "call me", "a fixed line": "+49 30 123456", "a premium number": "+49 900 1234567", "a shared-cost number": "+49 180 1234567",
		"a toll-free number": "+49 800 1234567", "a VoIP number": "+49 32 12345678", "a personal number": "+49 700 12345678", "a satellite phone": "+881 6 12345678", "an international premium number": "+979 1 1234 5678",
		"another country": "+41 79 123 45 67", "an extension": "+49 170 1234567 ext. 5", "an extension, short": "+49 170 1234567 x5", "an extension, dialled": "+49 170 1234567;5",
		"an extension of RFC 3966": "tel:+49-170-1234567;ext=5", "letters": "0170 FLOWERS", "too long": "+49 170 1234567" + strings.Repeat(" ", 40) + "1",
		"two numbers": "0170 1234567 / 0171 1234567", "other digits": "٠١٧٠ ١٢٣٤٥٦٧", "a line break": "0170 1234567\n+43 664 1234567", "too short": "+49 170 12",
	} {
		if got, ok := parseGerman(written); ok {
			t.Errorf("%s, %q, is taken as %s", what, written, got)
		}
	}
}

func TestRegions(t *testing.T) {
	if err := CheckRegions([]string{"DE", "AT", "US"}); err != nil {
		t.Error(err)
	}
	for _, wrong := range [][]string{nil, {"XX"}, {"de"}, {"DE", ""}, {"001"}} {
		if CheckRegions(wrong) == nil {
			t.Errorf("%q are taken", wrong)
		}
	}
}

// TestAMessageThatCosts wants nothing sent before the person presses a button, and
// no more shown of the number than its last two digits.
func TestAMessageThatCosts(t *testing.T) {
	f := NewSMS([]string{"DE"}, time.Now, rand.Reader)
	if traits := f.Traits(); !traits.OnDemand || traits.Vouches != 0 {
		t.Errorf("its traits are %+v", traits)
	}
	if shown := maskNumber("+491701234567"); shown != "…67" {
		t.Errorf("the number is shown as %s", shown)
	}
	if shown := spellNumber("+491701234567"); shown != "+49\u00a0170\u00a01234567" {
		t.Errorf("its owner is shown %q", shown)
	}
	turn, err := f.Enrolling().Begin(t.Context(), factors.Asking{Ref: "r"})
	if err != nil || turn.Send {
		t.Fatalf("the turn is %+v, %v", turn, err)
	}
	v, err := f.Enrolling().Check(t.Context(), factors.Asking{Ref: "r"}, turn.State, factors.Answer{"address": "0170 1234567"})
	if err != nil || v.Next == nil || !v.Next.Send || v.Next.Recipient != "+491701234567" || !v.Next.NewRecipient {
		t.Errorf("the verdict is %+v, %v", v, err)
	}
}

func TestRecipientsAreFolded(t *testing.T) {
	for address, want := range map[string]string{"a+b@example.com": "a@example.com", "a@example.com": "a@example.com", "a+b+c@x.de": "a@x.de"} {
		if got := foldEmail(address); got != want {
			t.Errorf("%s is counted as %s", address, got)
		}
	}
}

func FuzzParseNumber(f *testing.F) {
	for _, seed := range []string{"0170 1234567", "+436641234567", "+49 900 1234567", "0170x5", "++--", "(((((", "+4917012345678901234567"} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, written string) {
		number, ok := parseGerman(written)
		if !ok {
			if number != "" {
				t.Errorf("%q is refused with %q", written, number)
			}
			return
		}
		if again, ok := parseGerman(number); !ok || again != number {
			t.Errorf("%q is %q, which is %q, %t", written, number, again, ok)
		}
	})
}
