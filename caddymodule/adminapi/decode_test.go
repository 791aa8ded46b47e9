package adminapi

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
)

// TestL02AdminBodies reads bodies that no command sends.
func TestL02AdminBodies(t *testing.T) {
	for name, test := range map[string]struct {
		body   io.Reader
		status int // 0: it can be read
	}{
		"one value":              {strings.NewReader("{\"name\":\"ada\"}\n"), 0},
		"nothing":                {strings.NewReader(""), http.StatusBadRequest},
		"two values":             {strings.NewReader(`{"name":"ada"}{"name":"bob"}`), http.StatusBadRequest},
		"an unknown field":       {strings.NewReader(`{"name":"ada","admin":true}`), http.StatusBadRequest},
		"deep nesting":           {strings.NewReader(`{"name":` + strings.Repeat("[", maxBody/2)), http.StatusBadRequest},
		"a value without end":    {strings.NewReader(`{"name":"` + strings.Repeat("x", 2*maxBody)), http.StatusRequestEntityTooLarge},
		"blanks without end":     {strings.NewReader(`{"name":"ada"}` + strings.Repeat(" ", 2*maxBody)), http.StatusRequestEntityTooLarge},
		"a body that stops":      {stopping(`{"name":`), http.StatusRequestTimeout},
		"a body that goes quiet": {stopping(`{"name":"ada"}`), http.StatusRequestTimeout},
	} {
		t.Run(name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodPost, "/mfa/users", test.body)
			r.Body = http.MaxBytesReader(httptest.NewRecorder(), r.Body, maxBody)
			err := decode(r, new(NewUser))
			var answered caddy.APIError
			if errors.As(err, &answered); answered.HTTPStatus != test.status || (err == nil) != (test.status == 0) {
				t.Errorf("%d, %v; want %d", answered.HTTPStatus, err, test.status)
			}
		})
	}
}

// stopping is a body that ends at a deadline.
func stopping(begins string) io.Reader {
	return io.MultiReader(strings.NewReader(begins), late{})
}

type late struct{}

func (late) Read([]byte) (int, error) { return 0, os.ErrDeadlineExceeded }
