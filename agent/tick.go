package agent

import (
	"context"
	"crypto"
	"crypto/x509"
	"errors"
	"fmt"
	"hash/fnv"
	"net/http"
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/agent/estclient"
	"github.com/portcullis-mfa/portcullis/agent/journal"
)

const (
	// firstWait is how long the agent waits after a failure. The wait doubles with each
	// further one, up to longestWait.
	firstWait   = time.Minute
	longestWait = 6 * time.Hour
)

// install puts the identity that is coming into each store that lacks it. One store
// that fails keeps the others from nothing; the next Tick tries again.
func (a *Agent) install(ctx context.Context, state *journal.State, key crypto.Signer, chain []*x509.Certificate) error {
	var failed error
	for _, store := range a.Stores(state.Out) {
		if slices.Contains(state.Coming.Installed, store.Name()) {
			continue
		}
		if err := store.Install(ctx, key, chain); err != nil {
			failed = errors.Join(failed, fmt.Errorf("installing the certificate to %s: %w", store.Name(), err))
			continue
		}
		state.Coming.Installed = append(state.Coming.Installed, store.Name())
		if err := journal.Save(a.Files, *state); err != nil {
			return err
		}
	}
	return failed
}

// Tick does what is due: it finishes what was begun, renews the certificate, and
// removes those that have expired. It is called about once an hour.
func (a *Agent) Tick(ctx context.Context) error {
	state, err := journal.Load(a.Files)
	switch {
	case err != nil:
		return err
	case state.Portal == "":
		return ErrNotEnrolled
	case state.Machine != a.Machine:
		return ErrCopied
	case state.Leaving:
		return a.leave(ctx, &state)
	case state.Problem != "":
		return errors.New(state.Problem)
	case len(state.Held) == 0 && state.Secret == "":
		return ErrUnconfirmed
	case a.Clock().Before(state.NotBefore) && state.NotBefore.Sub(a.Clock()) <= longestWait:
		return nil
	}
	if state.Coming == nil && len(state.Held) > 0 && !a.Clock().Before(renewal(state.Held[0])) {
		state.Coming = &journal.Identity{ID: newID()}
		if err := journal.Save(a.Files, state); err != nil {
			return err
		}
	}
	if state.Coming != nil {
		if err := a.obtain(ctx, &state); err != nil {
			return errors.Join(err, a.noteFailure(&state, err))
		}
	}
	return errors.Join(a.catchUp(ctx, &state), a.dropExpired(ctx, &state))
}

// renewal is when a certificate is renewed: at two thirds of its lifetime, and up to a
// tenth later, so that machines which were enrolled together don't all come at once.
func renewal(i journal.Identity) time.Time {
	lifetime := i.Expires.Sub(i.Issued)
	hash := fnv.New32a()
	_, _ = hash.Write([]byte(i.Fingerprint)) // never fails
	jitter := time.Duration(float64(lifetime) / 10 * float64(hash.Sum32()%1000) / 1000)
	return i.Issued.Add(lifetime*2/3 + jitter)
}

// noteFailure decides what follows from a failure: the portal's definite answers need
// somebody to act, everything else is tried again.
func (a *Agent) noteFailure(state *journal.State, err error) error {
	var answer *estclient.StatusError
	if errors.As(err, &answer) && slices.Contains([]int{http.StatusUnauthorized, http.StatusConflict, http.StatusGone}, answer.Status) {
		state.Problem = answer.Text
		return journal.Save(a.Files, *state)
	}
	wait := min(firstWait<<min(state.Failures, 10), longestWait)
	state.Failures++
	state.NotBefore = a.Clock().Add(wait)
	return journal.Save(a.Files, *state)
}

// catchUp installs the newest certificate to stores that have come since.
func (a *Agent) catchUp(ctx context.Context, state *journal.State) error {
	if len(state.Held) == 0 {
		return nil
	}
	newest := &state.Held[0]
	key, err := a.key(newest.Key())
	if err != nil {
		return err
	}
	chain, err := a.chain(*newest)
	if err != nil {
		return err
	}
	var failed error
	for _, store := range a.Stores(state.Out) {
		if slices.Contains(newest.Installed, store.Name()) {
			continue
		}
		if err := store.Install(ctx, key, chain); err != nil {
			failed = errors.Join(failed, fmt.Errorf("installing the certificate to %s: %w", store.Name(), err))
			continue
		}
		newest.Installed = append(newest.Installed, store.Name())
		failed = errors.Join(failed, journal.Save(a.Files, *state))
	}
	return failed
}

// dropExpired removes certificates that have expired and been replaced.
func (a *Agent) dropExpired(ctx context.Context, state *journal.State) error {
	for len(state.Held) > 1 && a.Clock().After(state.Held[len(state.Held)-1].Expires) {
		old := state.Held[len(state.Held)-1]
		if err := a.uninstall(ctx, old, state.Out); err != nil {
			return err
		}
		state.Held = state.Held[:len(state.Held)-1]
		if err := journal.Save(a.Files, *state); err != nil {
			return err
		}
		if err := a.discard(old); err != nil {
			return err
		}
	}
	return nil
}

// uninstall removes an identity from the stores.
func (a *Agent) uninstall(ctx context.Context, i journal.Identity, out string) error {
	chain, err := a.chain(i)
	if err != nil {
		return nil // it never had a certificate
	}
	var failed error
	for _, store := range a.Stores(out) {
		if err := store.Remove(ctx, chain); err != nil {
			failed = errors.Join(failed, fmt.Errorf("removing the certificate from %s: %w", store.Name(), err))
		}
	}
	return failed
}

// Status returns where the agent is.
func (a *Agent) Status() (journal.State, error) {
	state, err := journal.Load(a.Files)
	state.Secret = ""
	return state, err
}

// Remove has the device revoked, and deletes its certificates and keys. If the portal
// can't be reached, nothing is deleted, and Tick goes on with it.
func (a *Agent) Remove(ctx context.Context) error {
	state, err := journal.Load(a.Files)
	switch {
	case err != nil:
		return err
	case state.Portal == "":
		return ErrNotEnrolled
	}
	state.Leaving = true
	if err := journal.Save(a.Files, state); err != nil {
		return err
	}
	return a.leave(ctx, &state)
}

func (a *Agent) leave(ctx context.Context, state *journal.State) error {
	if err := a.retire(ctx, state); err != nil {
		return fmt.Errorf("the device isn't removed yet; mfa-agent tick will try again: %w", err)
	}
	all := slices.Clone(state.Held)
	if state.Coming != nil {
		all = append(all, *state.Coming)
	}
	for _, identity := range all {
		if err := a.uninstall(ctx, identity, state.Out); err != nil {
			return err
		}
	}
	for _, identity := range all {
		if err := a.discard(identity); err != nil {
			return err
		}
	}
	return journal.Forget(a.Files)
}

// retire has the portal revoke the device. An answer that it won't is one, too: there
// is nothing to revoke any more.
func (a *Agent) retire(ctx context.Context, state *journal.State) error {
	if len(state.Held) == 0 || state.Retired {
		return nil
	}
	key, err := a.key(state.Held[0].Key())
	if err != nil {
		return err
	}
	chain, err := a.chain(state.Held[0])
	if err != nil {
		return err
	}
	err = a.Dial(state.Portal).Retire(ctx, chain[0], key)
	var answer *estclient.StatusError
	if err != nil && (!errors.As(err, &answer) || answer.Status >= http.StatusInternalServerError) {
		return err
	}
	state.Retired = true
	return journal.Save(a.Files, *state)
}
