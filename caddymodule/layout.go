package caddymodule

import (
	"cmp"
	"errors"
	"fmt"
	"maps"
	"net/url"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"

	"github.com/portcullis-mfa/portcullis/assurance"
)

// layout is where gates and portals stand in a configuration that leaves no
// way around them.
type layout struct {
	gates   map[*Gate]placement
	portals []*Portal
	// apps are the gated hosts that have a name of their own, by host. Hosts
	// that only a wildcard covers are unknown until somebody asks for them.
	apps []gatedApp
	// weakest is the lowest level with which any gate lets somebody pass, at
	// most assurance.Multi.
	weakest assurance.Level
	// warnings are what an operator had better look at.
	warnings []string
}

// placement is where a gate stands.
type placement struct {
	// site is whose requests come to the gate.
	site site
	// usualHost returns a host of the site, which may have a port, with the one
	// at which browsers reach it.
	usualHost func(host string) string
	// errorRoute says that the gate stands within handle_errors, where it
	// passes only what the site's gate has passed. It has no site of its own.
	errorRoute bool
}

// gatedApp is one app behind a gate.
type gatedApp struct {
	host string
	url  string // of its front page, without a path
	gate *Gate
}

// place lets gates and portals serve.
func (l layout) place() {
	for gate, at := range l.gates {
		gate.placed.Store(&at)
	}
	for _, portal := range l.portals {
		portal.placed.Store(true)
	}
}

// checkPlaced refuses gates that no request comes to. They stand inside
// handlers that a walk can't see into, or behind a site that takes all of
// their requests.
func (l layout) checkPlaced(gates []*Gate, sites *caddyhttp.App) error {
	for _, gate := range gates {
		if _, ok := l.gates[gate]; ok {
			continue
		}
		name := "?"
		for candidate, server := range sites.Servers {
			if server == gate.server {
				name = candidate
			}
		}
		return fmt.Errorf("server %s: no request comes to one of its mfa handlers: it stands inside another handler (such as handle_response), in a named route that nothing invokes, or in a site whose requests go elsewhere: put mfa at the top of its site", name)
	}
	return nil
}

// checkLayout walks all routes of the http app, for each host that is named
// somewhere, and finds gates and portals. It refuses, naming host and handler
// and what to write instead, whatever would let a request for a gated host
// past its gate, would leave a gate without hosts that it may sign for, or
// would put the portal where it can't work or isn't alone. behindProxy says
// that TLS may end at a proxy that a server trusts.
func checkLayout(sites *caddyhttp.App, portal *url.URL, behindProxy bool) (layout, error) {
	s, err := newSurvey(sites, portal, behindProxy)
	if err != nil {
		return layout{}, err
	}
	for _, check := range []func() error{
		s.checkWays, s.checkErrorGates, s.settleGates, s.checkOtherServers, s.checkRehosted, s.checkUpstreams, s.checkAddresses, s.checkLogs, s.checkPortal,
	} {
		if err := check(); err != nil {
			return layout{}, err
		}
	}
	return s.result(), nil
}

// survey is everything that checkLayout looks at.
type survey struct {
	portal      *url.URL
	behindProxy bool
	hosts       []string // all that are told apart, sorted
	servers     []*surveyedServer
	guards      map[*Gate]*guard
	portals     map[*Portal]bool
	warnings    []string
}

// warn notes what isn't wrong for certain, once.
func (s *survey) warn(format string, args ...any) {
	if text := fmt.Sprintf(format, args...); !slices.Contains(s.warnings, text) {
		s.warnings = append(s.warnings, text)
	}
}

// surveyedServer is a server with what requests meet on it, by host.
type surveyedServer struct {
	name       string
	listen     []string
	ports      []string
	tls, plain bool
	trusts     bool // it has trusted_proxies
	strict     bool // and trusted_proxies_strict
	// credentials says that its logs hold cookies and other credentials.
	credentials bool
	ways        map[string][]step
}

// guard is a gate with what is known of it.
type guard struct {
	gate    *Gate
	server  *surveyedServer
	reached []string // hosts whose requests come to it, in the order of survey.hosts
	failing bool     // it stands in error routes
	site    site
	guarded []string // of reached: those that it guards
}

