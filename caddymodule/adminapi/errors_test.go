package adminapi

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/store"
)

// TestWhatTheAdminAPISaysOfErrors has the operator told what they can act on,
// and the rest in the log, by a reference.
func TestWhatTheAdminAPISaysOfErrors(t *testing.T) {
	for name, test := range map[string]struct {
		err    error
		status int
		says   string
		logged bool
	}{
		"what was being done is of no use": {fmt.Errorf("keeping a new access code: %w", authflow.ErrNotActive), http.StatusConflict, "the user hasn't set up their account yet, or is disabled", false},
		"deleted in the middle":            {fmt.Errorf("keeping a new access code: %w", store.ErrNotFound), http.StatusNotFound, "somebody else deleted it at the same moment", false},
		"too busy":                         {fmt.Errorf("ending a sign-on: %w", store.ErrBusy), http.StatusServiceUnavailable, "the store is too busy: try again in a moment", false},
		"the disk is gone":                 {errors.New("reading /var/lib/store"), http.StatusInternalServerError, "something went wrong: look for reference ", true},
	} {
		t.Run(name, func(t *testing.T) {
			core, logs := observer.New(zapcore.ErrorLevel)
			w := httptest.NewRecorder()
			reply(w, httptest.NewRequest(http.MethodPost, "/mfa/users/ada/access-code", nil), "https://login.example.com", zap.New(core), nil, test.err)
			var answer Failure
			if err := json.Unmarshal(w.Body.Bytes(), &answer); err != nil {
				t.Fatal(err)
			}
			if w.Code != test.status || !strings.HasPrefix(answer.Error, test.says) || answer.Portal != "https://login.example.com" {
				t.Errorf("%d %+v", w.Code, answer)
			}
			if logs.Len() > 0 != test.logged {
				t.Fatalf("logged %d times", logs.Len())
			}
			if test.logged && !strings.Contains(answer.Error, logs.All()[0].ContextMap()["reference"].(string)) {
				t.Errorf("another reference is in the log than in %q", answer.Error)
			}
		})
	}
}
