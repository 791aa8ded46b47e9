package adminapi

import (
	"errors"
	"net/http"

	"github.com/caddyserver/caddy/v2"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/enrolment"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/store"
)

// Failure is how the admin API says that something wasn't done: as Caddy's
// own does, and of which portal.
type Failure struct {
	Error  string `json:"error"`
	Portal string `json:"portal,omitempty"`
}

// definite are the errors that say all there is to say. What was being done
// when they came up is of no use to whoever typed the command.
var definite = []struct {
	err    error
	status int
}{
	{accounts.ErrNobody, http.StatusNotFound},
	{accounts.ErrNoSignOn, http.StatusNotFound},
	{accounts.ErrNoBrowser, http.StatusNotFound},
	{accounts.ErrNoDevice, http.StatusNotFound},
	{enrolment.ErrNoFleet, http.StatusNotFound},
	{accounts.ErrNoToken, http.StatusNotFound},
	{accounts.ErrNoAppPassword, http.StatusNotFound},
	{accounts.ErrTaken, http.StatusConflict},
	{accounts.ErrTokenTaken, http.StatusConflict},
	{accounts.ErrNoOwner, http.StatusConflict},
	{accounts.ErrTokenSuspended, http.StatusConflict},
	{accounts.ErrNotSetUp, http.StatusConflict},
	{accounts.ErrNoCA, http.StatusConflict},
	{accounts.ErrRevoked, http.StatusConflict},
	{authflow.ErrHasUsers, http.StatusConflict},
	{authflow.ErrSetUp, http.StatusConflict},
	{authflow.ErrNoMail, http.StatusConflict},
	{authflow.ErrOnlyByMail, http.StatusConflict},
	{accounts.ErrNoAddress, http.StatusConflict},
	{authflow.ErrNotActive, http.StatusConflict},
}

// failure returns the status of an error, and what is said of it.
func failure(err error) (int, string) {
	for _, known := range definite {
		if errors.Is(err, known.err) {
			return known.status, known.err.Error()
		}
	}
	var speaks interface{ Text() string }
	var soon *keys.TooSoonError
	var api caddy.APIError
	switch {
	case errors.As(err, &api):
		return api.HTTPStatus, api.Err.Error()
	case errors.As(err, &soon):
		return http.StatusConflict, soon.Error()
	case errors.Is(err, store.ErrNotFound):
		return http.StatusNotFound, "somebody else deleted it at the same moment"
	case errors.Is(err, store.ErrConflict):
		return http.StatusConflict, "somebody else changed the same at the same moment: try again"
	case errors.Is(err, store.ErrBusy):
		return http.StatusServiceUnavailable, "the store is too busy: try again in a moment"
	case errors.As(err, &speaks):
		return http.StatusUnprocessableEntity, speaks.Text()
	}
	return http.StatusInternalServerError, err.Error()
}
