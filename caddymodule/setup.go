package caddymodule

import (
	"context"
	"errors"
	"fmt"
	"os"
	"sync"

	"golang.org/x/term"

	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/store"
)

// offered says that this process has spoken of the first administrator: a
// reload doesn't repeat it.
var offered sync.Once

// offerSetup says how the first administrator gets in, where there is none. A
// link is shown to a person at a terminal only, since logs are kept and read.
func (a *App) offerSetup(ctx context.Context, s *service) error {
	active, err := s.store.CountUsers(ctx, store.UserActive)
	if err != nil || active > 0 {
		return err
	}
	offered.Do(func() {
		if !term.IsTerminal(int(os.Stderr.Fd())) {
			a.logger.Info("nobody has an account yet: run `caddy mfa setup-link` for a link to set up the first administrator")
			return
		}
		var token string
		if token, err = s.flows.NewSetupLink(ctx); err != nil {
			return
		}
		fmt.Fprintf(os.Stderr, "\n  Nobody is set up yet. Open this link to become the first administrator:\n\n    %s\n\n", a.linkURL("setup", token))
	})
	if errors.Is(err, authflow.ErrHasUsers) {
		return nil
	}
	return err
}

// linkURL is the address under which a setup link or invitation is opened.
func (a *App) linkURL(kind, token string) string {
	return a.portal.String() + "/" + kind + "?token=" + token
}
