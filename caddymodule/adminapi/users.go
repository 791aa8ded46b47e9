package adminapi

import (
	"context"
	"errors"
	"net/http"
	"slices"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/store"
)

func (s *Server) linkOf(kind, token string) Link {
	return Link{Link: s.LinkURL(kind, token), Expires: time.Now().Add(authflow.LinkLifetime).UTC().Truncate(time.Second)}
}

func setupLink(ctx context.Context, s *Server, _ *http.Request) (any, error) {
	token, err := s.Flows.NewSetupLink(ctx)
	if err != nil {
		return nil, err
	}
	return s.linkOf("setup", token), nil
}

func listUsers(ctx context.Context, s *Server, _ *http.Request) (any, error) {
	users, err := s.Desk.List(ctx)
	list := make([]User, len(users))
	for i, u := range users {
		list[i] = userOf(u)
	}
	return list, err
}

func addUser(ctx context.Context, s *Server, r *http.Request) (any, error) {
	var in NewUser
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	user, token, err := s.Desk.Add(ctx, accounts.NewUser(in))
	if err != nil {
		return nil, err
	}
	return s.invitedOf(user, token), nil
}

// invitedOf answers with an invitation, or with where it is being sent.
func (s *Server) invitedOf(user store.User, token string) Invited {
	link := s.linkOf("invitation", token)
	if token == "" {
		return Invited{SentTo: user.Email, Expires: link.Expires}
	}
	return Invited{Link: link.Link, Expires: link.Expires}
}

func showUser(ctx context.Context, s *Server, r *http.Request) (any, error) {
	person, err := s.Desk.Show(ctx, r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return personOf(person), nil
}

func setUser(ctx context.Context, s *Server, r *http.Request) (any, error) {
	var in Changes
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	user, err := s.Desk.Set(ctx, r.PathValue("name"), accounts.Changes(in))
	if err != nil {
		return nil, err
	}
	shown := userOf(user)
	return s.done(ctx, &shown), nil
}

func deleteUser(ctx context.Context, s *Server, r *http.Request) (any, error) {
	person, err := s.Desk.Delete(ctx, r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	deleted := personOf(person)
	return s.done(ctx, &deleted), nil
}

func disableUser(ctx context.Context, s *Server, r *http.Request) (any, error) {
	if err := s.Desk.Disable(ctx, r.PathValue("name")); err != nil {
		return nil, err
	}
	return s.done(ctx, nil), nil
}

// done answers that something was done to a user, and warns where no
// administrator is left that way. That this can't be told is no reason to call
// undone what was done.
func (s *Server) done(ctx context.Context, user *User) Done {
	answer := Done{User: user}
	if s.IsAdmin == nil {
		return answer
	}
	users, err := s.Desk.List(ctx)
	if err != nil {
		s.Logger.Warn("looking for administrators", zap.Error(err))
		return answer
	}
	if !slices.ContainsFunc(users, func(u store.User) bool { return u.Status == store.UserActive && s.IsAdmin(u) }) {
		answer.Warning = "no active user is an administrator now"
	}
	return answer
}

func inviteUser(ctx context.Context, s *Server, r *http.Request) (any, error) {
	var in NewInvitation
	if r.ContentLength != 0 {
		if err := decode(r, &in); err != nil {
			return nil, err
		}
	}
	user, token, err := s.Desk.Invite(ctx, r.PathValue("name"), in.Send)
	if err != nil {
		return nil, err
	}
	return s.invitedOf(user, token), nil
}

func accessCode(ctx context.Context, s *Server, r *http.Request) (any, error) {
	code, err := s.Desk.AccessCode(ctx, r.PathValue("name"))
	if err != nil {
		return nil, err
	}
	return codeOf(code), nil
}

func codeOf(code string) *Code {
	return &Code{Code: code, Expires: time.Now().Add(authflow.AccessCodeLifetime).UTC().Truncate(time.Second)}
}

// resetFactors resets somebody's factors, and gives what they need to set up
// new ones; a disabled user gets nothing before they are enabled.
func resetFactors(ctx context.Context, s *Server, r *http.Request) (any, error) {
	var in Reset
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	name := r.PathValue("name")
	done, err := s.Desk.ResetFactors(ctx, name, in.Password)
	if err != nil {
		return nil, err
	}
	answer := ResetDone{Factors: []string{}, Ended: done.Ended}
	for _, kind := range done.Factors {
		answer.Factors = append(answer.Factors, string(kind))
	}
	if in.Password {
		_, token, err := s.Desk.Invite(ctx, name, false)
		if errors.Is(err, authflow.ErrSetUp) {
			return answer, nil
		}
		link := s.linkOf("invitation", token)
		answer.Link = &link
		return answer, err
	}
	code, err := s.Desk.AccessCode(ctx, name)
	if errors.Is(err, authflow.ErrNotActive) {
		return answer, nil
	}
	answer.Code = codeOf(code)
	return answer, err
}

func unlockUser(ctx context.Context, s *Server, r *http.Request) (any, error) {
	wasPaused, err := s.Desk.Unlock(ctx, r.PathValue("name"))
	return Unlocked{wasPaused}, err
}

// onUser is an operation that changes a user and returns nothing else.
func onUser(do func(*accounts.Desk, context.Context, string) error) operation {
	return func(ctx context.Context, s *Server, r *http.Request) (any, error) {
		return struct{}{}, do(s.Desk, ctx, r.PathValue("name"))
	}
}

func rotateKeys(ctx context.Context, s *Server, _ *http.Request) (any, error) {
	return struct{}{}, s.RotateKeys(ctx)
}
