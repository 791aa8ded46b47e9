package gate

import (
	"context"
	"errors"
	"net/http"
	"time"

	"github.com/portcullis-mfa/portcullis/audit"
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

// noteRefusedToken writes down that a token was refused, once an hour for each. Of one
// that nobody holds, which anybody can make up, it says so in the log alone.
func (g *Gate) noteRefusedToken(r *request, t session.RefusedAccessToken, reason string) {
	if t.Selector == "" || reason == "" {
		return // it was never a token
	}
	now := g.Clock()
	if noted, ok := g.refusedTokens.GetIfPresent(t.Selector); ok {
		if now.Sub(noted) < refusalsApart {
			return
		}
		g.refusedTokens.Invalidate(t.Selector)
	}
	if _, first := g.refusedTokens.SetIfAbsent(t.Selector, now); !first {
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

// noteFirstUse writes down that a token opened an app for the first time.
func (g *Gate) noteFirstUse(r *request, live *session.LiveAccessToken) {
	if !live.IsFirstUse() {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), auditTimeout)
	defer cancel()
	t := nameOf(live)
	g.Audit.Record(ctx, audit.TokenUsed, t.UserID, audit.Fields{
		audit.Token: t.Name, audit.User: t.User, audit.App: r.origin, audit.Address: g.Address(r.Request),
	})
}
