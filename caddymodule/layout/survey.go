package layout

import (
	"cmp"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
)

// survey is everything that Check looks at.
type survey struct {
	portal      *url.URL
	behindProxy bool
	hosts       []string // all that are told apart, sorted
	servers     []*surveyedServer
	guards      map[Gate]*guard
	homes       []home
	portals     map[Portal]bool
	// authenticators are those that requests come to.
	authenticators map[Authenticator]bool
	outlets        []Outlet
	warnings       []string
}

// warn notes what isn't wrong for certain, once.
func (s *survey) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(s.warnings, text) {
		s.warnings = append(s.warnings, text)
	}
}

// surveyedServer is a server with what requests meet on it, by host.
type surveyedServer struct {
	server     *caddyhttp.Server
	name       string
	listen     []string
	ports      []string
	tls, plain bool
	trusts     bool // it has trusted_proxies
	strict     bool // and trusted_proxies_strict
	// credentials says that its logs hold cookies and other credentials.
	credentials bool
	logs        bool // it has access logs
	// comparesNames says that requests whose TLS name isn't their Host's are
	// answered before any handler.
	comparesNames bool
	ways          map[string][]step
}

// guard is a gate with what is known of it.
type guard struct {
	gate    Gate
	server  *surveyedServer
	reached []string // hosts whose requests come to it, in the order of survey.hosts
	failing bool     // it stands in error routes
	site    origin.Site
	guarded []string // of reached: those that it guards
}

func newSurvey(c Configuration) (*survey, error) {
	s := &survey{
		portal:         c.Portal,
		behindProxy:    c.BehindProxy,
		homes:          homesOf(c),
		guards:         make(map[Gate]*guard),
		portals:        make(map[Portal]bool),
		authenticators: make(map[Authenticator]bool),
	}
	s.hosts = hostsOf(c.Sites, s.homes)
	httpPort := cmp.Or(c.Sites.HTTPPort, caddyhttp.DefaultHTTPPort)
	for _, name := range slices.Sorted(maps.Keys(c.Sites.Servers)) {
		server, err := surveyServer(name, c.Sites.Servers[name], httpPort)
		if err != nil {
			return nil, err
		}
		for _, host := range s.hosts {
			server.ways[host] = follow(c.Sites.Servers[name], host)
		}
		s.servers = append(s.servers, server)
	}
	return s, nil
}

// surveyServer finds out where the server listens, and whether with TLS: with
// a connection policy (which automatic HTTPS has added by now) it does on all
// ports but the one for HTTP.
func surveyServer(name string, server *caddyhttp.Server, httpPort int) (*surveyedServer, error) {
	surveyed := &surveyedServer{
		server: server, name: name, listen: server.Listen, trusts: trustsProxies(server), strict: server.TrustedProxiesStrict > 0,
		logs: server.Logs != nil, credentials: server.Logs != nil && server.Logs.ShouldLogCredentials,
		comparesNames: server.StrictSNIHost != nil && *server.StrictSNIHost, ways: make(map[string][]step),
	}
	for _, listen := range server.Listen {
		address, err := caddy.ParseNetworkAddress(listen)
		if err != nil {
			return nil, fmt.Errorf("server %s: listener address %s: %w", name, listen, err)
		}
		hasPort := !address.IsUnixNetwork() && !address.IsFdNetwork()
		for port := address.StartPort; port <= address.EndPort; port++ {
			if len(server.TLSConnPolicies) > 0 && int(port) != httpPort {
				surveyed.tls = true
			} else {
				surveyed.plain = true
			}
			if hasPort {
				surveyed.ports = append(surveyed.ports, strconv.FormatUint(uint64(port), 10))
			}
		}
	}
	return surveyed, nil
}

func (s *surveyedServer) scheme() string {
	if s.plain || !s.tls {
		return "http"
	}
	return "https"
}

// at begins an error or a warning: it says where the site's gate or portal is
// written, if it has one, and which site is meant.
func (s *surveyedServer) at(host string) string {
	if source := s.sourceOf(host); source != "" {
		return source + ": " + s.siteOf(host)
	}
	return s.siteOf(host)
}

// besides mentions another site than the one that an error begins with.
func (s *surveyedServer) besides(host string) string {
	if source := s.sourceOf(host); source != "" {
		return s.siteOf(host) + ", " + source
	}
	return s.siteOf(host)
}

// written names the server, and where the site's gate is written.
func (s *surveyedServer) written(host string) string {
	if source := s.sourceOf(host); source != "" {
		return s.name + " (" + source + ")"
	}
	return s.name
}

// sourceOf returns where the gate or the portal is written to which the requests
// for a host come, or "".
func (s *surveyedServer) sourceOf(host string) string {
	for _, met := range s.ways[host] {
		switch {
		case met.gate != nil:
			return met.gate.Guarding().Source
		case met.portal != nil:
			return met.portal.PortalSource()
		case met.phone != nil:
			return met.phone.AuthenticatorSource()
		}
	}
	return ""
}

func (s *surveyedServer) siteOf(host string) string {
	site := "site " + host
	if host == matching.AnyOtherHost {
		site = "the site without a host"
	}
	return fmt.Sprintf("%s on server %s (%s)", site, s.name, strings.Join(s.listen, ", "))
}

// sortedGuards returns the gates in an order that depends on the configuration
// alone.
func (s *survey) sortedGuards() []*guard {
	return slices.SortedFunc(maps.Values(s.guards), func(a, b *guard) int {
		return cmp.Or(
			strings.Compare(a.server.name, b.server.name),
			slices.Compare(a.reached, b.reached),
		)
	})
}
