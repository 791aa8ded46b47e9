package test

import (
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	guessing "github.com/portcullis-mfa/portcullis/guess"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// TestF03CodesArePaused has somebody who knows a password enter the last wrong
// code that an unknown browser may. The owner reads what happened, gets in where
// they signed in before, and an administrator sees it and ends it.
func TestF03CodesArePaused(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Settled: 1})
	ada := s.Administrator("ada")
	s.Stop()
	failBefore(t, s, "ada", 24)
	s.Restart()

	eve := s.Client()
	if page := ada.ShowCode(eve, passwordShown(t, s, eve, ada), wrongCode); page.Status != http.StatusUnprocessableEntity {
		t.Errorf("the last wrong code: %d %s", page.Status, page.Text())
	}
	elsewhere := s.Client()
	page := ada.ShowCode(elsewhere, passwordShown(t, s, elsewhere, ada), ada.Code())
	if page.Status != http.StatusTooManyRequests || !strings.Contains(page.Text(), "Somebody who knows your password has entered many wrong codes") ||
		!strings.Contains(page.Text(), "For the next 20 days") {
		t.Errorf("the right code: %d %s", page.Status, page.Text())
	}
	expectRetryAfter(t, page, 21*24*time.Hour)
	expectShut(t, s, elsewhere)
	expectIn(t, s, ada.Browser, "ada")
	known := ada.Browser
	known.Follow(known.Submit(known.Visit(s.At("login", "/sign-out")).Form(), nil))
	ada.SignIn(known, s.At("app", "/"))
	expectIn(t, s, known, "ada")

	if out := expectDone(t, s, "mfa", "user", "show", "ada"); !strings.Contains(out.Stdout, "unknown browsers accept no codes from this user except backup codes") {
		t.Errorf("shown: %s", out.Stdout)
	}
	if page := known.Visit(s.At("login", "/account/activity")); !strings.Contains(page.Text(), "New browsers don't accept codes for now") {
		t.Errorf("the activity: %s", page.Text())
	}
	if out := expectDone(t, s, "mfa", "user", "unlock", "ada"); !strings.Contains(out.Stdout, "Unlocked. Unknown browsers accepted no codes from this user except backup codes") {
		t.Errorf("unlocked: %s", out.Stdout)
	}
	ada.SignIn(elsewhere, s.At("app", "/"))
	expectIn(t, s, elsewhere, "ada")
}

// failBefore writes that unknown browsers entered so many wrong codes for
// somebody, the first ten days ago, while the server is stopped.
func failBefore(t *testing.T, s *scene.Scene, name string, times int) {
	t.Helper()
	db, err := sqlite.Open(t.Context(), filepath.Join(s.DataDir(), "portcullis", "portcullis.db"))
	if err != nil {
		t.Fatal(err)
	}
	user, err := db.UserByName(t.Context(), name)
	if err == nil {
		err = db.PutAttempts(t.Context(), store.Attempts{
			Scope: guessing.ScopeBudget, Key: user.ID + "/", Failures: times,
			First: time.Now().AddDate(0, 0, -10), Last: time.Now().Add(-time.Hour),
		})
	}
	if closed := db.Close(); err == nil {
		err = closed
	}
	if err != nil {
		t.Fatal(err)
	}
}