func newSurvey(sites *caddyhttp.App, portal *url.URL, behindProxy bool) (*survey, error) {
	s := &survey{
		portal:      portal,
		behindProxy: behindProxy,
		hosts:       hostsOf(sites, portal.Hostname()),
		guards:      make(map[*Gate]*guard),
		portals:     make(map[*Portal]bool),
	}
	httpPort := cmp.Or(sites.HTTPPort, caddyhttp.DefaultHTTPPort)
	for _, name := range slices.Sorted(maps.Keys(sites.Servers)) {
		server, err := surveyServer(name, sites.Servers[name], httpPort)
		if err != nil {
			return nil, err
		}
		for _, host := range s.hosts {
			server.ways[host] = follow(sites.Servers[name], host)
		}
		s.servers = append(s.servers, server)
	}
	return s, nil
}

// surveyServer finds out where the server listens, and whether with TLS: with
// a connection policy (which automatic HTTPS has added by now) it does on all
// ports but the one for HTTP.
func surveyServer(name string, server *caddyhttp.Server, httpPort int) (*surveyedServer, error) {
	surveyed := &surveyedServer{name: name, listen: server.Listen, trusts: trustsProxies(server), strict: server.TrustedProxiesStrict > 0, credentials: server.Logs != nil && server.Logs.ShouldLogCredentials, ways: make(map[string][]step)}
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

// at says which site is meant, for errors.
func (s *surveyedServer) at(host string) string {
	site := "site " + host
	if host == anyOtherHost {
		site = "the site without a host"
	}
	return fmt.Sprintf("%s on server %s (%s)", site, s.name, strings.Join(s.listen, ", "))
}

// checkWays looks at what the requests for each host meet on each server.
func (s *survey) checkWays() error {
	for _, server := range s.servers {
		for _, host := range s.hosts {
			if err := s.checkWay(server, host); err != nil {
				return fmt.Errorf("%s: %w", server.at(host), err)
			}
		}
	}
	return nil
}

func (s *survey) checkWay(server *surveyedServer, host string) error {
	way := server.ways[host]
	if err := checkUnaltered(way); err != nil {
		return err
	}
	if err := checkGates(way); err != nil {
		return err
	}
	if err := s.checkPortals(way, host); err != nil {
		return err
	}
	for _, met := range way {
		if met.gate != nil {
			if err := s.noteGate(met, server, host); err != nil {
				return err
			}
		}
	}
	if hasGate(way) {
		return cmp.Or(checkEndless(way), checkGuarded(way))
	}
	return nil
}

// checkEndless refuses named routes that lead to themselves.
func checkEndless(way []step) error {
	for _, met := range way {
		if met.endless {
			return fmt.Errorf("%s stands in the named route that it invokes, which would end the whole server with the first request: remove it", met.handler)
		}
	}
	return nil
}

// hasGate reports whether the way leads to a site's gate; those in error
// routes don't count.
func hasGate(way []step) bool { return slices.ContainsFunc(way, isGate) }

func isGate(met step) bool { return met.gate != nil && !met.failing }

func hasPortal(way []step) bool {
	return slices.ContainsFunc(way, func(met step) bool { return met.portal != nil })
}

// checkUnaltered refuses, before a gate, what changes a request in a way that
// matters to the gate, or to the matchers that lead to it.
func checkUnaltered(way []step) error {
	first := slices.IndexFunc(way, isGate)
	if first < 0 {
		return nil
	}
	for _, met := range way {
		if met.guarded || met.failing || met.does != adjusts {
			continue
		}
		if what := altered(met.module, way[first].gate); what != "" {
			return fmt.Errorf("%s runs before mfa, which must decide on what the client asked for, and can change %s: put it after mfa", met.handler, what)
		}
	}
	return nil
}

// checkGates refuses gates that see only some of a host's requests, and more
// than one of them.
func checkGates(way []step) error {
	var first *step
	for i, met := range way {
		switch {
		case met.gate == nil || met.failing:
		case met.under == "handle":
			return errors.New("mfa stands in one of several handle blocks, and another may take the request: put mfa at the top of the site, outside them, and write rule or open inside mfa for parts of the site")
		case met.under != "":
			return fmt.Errorf("mfa stands under a matcher that isn't about the host (%s), so all other requests would pass by it: put mfa at the top of the site, and write rule or open inside mfa for parts of the site", met.under)
		case first != nil:
			return errors.New("two mfa handlers see the same requests, and a site has one gate: keep one, and write rule inside it for what differs in parts of the site")
		default:
			first = &way[i]
		}
	}
	return nil
}

// checkPortals refuses portals that stand on another host than the portal's,
// or see only some of its requests.
func (s *survey) checkPortals(way []step, host string) error {
	for _, met := range way {
		switch {
		case met.portal == nil:
		case host == anyOtherHost:
			return fmt.Errorf("mfa_portal stands on a site that takes every host: put it in a site of its own: %s { mfa_portal }", s.portal.Host)
		case host != s.portal.Hostname():
			return fmt.Errorf("mfa_portal stands here, but the portal is %s: write mfa_portal on its host only, or name this one as portal in the global option mfa", s.portal)
		case met.failing:
			return errors.New("mfa_portal stands in handle_errors: put it at the top of the site")
		case met.under != "":
			return fmt.Errorf("mfa_portal stands under a matcher that isn't about the host (%s), but the portal needs all paths of its host: put it at the top of the site", met.under)
		default:
			s.portals[met.portal] = true
		}
	}
	return nil
}

// noteGate notes that requests for the host come to the gate.
func (s *survey) noteGate(met step, server *surveyedServer, host string) error {
	known := s.guards[met.gate]
	if known == nil {
		known = &guard{gate: met.gate, server: server, failing: met.failing}
		s.guards[met.gate] = known
	}
	if known.failing != met.failing {
		return errors.New("one named route brings mfa both to the site and to its handle_errors: write mfa itself in handle_errors")
	}
	if met.failing && !met.gate.isBare() {
		return errors.New("mfa in handle_errors takes no settings, since it only passes what the site's mfa has passed: write it without a block")
	}
	known.reached = append(known.reached, host)
	return nil
}

// checkGuarded refuses, on the way to a gate, what would answer in its place.
func checkGuarded(way []step) error {
	for _, met := range way {
		if met.guarded {
			continue
		}
		switch {
		case met.failing && met.does >= alters:
			return fmt.Errorf("handle_errors runs %s, and some errors of Caddy's own come there without passing mfa: begin handle_errors with mfa, or do no more there than respond, header or abort", met.handler)
		case met.failing || met.does <= adjusts:
		case met.does == alters:
			return fmt.Errorf("%s runs before mfa, which must decide on what the client asked for and write its own answers: put it after mfa", met.handler)
		default:
			return fmt.Errorf("%s can answer requests that mfa hasn't decided on%s: put mfa before it, at the top of the site, and write open inside mfa for what everybody may see", met.handler, underMatcher(met))
		}
	}
	return nil
}

func underMatcher(met step) string {
	if met.under == "" {
		return ""
	}
	return fmt.Sprintf(" (under the matcher %s)", met.under)
}

// checkErrorGates refuses gates in error routes where none of the requests
// that come to them has a gate of its site's to pass.
func (s *survey) checkErrorGates() error {
	for _, known := range s.sortedGuards() {
		isGated := func(host string) bool { return hasGate(known.server.ways[host]) }
		if known.failing && !slices.ContainsFunc(known.reached, isGated) {
			return fmt.Errorf("%s: mfa stands in handle_errors alone, where it guards nothing: write mfa at the top of the site, too", known.server.at(known.reached[0]))
		}
	}
	return nil
}

// settleGates finds out whose requests each gate may decide on.
func (s *survey) settleGates() error {
	for _, known := range s.sortedGuards() {
		if known.failing {
			continue
		}
		if err := s.settle(known); err != nil {
			return fmt.Errorf("%s: %w", known.server.at(known.reached[0]), err)
		}
	}
	return nil
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

func (s *survey) settle(known *guard) error {
	patterns, err := known.patterns()
	if err != nil {
		return err
	}
	for i := range patterns {
		patterns[i].except = s.servedElsewhere(patterns[i], known.reached)
	}
	known.site = site{hosts: patterns, ports: known.server.ports, scheme: known.server.scheme()}
	known.guarded = slices.DeleteFunc(slices.Clone(known.reached), func(host string) bool {
		return !slices.ContainsFunc(patterns, func(p hostPattern) bool { return p.name == host || p.covers(host) })
	})
	if err := known.gate.openSites(known.guarded); err != nil {
		return err
	}
	return s.checkScheme(known)
}

// patterns returns the hosts that the gate guards: those of the site, or,
// where it takes every host, those that the gate declares. Declared hosts must
// be among the site's.
func (g *guard) patterns() ([]hostPattern, error) {
	for _, declared := range g.gate.declared {
		if !slices.Contains(g.reached, declared.name) {
			return nil, fmt.Errorf("mfa names %s in hosts, but requests for that host go to another site: remove it", declared.name)
		}
	}
	if slices.Contains(g.reached, anyOtherHost) {
		if len(g.gate.declared) == 0 {
			return nil, errors.New("mfa guards a site that takes every host, and must know which are its own: name them in the site's address, or write hosts app.example.com inside mfa")
		}
		return slices.Clone(g.gate.declared), nil
	}
	patterns := slices.Clone(g.gate.declared)
	for _, host := range g.reached {
		pattern := hostPattern{name: host}
		if err := pattern.check(); err != nil {
			return nil, fmt.Errorf("mfa can't guard this site: %w", err)
		}
		patterns = append(patterns, pattern)
	}
	return patterns, nil
}

// servedElsewhere returns the hosts that the wildcard would cover, but whose
// requests don't come here.
func (s *survey) servedElsewhere(pattern hostPattern, reached []string) []string {
	if !pattern.isWildcard() {
		return nil
	}
	var elsewhere []string
	for _, host := range s.hosts {
		if host != pattern.name && pattern.covers(host) && !slices.Contains(reached, host) {
			elsewhere = append(elsewhere, host)
		}
	}
	return elsewhere
}

func (s *survey) checkScheme(known *guard) error {
	if known.server.tls && known.server.plain {
		return errors.New("mfa stands on a server that listens both with TLS and without: make two servers of it")
	}
	for _, pattern := range known.site.hosts {
		if err := s.checkPlain(known.server, pattern.name); err != nil {
			return fmt.Errorf("mfa guards %s %w", pattern.name, err)
		}
	}
	return nil
}

// checkPlain refuses to serve a host over plain HTTP, unless that stays within
// this machine or comes from a proxy that is known to end TLS.
func (s *survey) checkPlain(server *surveyedServer, host string) error {
	switch {
	case !server.plain || isLocalhost(host):
		return nil
	case !s.behindProxy:
		return errors.New("over plain HTTP, which only localhost and *.localhost may use: serve it by HTTPS (remove http:// or :80 from the site's address, or `auto_https off` from the global options), or, if a proxy in front ends TLS, write behind_tls_proxy in the global option mfa")
	case !server.trusts:
		return errors.New("over plain HTTP behind a TLS proxy, but its server trusts no proxy: write in the global options: servers { trusted_proxies static ADDRESS } with the addresses of that proxy")
	}
	return nil
}

// checkPortal makes sure that the portal is served, as its address says, and
// that it has its host for itself.
func (s *survey) checkPortal() error {
	host := s.portal.Hostname()
	for _, known := range s.sortedGuards() {
		if slices.Contains(known.guarded, host) {
			return fmt.Errorf("%s: mfa guards the portal's own host, where nobody could sign in then: give the portal a host of its own", known.server.at(host))
		}
	}
	var serving []*surveyedServer
	for _, server := range s.servers {
		way := server.ways[host]
		if err := checkAlone(way); err != nil {
			return fmt.Errorf("%s: %w", server.at(host), err)
		}
		if hasPortal(way) {
			serving = append(serving, server)
		}
	}
	return s.checkReachable(serving)
}

// checkAlone refuses on the portal's host what could read or imitate its
// pages.
func checkAlone(way []step) error {
	beside := hasPortal(way)
	if beside && hasGate(way) {
		return errors.New("mfa and mfa_portal stand on the same host: give the portal a host of its own")
	}
	for _, met := range way {
		if !beside && (!met.named || met.guarded) {
			continue
		}
		if beside && met.does == adjusts && altered(met.module, nil) != "" {
			return fmt.Errorf("%s runs before mfa_portal, which must see what the client sent, and can change %s: remove it", met.handler, altered(met.module, nil))
		}
		if met.does == serves || (beside && met.does == alters) {
			return fmt.Errorf("%s runs on the portal's host, which the portal needs for itself: give it a host of its own", met.handler)
		}
	}
	return nil
}

func (s *survey) checkReachable(serving []*surveyedServer) error {
	host := s.portal.Hostname()
	if len(serving) == 0 {
		return fmt.Errorf("no site serves the portal %s: write %s { mfa_portal }", s.portal, s.portalAddress())
	}
	for _, server := range serving {
		if err := s.checkPlain(server, host); err != nil {
			return fmt.Errorf("%s: mfa_portal is served %w", server.at(host), err)
		}
	}
	reached := func(server *surveyedServer) string { return schemeOf(server.scheme(), host) }
	if !slices.ContainsFunc(serving, func(server *surveyedServer) bool { return reached(server) == s.portal.Scheme }) {
		return fmt.Errorf("%s: mfa_portal is served as %s://, but the portal is %s: make them agree", serving[0].at(host), reached(serving[0]), s.portal)
	}
	return nil
}

// portalAddress returns the portal's site address for a Caddyfile.
func (s *survey) portalAddress() string {
	if s.portal.Scheme == "http" {
		return s.portal.String()
	}
	return s.portal.Host
}

// result returns what was found, once nothing is left to refuse.
func (s *survey) result() layout {
	found := layout{gates: make(map[*Gate]placement), weakest: assurance.Multi, warnings: s.warnings}
	for _, known := range s.sortedGuards() {
		found.gates[known.gate] = placement{site: known.site, usualHost: s.usualHosts(known), errorRoute: known.failing}
		if known.failing {
			continue
		}
		found.apps = append(found.apps, s.appsOf(known)...)
		found.weakest = min(found.weakest, known.gate.weakest())
	}
	found.apps = onePerHost(found.apps)
	for portal := range s.portals {
		found.portals = append(found.portals, portal)
	}
	return found
}

// appsOf returns the gate's hosts that have names of their own.
func (s *survey) appsOf(known *guard) []gatedApp {
	var apps []gatedApp
	for _, host := range known.guarded {
		if strings.Contains(host, "*") {
			continue
		}
		apps = append(apps, gatedApp{host: host, url: s.urlOf(known, host), gate: known.gate})
	}
	return apps
}

// urlOf returns the URL at which browsers reach one of a gate's hosts.
func (s *survey) urlOf(known *guard, host string) string {
	scheme := schemeOf(known.site.scheme, host)
	besidePortal := hasPortal(known.server.ways[s.portal.Hostname()])
	// Behind a TLS proxy, only ports that the gate names are its own.
	sameWay := besidePortal && scheme == s.portal.Scheme && scheme == known.site.scheme
	return scheme + "://" + authority(scheme, host, known.site.portFor(host, s.portal.Port(), sameWay))
}

// usualHosts returns placement.usualHost for a gate, with what it says of the
// hosts that the site names made beforehand: each request needs it.
func (s *survey) usualHosts(known *guard) func(host string) string {
	find := func(host string) string {
		name, _, ok := splitAuthority(host)
		if !ok {
			return host
		}
		_, usual, _ := strings.Cut(s.urlOf(known, name), "://")
		return usual
	}
	made := make(map[string]string)
	for _, pattern := range known.site.hosts {
		scheme := schemeOf(known.site.scheme, pattern.name)
		for _, port := range append([]string{"", pattern.port}, known.site.ports...) {
			host := authority(scheme, pattern.name, port)
			made[host] = find(host)
		}
	}
	return func(host string) string {
		if usual, ok := made[host]; ok {
			return usual
		}
		return find(host)
	}
}

// onePerHost sorts by host. Of a host that is reached in several ways it keeps
// one, with TLS and without a port where there is such a one.
func onePerHost(apps []gatedApp) []gatedApp {
	hasTLS := func(app gatedApp) bool { return strings.HasPrefix(app.url, "https:") }
	slices.SortFunc(apps, func(a, b gatedApp) int {
		switch {
		case a.host != b.host:
			return strings.Compare(a.host, b.host)
		case hasTLS(a) != hasTLS(b):
			return strings.Compare(b.url, a.url) // so "https:" comes first
		}
		return cmp.Or(cmp.Compare(len(a.url), len(b.url)), strings.Compare(a.url, b.url))
	})
	return slices.CompactFunc(apps, func(a, b gatedApp) bool { return a.host == b.host })
}
