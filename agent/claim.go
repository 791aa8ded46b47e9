package agent

import (
	"context"
	"crypto"

	"github.com/portcullis-mfa/portcullis/agent/estclient"
	"github.com/portcullis-mfa/portcullis/agent/journal"
)

// Claim has somebody confirm that this machine is theirs, after it enrolled with a fleet
// token and became a pending device. The certificate stays the same.
func (a *Agent) Claim(ctx context.Context, confirm func(ctx context.Context, key crypto.Signer) (secret string, err error)) error {
	state, err := journal.Load(a.Files)
	switch {
	case err != nil:
		return err
	case state.Portal == "" || len(state.Held) == 0:
		return ErrNotEnrolled
	case state.Machine != a.Machine:
		return ErrCopied
	}
	key, err := a.key(state.Held[0].Key())
	if err != nil {
		return err
	}
	secret, err := confirm(ctx, key)
	if err != nil {
		return err
	}
	_, err = a.Dial(state.Portal).Enrol(ctx, key, estclient.Application{Name: state.Name, Secret: secret})
	return err
}
