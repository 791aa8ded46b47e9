package gate

import (
	"context"
	"errors"
	"net/http"
	"time"

	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/netblock"
	"github.com/portcullis-mfa/portcullis/session"
)

const (
	// refusalsApart is how far apart the events are that one token is refused.
	refusalsApart = time.Hour
	// maxRefusedTokens bounds of how many tokens the gate remembers that.
	maxRefusedTokens = 10_000
)

// The reasons why a token is refused that a session doesn't know.
const (
	tokenElsewhere = "host"    // it is for other hosts
	tokenTooOld    = "age"     // it is an app password older than the rule allows
	tokenForbidden = "outside" // the request is outside its scope, or the rule doesn't allow it
	tokenExposed   = "address" // it is in the address of the request or of the page before it
)

// refusedToken is the refusal of an access token.
type refusedToken struct {
	refusedCredential
	token  session.RefusedAccessToken
	reason string
}

func (t refusedToken) answer(g *Gate, w http.ResponseWriter, r *request) {
	g.noteRefusedToken(r, t.token, t.reason)
	t.refusedCredential.answer(g, w, r)
}

// refuseToken makes a refusal of an error that says that a token has ended.
func refuseToken(err error) refusedToken {
	refused := refusedToken{refusedCredential: refusedCredential{err}}
	if errors.As(err, &refused.token) {
		refused.reason = string(refused.token.AccessTokenRefusal)
	}
	return refused
}

// refuseLive makes a refusal of a token that counts, but not here.
func refuseLive(live *session.LiveAccessToken, reason string, err error) refusedToken {
	return refusedToken{refusedCredential{err}, nameOf(live), reason}
}

// nameOf is what events say of a token that counts.
func nameOf(live *session.LiveAccessToken) session.RefusedAccessToken {
	named := session.RefusedAccessToken{Selector: live.Selector(), Name: live.Name}
	if live.IsPersonal {
		named.UserID, named.User = live.User.ID, live.User.Name
	}
	return named
}

// noteRefusedToken writes down that a token was refused, once an hour for each, and as
// often that it was in an address. Of one that nobody holds, which anybody can make up,
// it says so in the log alone.
func (g *Gate) noteRefusedToken(r *request, t session.RefusedAccessToken, reason string) {
	if t.Selector == "" || reason == "" {
		return // it was never a token
	}
	about := t.Selector
	if reason == tokenExposed {
		about = "address " + about // else its holder could hide other refusals by it
	}
	if !g.isFirstInAWhile(about) {
		return
	}
	fields := audit.Fields{
		audit.Token: t.Name, audit.User: t.User, audit.App: r.origin, audit.Reason: reason, audit.Address: g.Address(r.Request),
	}
	if t.Name == "" {
		g.Audit.Note(audit.TokenRefused, "", fields)
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), auditTimeout)
	defer cancel()
	g.Audit.Record(ctx, audit.TokenRefused, t.UserID, fields)
}

// noteExposedToken writes down that a token was in an address, and so may be in the logs
// of whatever the request came through.
func (g *Gate) noteExposedToken(r *request) {
	if err := g.placeHost(r); err != nil {
		return // it is for no site of this gate
	}
	exposed := TokenInAddress(r.Request)
	live, err := g.SignOns.LiveAccessToken(r.Context(), session.AccessTokenLookup{Token: exposed, MaxStaleness: g.MaxStaleness})
	refused := refuseToken(err).token
	if err == nil {
		refused = nameOf(&live)
	}
	g.noteRefusedToken(r, refused, tokenExposed)
}

// isFirstInAWhile reports whether something about a token wasn't noted within the last
// hour, and notes it.
func (g *Gate) isFirstInAWhile(about string) bool {
	now := g.Clock()
	if noted, ok := g.refusedTokens.GetIfPresent(about); ok {
		if now.Sub(noted) < refusalsApart {
			return false
		}
		g.refusedTokens.Invalidate(about)
	}
	_, first := g.refusedTokens.SetIfAbsent(about, now)
	return first
}

// noteUse writes down that a token opens an app for the first time, and that an app
// password is used from a new network. A service's runner may be anywhere.
func (g *Gate) noteUse(r *request, live *session.LiveAccessToken) {
	if live.IsFirstUse() {
		g.recordOfToken(r, audit.TokenUsed, live)
	}
	if !live.IsPersonal {
		return
	}
	moves, err := live.Moves(r.Context(), g.Address(r.Request), netblock.Region)
	if err != nil {
		g.Logger.Warn("noting where an app password is used", zap.Error(err))
	}
	if moves {
		g.recordOfToken(r, audit.TokenMoved, live)
	}
}

// noteAppRefusal writes down that an app answered 401 to a program that the gate had let
// pass, once an hour for each token: the app may want a credential of its own where the
// gate took the token from. Its client then discards a token that works.
func (g *Gate) noteAppRefusal(r *request, live *session.LiveAccessToken) {
	if g.isFirstInAWhile("app " + live.Selector()) {
		g.recordOfToken(r, audit.TokenAppRefused, live)
	}
}

// recordOfToken records an event about a token that counts.
func (g *Gate) recordOfToken(r *request, n audit.Name, live *session.LiveAccessToken) {
	ctx, cancel := context.WithTimeout(r.Context(), auditTimeout)
	defer cancel()
	t := nameOf(live)
	g.Audit.Record(ctx, n, t.UserID, audit.Fields{
		audit.Token: t.Name, audit.User: t.User, audit.App: r.origin, audit.Address: g.Address(r.Request),
	})
}
