package adminapi

import (
	"context"
	"net/http"
)

func listSessions(ctx context.Context, s *Server, r *http.Request) (any, error) {
	live, err := s.Desk.SignOns(ctx, r.URL.Query().Get("user"))
	list := make([]Session, len(live))
	for i, s := range live {
		list[i] = sessionOf(s.SignOn, s.User)
	}
	return list, err
}

func endSession(ctx context.Context, s *Server, r *http.Request) (any, error) {
	return Ended{1}, s.Desk.EndSignOn(ctx, r.PathValue("id"))
}

func endSessionsOf(ctx context.Context, s *Server, r *http.Request) (any, error) {
	ended, err := s.Desk.EndSignOnsOf(ctx, r.PathValue("name"))
	return Ended{ended}, err
}

func forgetBrowser(ctx context.Context, s *Server, r *http.Request) (any, error) {
	return struct{}{}, s.Desk.ForgetBrowser(ctx, r.PathValue("name"), r.PathValue("id"))
}
