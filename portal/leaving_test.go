package portal

import (
	"net/http"
	"net/http/httptest"
	"net/url"
	"testing"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/ticket"
)

// TestAlarmingEvents tells failures from what went well.
func TestAlarmingEvents(t *testing.T) {
	for name, want := range map[audit.Name]bool{
		audit.SignInFailed: true, audit.FactorAlert: true, audit.SignInSucceeded: false, audit.FactorEnrolled: false, audit.PasswordChanged: false,
	} {
		if got := happening(speaker(t, "en"), store.Event{Name: string(name)}).Alarming; got != want {
			t.Errorf("%s: %v", name, got)
		}
	}
}

// TestLeavingWithARequestOverItsAge leads to the app, and to its callback where
// only that knows the return address.
func TestLeavingWithARequestOverItsAge(t *testing.T) {
	p := &Portal{Settings: Settings{Origin: &url.URL{Scheme: "https", Host: "login.example.com"}}}
	for kept, want := range map[bool]string{
		false: "https://app.example.com/x", true: "https://app.example.com/.mfa/callback?request=signed",
	} {
		w := httptest.NewRecorder()
		err := p.leave(w, httptest.NewRequest(http.MethodGet, "/flow", nil), session.SignOn{}, destination{
			signed: "signed", request: ticket.Request{Origin: "https://app.example.com", Return: "https://app.example.com/x", Kept: kept},
		})
		if got := w.Header().Get("Location"); err != nil || got != want {
			t.Errorf("leads to %s, %v", got, err)
		}
	}
}
