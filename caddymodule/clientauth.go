package caddymodule

import (
	"crypto/tls"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
	"github.com/portcullis-mfa/portcullis/gate"
)

// certificateModes are what certificate can be, in JSON; empty is what it is by
// default.
var certificateModes = map[string]gate.CertificateMode{
	"accept":       gate.CertificateAccept,
	"require":      gate.CertificateRequire,
	"and_password": gate.CertificateAndPassword,
	"off":          gate.CertificateOff,
}

func parseCertificateMode(written string) (gate.CertificateMode, error) {
	mode, known := certificateModes[written]
	if !known {
		return 0, fmt.Errorf("certificate %s: write accept, require, and password, or off", written)
	}
	return mode, nil
}

// certificateMode reads what a gate or a rule says of certificates, and refuses
// what needs a CA where there is none.
func (a *App) certificateMode(written string) (string, error) {
	mode, err := parseCertificateMode(written)
	if err == nil && mode != gate.CertificateOff && len(a.trust()) == 0 {
		err = fmt.Errorf("certificate %s: there is no CA whose certificates could count: write certificate { ca devices } in the global option mfa", spoken(written))
	}
	return written, err
}

// spoken is how people write what JSON has in one word.
func spoken(word string) string { return strings.ReplaceAll(word, "_", " ") }

// settleCertificates finds out for each gate, and for the portal, whether TLS
// asks for certificates there, and refuses gates that rely on some which nobody
// asks for. layout.Check has been content with everything else.
func (a *App) settleCertificates(sites *caddyhttp.App, found *layout.Layout) error {
	if len(a.trust()) == 0 {
		return nil
	}
	asks := make(map[*caddyhttp.Server]asker)
	for name, server := range sites.Servers {
		asks[server] = a.askerOf(server)
		if asks[server](a.portal.Hostname()) {
			a.portalAsks = true
			found.Warnings = append(found.Warnings, warnOfHTTP3(name, server, a.portal.Hostname())...)
		}
	}
	for name, server := range sites.Servers {
		for _, g := range a.gates {
			at, placed := found.Gates[g]
			if !placed || at.ErrorRoute || g.server != server {
				continue
			}
			if err := a.settleGate(g, at.Site, asks[server]); err != nil {
				return writtenAt(g.Source, fmt.Errorf("site %s: %w", at.Site.Hosts[0].Name, err))
			}
			if g.asks && g.usesCertificates() {
				found.Warnings = append(found.Warnings, warnOfHTTP3(name, server, at.Site.Hosts[0].Name)...)
			}
		}
	}
	return nil
}

// settleGate refuses what a gate wants of certificates that its site's TLS
// doesn't ask for.
func (a *App) settleGate(g *Gate, guarded origin.Site, asks asker) error {
	unasked, unnamed := "", ""
	for _, host := range guarded.Hosts {
		if isAddress(host.Name) && comparesSNI(g.server) {
			unnamed = host.Name
		}
		if asks(host.Name) {
			g.asks = true
		} else {
			unasked = host.Name
		}
	}
	for _, rule := range append(slices.Clone(g.resolved), g.rest) {
		switch mode := certificateModes[rule.certificate]; {
		case rule.open || rule.certificate == "" || mode == gate.CertificateOff:
		case unnamed != "":
			return fmt.Errorf("certificate %s: TLS tells the server no name for a site that is an IP address, so Caddy answers every request to %s with 421 if any site asks for certificates: write a host name such as app.example.com as the site's address, or certificate off", spoken(rule.certificate), unnamed)
		case mode == gate.CertificateAccept && !g.asks && !a.portalAsks:
			return errors.New("certificate accept: neither this site's TLS nor the portal's asks for certificates: write tls { client_auth { mode request } } in one of them")
		case (mode == gate.CertificateRequire || mode == gate.CertificateAndPassword) && unasked != "":
			return fmt.Errorf("certificate %s: TLS doesn't ask for certificates at %s: write tls { client_auth { mode request } } in its site", spoken(rule.certificate), unasked)
		}
	}
	return nil
}

// isAddress reports whether a host is an IP address, which clients never name in
// TLS (RFC 6066 §3).
func isAddress(host string) bool {
	_, err := netip.ParseAddr(host)
	return err == nil
}

// comparesSNI reports whether Caddy refuses requests for another host than TLS
// was made with. It does by default once a site asks for certificates.
func comparesSNI(server *caddyhttp.Server) bool {
	return server != nil && server.StrictSNIHost != nil && *server.StrictSNIHost
}

// usesCertificates reports whether some rule looks at the certificates that the
// site's TLS asks for.
func (g *Gate) usesCertificates() bool {
	return slices.ContainsFunc(append(slices.Clone(g.resolved), g.rest), func(rule resolvedRule) bool {
		return !rule.open && g.modeOf(rule) != gate.CertificateOff
	})
}

// modeOf is what a rule does with the certificates of connections: by default
// it accepts them where the site's TLS asks for some.
func (g *Gate) modeOf(rule resolvedRule) gate.CertificateMode {
	switch {
	case !g.asks:
		return gate.CertificateOff
	case rule.certificate == "":
		return gate.CertificateAccept
	}
	return certificateModes[rule.certificate]
}

// certified returns what a rule requires, with what a certificate does for it:
// one alone stands for the default, and for nothing that was written.
func (g *Gate) certified(rule resolvedRule) assurance.Requirement {
	requirement, mode := rule.requirement, g.modeOf(rule)
	if rule.certificate == "accept" {
		mode = gate.CertificateAccept // be it by the portal
	}
	switch {
	case mode == gate.CertificateOff:
	case mode == gate.CertificateAndPassword, rule.explicit:
		requirement.Certificate = assurance.CertificateAdded
	default:
		requirement.Certificate = assurance.CertificateAlone
	}
	return requirement
}

// asker reports whether TLS asks clients of a host for a certificate.
type asker func(host string) bool

// askerOf asks a server's own TLS settings. Where they depend on more than the
// host it can't be told, and counts as no.
func (a *App) askerOf(server *caddyhttp.Server) asker {
	if len(server.TLSConnPolicies) == 0 {
		return func(string) bool { return false }
	}
	config := server.TLSConnPolicies.TLSConfig(a.ctx)
	return func(host string) (asks bool) {
		defer func() {
			if cause := recover(); cause != nil {
				asks = false // by a matcher that looks at the connection
			}
		}()
		hello := &tls.ClientHelloInfo{ServerName: strings.ReplaceAll(host, "*", "mfa-any-other")}
		chosen, err := config.GetConfigForClient(hello)
		return err == nil && chosen != nil && chosen.ClientAuth != tls.NoClientCert
	}
}

// warnOfHTTP3 says where certificates will be missing.
func warnOfHTTP3(name string, server *caddyhttp.Server, host string) []string {
	if !speaksHTTP3(server) {
		return nil
	}
	return []string{fmt.Sprintf("site %s on server %s relies on client certificates, and some browsers (Chrome, Edge) show none over HTTP/3: write servers { protocols h1 h2 } in the global options", host, name)}
}

// speaksHTTP3 reports whether some listener of a server speaks HTTP/3: all do by
// default.
func speaksHTTP3(server *caddyhttp.Server) bool {
	speaks := len(server.Protocols) == 0 || slices.Contains(server.Protocols, "h3")
	if server.ListenProtocols == nil {
		return speaks
	}
	return slices.ContainsFunc(server.ListenProtocols, func(own []string) bool {
		return slices.Contains(own, "h3") || speaks && (len(own) == 0 || slices.Contains(own, ""))
	})
}
