package caddymodule

import (
	"crypto/rand"
	"fmt"
	"net/http"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"
	"go.uber.org/zap"

	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
)

// Caddy's handlers write the headers of requests into the log, that of an
// assertion included: reverse_proxy at the level WARN when a stream is cut, and
// several at DEBUG. So on its way through the handlers a request has a text in
// place of the assertion, and only the transport of reverse_proxy, which sends a
// copy, puts the assertion in.

// withhold has assertions put in by the transports behind each gate where that
// can be, and warns of what logs may hold all the same. It must be called before
// any gate lets anything through.
func (a *App) withhold(outlets []layout.Outlet) {
	standIn := "assertion-" + rand.Text() // which no client can know
	shown := a.logsDebug("http.handlers.reverse_proxy")
	wrapped := make(map[*reverseproxy.Handler]bool)
	for _, out := range outlets {
		if why := a.loggedFrom(out); why != "" {
			a.logger.Warn(fmt.Sprintf("%s: %s, so Caddy's logs may hold the header X-Mfa-Assertion, with which whoever reads it can act as that person for some minutes: write into each log:\n%s", out.At, why, layout.LogFilter))
		}
		gate, ok := out.Gate.(*Gate)
		if !ok || out.Unfit != "" {
			continue
		}
		gate.standIn = standIn
		for _, proxy := range out.Proxies {
			if !wrapped[proxy] {
				proxy.Transport, wrapped[proxy] = &revealingTransport{proxy.Transport, standIn, shown}, true
			}
		}
	}
}

// loggedFrom says why logs may hold an assertion; empty: they don't.
func (a *App) loggedFrom(out layout.Outlet) string {
	switch {
	case out.Unfit != "":
		return out.Unfit
	case out.Verbose != "" && a.logsDebug(out.Verbose):
		return fmt.Sprintf("the transport %s logs what it sends, and a log is at the level DEBUG", out.Verbose.Name())
	}
	return ""
}

// logsDebug reports whether a log takes the module's entries at the level DEBUG.
func (a *App) logsDebug(id caddy.ModuleID) bool {
	return a.ctx.Logger(moduleNamed(id)).Core().Enabled(zap.DebugLevel)
}

// moduleNamed is a module of which only the name matters.
type moduleNamed caddy.ModuleID

// CaddyModule implements caddy.Module.
func (m moduleNamed) CaddyModule() caddy.ModuleInfo { return caddy.ModuleInfo{ID: caddy.ModuleID(m)} }

// revealingTransport puts the assertion into a copy of each request that it
// sends. Only requests that a gate has passed come to it.
type revealingTransport struct {
	http.RoundTripper
	standIn string
	// shown says that reverse_proxy logs what it sends.
	shown bool
}

// RoundTrip implements http.RoundTripper. Its request is reverse_proxy's own,
// and when it is logged afterwards, that costs as much as all that the gate does.
// So the headers are copied only where somebody looks at them: in a log at the
// level DEBUG, and where reverse_proxy looks for the upgrade that it asked for.
// Else what the app gets goes with the copy, and what came through the gate is
// logged.
func (t *revealingTransport) RoundTrip(r *http.Request) (*http.Response, error) {
	visitor, _ := caddyhttp.GetVar(r.Context(), passedVar).(*passed)
	if visitor == nil || visitor.Assertion == "" {
		return t.RoundTripper.RoundTrip(r)
	}
	sent := *r
	if t.shown || r.Header["Upgrade"] != nil {
		sent.Header = r.Header.Clone()
	} else {
		r.Header = visitor.Header
	}
	t.reveal(sent.Header, visitor.Assertion)
	return t.RoundTripper.RoundTrip(&sent)
}

// reveal puts the assertion wherever an operator may have copied it. A header
// that was sent before it leaves alone, since that may still be read.
func (t *revealingTransport) reveal(header http.Header, assertion string) {
	for _, values := range header {
		for i, value := range values {
			switch {
			case value == t.standIn:
				values[i] = assertion
			case strings.Contains(value, t.standIn):
				values[i] = strings.ReplaceAll(value, t.standIn, assertion)
			}
		}
	}
}

// RequiresContentLength implements reverseproxy.ContentLengthRequiredTransport.
func (t *revealingTransport) RequiresContentLength() bool {
	inner, ok := t.RoundTripper.(reverseproxy.ContentLengthRequiredTransport)
	return ok && inner.RequiresContentLength()
}

// ProxyProtocolEnabled implements reverseproxy.ProxyProtocolTransport.
func (t *revealingTransport) ProxyProtocolEnabled() bool {
	inner, ok := t.RoundTripper.(reverseproxy.ProxyProtocolTransport)
	return ok && inner.ProxyProtocolEnabled()
}

// Interface guards
var (
	_ reverseproxy.ContentLengthRequiredTransport = (*revealingTransport)(nil)
	_ reverseproxy.ProxyProtocolTransport         = (*revealingTransport)(nil)
)
