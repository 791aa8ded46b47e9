package adminapi

import (
	"context"
	"net/http"
	"strings"
)

type (
	// Health says whether the server can do its work. The status of the response is
	// 200 or 503.
	Health struct {
		Healthy bool    `json:"healthy"`
		Checks  []Check `json:"checks"`
		// Error says what is wrong, in the same field as a Failure.
		Error string `json:"error,omitempty"`
	}
	// Check is one thing that the server needs.
	Check struct {
		Name  string `json:"name"`
		OK    bool   `json:"ok"`
		Error string `json:"error,omitempty"`
	}
)

// status is the HTTP status of the response.
func (h Health) status() int {
	if h.Healthy {
		return http.StatusOK
	}
	return http.StatusServiceUnavailable
}

func showHealth(ctx context.Context, s *Server, _ *http.Request) (any, error) {
	h := Health{Healthy: true, Checks: s.Health(ctx)}
	var wrong []string
	for _, c := range h.Checks {
		if !c.OK {
			wrong = append(wrong, c.Name+": "+c.Error)
		}
	}
	if len(wrong) > 0 {
		h.Healthy, h.Error = false, strings.Join(wrong, "; ")
	}
	return h, nil
}
