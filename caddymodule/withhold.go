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
//
// What reverse_proxy might log of a request it prepares for each one, whether or
// not anything is logged, and of that the headers cost more than all that the gate
// does. So where no log takes them they don't get there. The access log has them.

// withhold replaces the transports behind each gate where that can be: they put
// assertions in, and keep the headers of requests from being prepared for logs
// that don't take them. It warns of what logs may hold all the same. It must be
// called before any gate lets anything through.
func (a *App) withhold(outlets []layout.Outlet) {
	standIn := "assertion-" + rand.Text() // which no client can know
	shown := a.logsDebug("http.handlers.reverse_proxy")
	replaced := make(map[*reverseproxy.Handler]bool)
	for _, out := range outlets {
		if gate, ok := out.Gate.(*Gate); ok && gate.Assertion {
			gate.standIn = a.standIn(out, standIn)
		}
		for _, proxy := range out.Fit {
			if !replaced[proxy] {
				proxy.Transport, replaced[proxy] = &outgoing{proxy.Transport, standIn, shown || matchesRetries(proxy)}, true
			}
		}
	}
}

// standIn returns what stands in for the assertions of a gate, and warns of what
// logs may hold; empty: they can't be kept out of logs.
func (a *App) standIn(out layout.Outlet, text string) string {
	if why := a.loggedFrom(out); why != "" {
		a.logger.Warn(fmt.Sprintf("%s: %s, so Caddy's logs may contain the header X-Mfa-Assertion, and anyone who reads it there can act as that person for some minutes: write into each log:\n%s", out.At, why, layout.LogFilter))
	}
	if out.Unfit != "" {
		return ""
	}
	return text
}

// matchesRetries reports whether a proxy may look at the headers of a request
// once it was sent: to decide whether to send it once more.
func matchesRetries(proxy *reverseproxy.Handler) bool {
	return proxy.LoadBalancing != nil && len(proxy.LoadBalancing.RetryMatch) > 0
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

// outgoing is a transport that sends a copy of each request, with the assertion
// in it. Only requests that a gate has passed come to it.
type outgoing struct {
	http.RoundTripper
	standIn string
	// shown says that reverse_proxy logs the headers of what it sends, or looks at
	// them afterwards.
	shown bool
}

// RoundTrip implements http.RoundTripper. Its request is reverse_proxy's own,
// which takes no headers from it afterwards but for its log, unless an upgrade was
// asked for. So where nobody looks at the headers they go with the copy.
func (t *outgoing) RoundTrip(r *http.Request) (*http.Response, error) {
	assertion := ""
	if visitor, _ := caddyhttp.GetVar(r.Context(), passedVar).(*passed); visitor != nil {
		assertion = visitor.Assertion
	}
	shown := t.shown || r.Header["Upgrade"] != nil
	if shown && assertion == "" {
		return t.RoundTripper.RoundTrip(r)
	}
	sent := *r
	if shown {
		sent.Header = r.Header.Clone()
	} else {
		r.Header = nil
	}
	if assertion != "" {
		t.reveal(sent.Header, assertion)
	}
	return t.RoundTripper.RoundTrip(&sent)
}

// reveal puts the assertion wherever an operator may have copied it. A header
// that was sent before it leaves alone, since that may still be read.
func (t *outgoing) reveal(header http.Header, assertion string) {
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

// Unwrap returns the transport that sends.
func (t *outgoing) Unwrap() http.RoundTripper { return t.RoundTripper }

// RequiresContentLength implements reverseproxy.ContentLengthRequiredTransport.
func (t *outgoing) RequiresContentLength() bool {
	inner, ok := t.RoundTripper.(reverseproxy.ContentLengthRequiredTransport)
	return ok && inner.RequiresContentLength()
}

// ProxyProtocolEnabled implements reverseproxy.ProxyProtocolTransport.
func (t *outgoing) ProxyProtocolEnabled() bool {
	inner, ok := t.RoundTripper.(reverseproxy.ProxyProtocolTransport)
	return ok && inner.ProxyProtocolEnabled()
}

// Interface guards
var (
	_ reverseproxy.ContentLengthRequiredTransport = (*outgoing)(nil)
	_ reverseproxy.ProxyProtocolTransport         = (*outgoing)(nil)
)
