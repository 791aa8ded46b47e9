package adminapi

import (
	"context"
	"net/http"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/importing"
)

const (
	importPath = "/mfa/users/import"
	// maxImport is how many bytes the body of an import may have: some hundred thousand
	// users.
	maxImport = 64 << 20
)

type (
	// Import asks for users to be added who come from another program.
	Import struct {
		Users []importing.User `json:"users"`
		// SkipBad adds the others if some can't be added. Otherwise, nobody is added.
		SkipBad bool `json:"skip_bad,omitempty"`
	}
	// Imported is the response: who was added, and what is wrong with the others.
	Imported struct {
		Added int `json:"added"`
		// WithoutPassword are users who need an invitation.
		WithoutPassword []string `json:"without_password"`
		// WithoutSecond are users who need an access code.
		WithoutSecond []string            `json:"without_second_factor"`
		Problems      []importing.Problem `json:"problems"`
	}
)

// bodyLimit is how many bytes the body of a request may have.
func bodyLimit(r *http.Request) int64 {
	if r.URL.Path == importPath {
		return maxImport
	}
	return maxBody
}

func importUsers(ctx context.Context, s *Server, r *http.Request) (any, error) {
	var in Import
	if err := decode(r, &in); err != nil {
		return nil, err
	}
	done, err := s.Desk.Import(ctx, accounts.Import(in), s.Sealing)
	return Imported(done), err
}
