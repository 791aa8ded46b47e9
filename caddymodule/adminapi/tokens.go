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

func tokenOf(t accounts.ListedToken) (Token, error) {
	shown := Token{
		Name: t.Name, Personal: t.UserID != "", User: t.User, Owner: t.Owner, Groups: t.Groups, Status: "valid",
		Created: t.Created, Expires: t.Expires, Revoked: t.Revoked, LastUsed: t.LastUsed,
	}
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

// show returns a token as answers contain it.
func (s *Server) show(ctx context.Context, t store.AccessToken) (Token, error) {
	named, err := s.Desk.Listed(ctx, t)
	if err != nil {
		return Token{}, err
	}
	return tokenOf(named)
}

// oneToken is an operation on a service token, or on an app password of the user in the
// query.
func oneToken(do func(desk *accounts.Desk, ctx context.Context, n accounts.TokenName) (store.AccessToken, error)) operation {
	return func(ctx context.Context, s *Server, r *http.Request) (any, error) {
		t, err := do(s.Desk, ctx, accounts.TokenName{Name: r.PathValue("name"), User: r.URL.Query().Get("user")})
		if err != nil {
			return nil, err
		}
		return s.show(ctx, t)
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
	if err := s.checkServed(in.Scope); err != nil {
		return nil, err
	}
	made, secret, err := s.Desk.CreateToken(ctx, accounts.NewToken{
		Name: in.Name, Groups: in.Groups, Scope: in.Scope, Lifetime: time.Duration(in.Lifetime) * time.Second, Owner: in.Owner,
	})
	if err != nil {
		return nil, err
	}
	shown, err := s.show(ctx, made)
	return MadeToken{Token: secret, Made: shown}, err
}

// checkServed refuses a scope with hosts at which no gate would ever take the token. What
// isn't a host name is left to others, who say so.
func (s *Server) checkServed(scope accesstoken.Scope) error {
	checked, err := scope.Checked()
	if err != nil {
		return nil
	}
	for _, host := range checked.Hosts {
		if !s.Serves(host) {
			return accesstoken.ScopeError(fmt.Sprintf("No site with mfa has the host %s in this configuration: add the site first.", host))
		}
	}
	return nil
}

func renewToken(ctx context.Context, s *Server, r *http.Request) (any, error) {
	var in TokenRenewal
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	renewed, secret, err := s.Desk.RenewToken(ctx, accounts.TokenRenewal{
		Name: r.PathValue("name"), Lifetime: time.Duration(in.Lifetime) * time.Second, Owner: in.Owner,
	})
	if err != nil {
		return nil, err
	}
	shown, err := s.show(ctx, renewed)
	return MadeToken{Token: secret, Made: shown}, err
}

// heldToken is an operation on a token that whoever asks holds.
func heldToken(do func(desk *accounts.Desk, ctx context.Context, secret string) (store.AccessToken, error)) operation {
	return func(ctx context.Context, s *Server, r *http.Request) (any, error) {
		var in HeldToken
		if err := decode(r, &in); err != nil {
			return nil, err
		}
		t, err := do(s.Desk, ctx, in.Token)
		if err != nil {
			return nil, err
		}
		return s.show(ctx, t)
	}
}

type (
	// Token is a service token or an app password, without its secret.
	Token struct {
		Name string `json:"name"`
		// Personal says that it is an app password. User is its owner's sign-in name.
		Personal bool   `json:"personal,omitempty"`
		User     string `json:"user,omitempty"`
		// Owner is the sign-in name of the user who answers for a service token.
		Owner    string            `json:"owner,omitempty"`
		Groups   []string          `json:"groups,omitempty"`
		Scope    accesstoken.Scope `json:"scope"`
		Status   string            `json:"status"`
		Created  time.Time         `json:"created"`
		Expires  time.Time         `json:"expires"`
		Revoked  time.Time         `json:"revoked,omitzero"`
		LastUsed time.Time         `json:"last_used,omitzero"`
	}
	// NewToken asks for a new token.
	NewToken struct {
		Name     string            `json:"name"`
		Groups   []string          `json:"groups,omitempty"`
		Scope    accesstoken.Scope `json:"scope"`
		Lifetime int64             `json:"lifetime_seconds,omitempty"` // 0: 90 days
		// Owner is the sign-in name of the user who answers for it.
		Owner string `json:"owner,omitempty"`
	}
	// TokenRenewal asks for a token to be renewed.
	TokenRenewal struct {
		Lifetime int64  `json:"lifetime_seconds,omitempty"` // 0: 90 days
		Owner    string `json:"owner,omitempty"`            // none: whoever it was
	}
	// HeldToken is a token itself.
	HeldToken struct {
		Token string `json:"token"`
	}
	// MadeToken is a new token. Only this response contains the token itself.
	MadeToken struct {
		Token string `json:"token"`
		Made  Token  `json:"made"`
	}
)
