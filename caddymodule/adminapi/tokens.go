package adminapi

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"time"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/store"
)

func tokenOf(t store.AccessToken) (Token, error) {
	shown := Token{Name: t.Name, Groups: t.Groups, Status: "valid", Created: t.Created, Expires: t.Expires, Revoked: t.Revoked}
	if err := json.Unmarshal(t.Scope, &shown.Scope); err != nil {
		return Token{}, fmt.Errorf("reading the scope of a token: %w", err)
	}
	switch {
	case !t.Revoked.IsZero():
		shown.Status = "revoked"
	case !time.Now().Before(t.Expires):
		shown.Status = "expired"
	case t.Suspended:
		shown.Status = "suspended"
	}
	return shown, nil
}

// oneToken is an operation on one token.
func oneToken(do func(desk *accounts.Desk, ctx context.Context, name string) (store.AccessToken, error)) operation {
	return func(ctx context.Context, s *Server, r *http.Request) (any, error) {
		t, err := do(s.Desk, ctx, r.PathValue("name"))
		if err != nil {
			return nil, err
		}
		return tokenOf(t)
	}
}

func listTokens(ctx context.Context, s *Server, _ *http.Request) (any, error) {
	all, err := s.Desk.Tokens(ctx)
	if err != nil {
		return nil, err
	}
	list := make([]Token, len(all))
	for i, t := range all {
		if list[i], err = tokenOf(t); err != nil {
			return nil, err
		}
	}
	return list, nil
}

func createToken(ctx context.Context, s *Server, r *http.Request) (any, error) {
	var in NewToken
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	made, secret, err := s.Desk.CreateToken(ctx, accounts.NewToken{
		Name: in.Name, Groups: in.Groups, Scope: in.Scope, Lifetime: time.Duration(in.Lifetime) * time.Second,
	})
	if err != nil {
		return nil, err
	}
	shown, err := tokenOf(made)
	return MadeToken{Token: secret, Made: shown}, err
}

type (
	// Token is a service token, without its secret.
	Token struct {
		Name    string            `json:"name"`
		Groups  []string          `json:"groups,omitempty"`
		Scope   accesstoken.Scope `json:"scope"`
		Status  string            `json:"status"`
		Created time.Time         `json:"created"`
		Expires time.Time         `json:"expires"`
		Revoked time.Time         `json:"revoked,omitzero"`
	}
	// NewToken asks for a new token.
	NewToken struct {
		Name     string            `json:"name"`
		Groups   []string          `json:"groups,omitempty"`
		Scope    accesstoken.Scope `json:"scope"`
		Lifetime int64             `json:"lifetime_seconds,omitempty"` // 0: 90 days
	}
	// MadeToken is a new token. Only this response contains the token itself.
	MadeToken struct {
		Token string `json:"token"`
		Made  Token  `json:"made"`
	}
)
