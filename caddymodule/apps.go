package caddymodule

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"slices"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/accounts"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
	"github.com/portcullis-mfa/portcullis/gate/canonical"
	"github.com/portcullis-mfa/portcullis/portal"
	"github.com/portcullis-mfa/portcullis/session"
	"github.com/portcullis-mfa/portcullis/templates"
)

// appsFor lists, for the portal's first page, the gated apps whose own first
// page somebody could open from where they are. An app of which that can't be
// told is listed: its gate decides when they come.
func (a *App) appsFor(r *http.Request, u session.User) []templates.App {
	var apps []templates.App
	for _, found := range a.layout.Apps {
		gate, ok := found.Gate.(*Gate)
		if !ok {
			continue
		}
		front, err := frontPage(r, found.URL, gate)
		if err != nil {
			continue
		}
		opens, err := gate.serving.Load().Opens(front, u)
		if err != nil {
			a.logger.Debug("deciding whether to list an app", zap.String("host", found.Host), zap.Error(err))
		}
		if opens || err != nil {
			apps = append(apps, templates.App{Name: found.Host, URL: found.URL + "/"})
		}
	}
	return apps
}

// appPasswordsFor lists the apps for which somebody may create app passwords, and the
// limits of those.
func (a *App) appPasswordsFor(u session.User) []portal.PasswordApp {
	var apps []portal.PasswordApp
	for _, found := range a.layout.Apps {
		gate, ok := found.Gate.(*Gate)
		if !ok {
			continue
		}
		at, err := url.Parse(found.URL)
		if err != nil {
			continue
		}
		if limits, ok := gate.serving.Load().AppPasswords(u); ok {
			apps = append(apps, portal.PasswordApp{Host: at.Hostname(), Longest: limits.Longest, Most: limits.Most})
		}
	}
	return apps
}

// frontPage is the request that the sender of r would make for the first page of
// the app at an address.
func frontPage(r *http.Request, address string, gate *Gate) (*http.Request, error) {
	u, err := url.Parse(address + "/")
	if err != nil {
		return nil, err
	}
	front := r.Clone(r.Context())
	front.Method, front.Body, front.Form, front.PostForm = http.MethodGet, http.NoBody, nil, nil
	front.Host, front.RequestURI = u.Host, "/"
	front.URL = &url.URL{Path: "/"}
	return caddyhttp.PrepareRequest(front, caddy.NewReplacer(), nil, gate.server), nil
}

// knows reports whether an origin belongs to a gate of this configuration.
func (a *App) knows(origin string) bool {
	u, err := url.Parse(origin)
	if err != nil {
		return false
	}
	name, port, err := canonical.Host(u.Host)
	if err != nil {
		return false
	}
	for _, at := range a.layout.Gates {
		if own, ok := at.Site.Origin(name, port); ok && own == origin {
			return true
		}
	}
	return false
}

// servesHost reports whether a gate of this configuration serves a host.
func (a *App) servesHost(host string) bool {
	for _, at := range a.layout.Gates {
		if slices.ContainsFunc(at.Site.Hosts, func(p origin.Pattern) bool { return p.Covers(host) }) {
			return true
		}
	}
	return false
}

// revokeFor revokes tokens for those who hold them, without saying whether there were
// any.
func revokeFor(desk *accounts.Desk) func(context.Context, string) error {
	return func(ctx context.Context, secret string) error {
		_, err := desk.RevokeHeldToken(ctx, secret)
		if errors.Is(err, accounts.ErrNoToken) {
			return nil
		}
		return err
	}
}
