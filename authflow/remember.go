package authflow

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/person"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/token"
)

// SharedIdle is the idle limit of a sign-on at a shared computer, unless the
// operator's is shorter.
const SharedIdle = 10 * time.Minute

// ErrNoBrowser says that somebody has no such browser.
var ErrNoBrowser = errors.New("no such browser of this user")

// RememberFor returns how long the browser can stand in for a second factor
// that a flow asks for; 0: not at all. A step-up is there to have something
// shown, a shared computer is nobody's browser, backup codes work once, and who
// reports a loss may not be the owner.
func (e *Engine) RememberFor(f Flow, kind assurance.Factor) time.Duration {
	if !mayRecall(f) || !e.Vault.Factors.Traits(kind).Recalls || len(f.Lost) > 0 {
		return 0
	}
	return e.Rules.Remember
}

// mayRecall reports whether a browser may stand in for anything in a flow.
func mayRecall(f Flow) bool { return f.Kind == SignIn && !f.Shared }

// recalled returns a flow with what the browser stands in for, if its person
// had it remembered. The proof is never kept in the flow: each step reads anew,
// so whoever forgets a browser is heard in the middle of a flow too.
func (e *Engine) recalled(ctx context.Context, r browserReader, f Flow, who Person) (Flow, error) {
	if f.Browser == "" || who.NewPassword || !mayRecall(f) || e.Rules.Remember <= 0 || assurance.Of(f.Proofs, e.Vault.Factors.Weights()) >= assurance.Multi {
		return f, nil
	}
	b, err := r.BrowserByToken(ctx, f.UserID, f.Browser)
	if errors.Is(err, store.ErrNotFound) {
		return f, nil
	}
	if err != nil {
		return Flow{}, fmt.Errorf("looking for a remembered browser: %w", err)
	}
	if now := e.Clock(); standsIn(b, who, e.Vault.Factors, now) {
		f.Proofs = assurance.Add(f.Proofs, assurance.Proof{Factor: b.RememberedFor, At: now, Remembered: true})
	}
	return f, nil
}

type browserReader interface {
	BrowserByToken(ctx context.Context, userID, tokenHash string) (store.Browser, error)
}

// standsIn reports whether a browser counts in place of the factor that it is
// remembered for: in time, and while the user could show that factor instead.
func standsIn(b store.Browser, who Person, set factors.Set, now time.Time) bool {
	return person.IsRemembered(b, now) && set.Traits(b.RememberedFor).Recalls && who.Have[b.RememberedFor]
}

// keepBrowser makes the browser a known one of the user, or a remembered one
// where the flow asks for that. It returns the token that the browser is to
// keep, empty for none, and whether it was known before. A token that the user
// never had is not taken on, since somebody else may have put it there: a fresh
// one comes in its place. So it does where the browser is remembered, since
// from then on its token is worth more than whoever saw the old one has.
//
// A password alone makes no browser known, and yields no token: else whoever
// stole one would get, with each browser that it lets in somewhere, another
// count of guesses at the second factor. Neither does a remembered browser's
// word, nor a device's certificate, which comes with whoever sits at the device.
// A shared computer's browser is left as it was.
func (e *Engine) keepBrowser(ctx context.Context, tx store.Tx, f Flow, s store.SignOn, had, fresh string) (string, bool, error) {
	b, err := tx.BrowserByToken(ctx, s.UserID, token.Hash(had))
	if err != nil && !errors.Is(err, store.ErrNotFound) {
		return "", false, err
	}
	known := err == nil
	switch {
	case s.Shared:
		return "", known, nil
	case known && f.Remember == "":
		return had, known, tx.TouchBrowser(ctx, b.ID, e.Clock())
	case twoFactors.Missing(assurance.Shown(s.Proofs), e.Clock(), e.Vault.Factors.Weights()) != assurance.Nothing:
		return "", known, nil
	}
	if known {
		if err := tx.RememberBrowser(ctx, s.UserID, b.ID, time.Time{}, ""); err != nil {
			return "", known, err
		}
	}
	return fresh, known, tx.CreateBrowser(ctx, e.newBrowser(f, s, fresh))
}

// twoFactors asks for two that people have shown: no device's certificate.
var twoFactors = assurance.Requirement{Level: assurance.Multi}

// newBrowser is the entry of the browser in which a flow was finished.
func (e *Engine) newBrowser(f Flow, s store.SignOn, fresh string) store.Browser {
	now := e.Clock()
	b := store.Browser{
		ID: token.Hash("browser\x00" + fresh), UserID: s.UserID, TokenHash: token.Hash(fresh),
		UserAgent: s.UserAgent, Created: now, LastSeen: now,
	}
	if f.Remember != "" {
		b.Remembered, b.RememberedFor = now.Add(e.Rules.Remember), f.Remember
	}
	return b
}
