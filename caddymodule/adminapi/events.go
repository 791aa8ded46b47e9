package adminapi

import (
	"context"
	"fmt"
	"net/http"
	"net/url"
	"strconv"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/audit"
)

type (
	// Event is something that the audit log has kept.
	Event struct {
		ID     int64             `json:"id"`
		Time   time.Time         `json:"time"`
		Event  audit.Name        `json:"event"`
		UserID string            `json:"user_id,omitempty"`
		Fields map[string]string `json:"fields"`
	}
	// Events are some events, oldest first.
	Events struct {
		Events []Event `json:"events"`
		// Next is the value of `after` with which to continue.
		Next int64 `json:"next"`
	}
)

// UserField is the field of an event that holds the sign-in name of the user whom it
// is about.
const UserField = string(audit.User)

// EventFields returns the names of all fields that some event may have, sorted.
func EventFields() []string {
	all := audit.AllFields()
	names := make([]string, len(all))
	for i, field := range all {
		names[i] = string(field)
	}
	return names
}

func listEvents(ctx context.Context, s *Server, r *http.Request) (any, error) {
	query, err := eventQuery(r.URL.Query())
	if err != nil {
		return nil, caddy.APIError{HTTPStatus: http.StatusBadRequest, Err: err}
	}
	page, err := s.Desk.Events(ctx, query)
	list := Events{Events: make([]Event, len(page.Events)), Next: page.Next}
	for i, e := range page.Events {
		list.Events[i] = Event{ID: e.ID, Time: e.At.UTC(), Event: audit.Name(e.Name), UserID: e.UserID, Fields: e.Fields}
	}
	return list, err
}

// eventQuery reads the parameters of a request for events.
func eventQuery(given url.Values) (q accounts.EventQuery, err error) {
	q.User, q.Name = given.Get("user"), audit.Name(given.Get("type"))
	for name, into := range map[string]*time.Time{"since": &q.Since, "until": &q.Until} {
		if text := given.Get(name); text != "" {
			if *into, err = time.Parse(time.RFC3339, text); err != nil {
				return q, fmt.Errorf("%s=%q isn't a time such as 2026-11-30T14:05:00Z", name, text)
			}
		}
	}
	if text := given.Get("after"); text != "" {
		if q.After, err = strconv.ParseInt(text, 10, 64); err != nil || q.After < 0 {
			return q, fmt.Errorf("after=%q isn't the ID of an event", text)
		}
	}
	if text := given.Get("limit"); text != "" {
		if q.Limit, err = strconv.Atoi(text); err != nil || q.Limit < 1 {
			return q, fmt.Errorf("limit=%q isn't a number of events", text)
		}
	}
	return q, nil
}
