package caddymodule

import (
	"fmt"
	"maps"
	"math/rand/v2"
)

// object is JSON.
type object = map[string]any

// theme is what the servers of a kind are full of, as likelihoods. Most holes
// take two or three of the same sort: a server of everything has too many that
// the walker refuses.
type theme struct {
	groups   float64 // a route has a group
	errors   float64 // something fails before the gate
	catches  float64 // a subroute catches errors
	rehosts  float64 // a handler changes the Host
	spread   float64 // a site's routes stand side by side at the top, without end
	open     float64 // a site has no gate
	astray   float64 // something stands where the walker refuses it
	captures float64 // something before the gate takes values from the request
}

var themes = []theme{
	{groups: 0.1, errors: 0.2, catches: 0.2, spread: 0.3, captures: 0.2, open: 0.2},
	{groups: 0.7, errors: 0.5, catches: 0.8, open: 0.1},
	{groups: 0.8, errors: 0.3, catches: 0.5, spread: 0.2, open: 0.1},
	{groups: 0.2, errors: 0.6, catches: 0.8, spread: 0.2, open: 0.1},
	{rehosts: 0.5, spread: 0.8, open: 0.5},
	{rehosts: 0.5, spread: 0.6, catches: 0.5, errors: 0.2, open: 0.4},
	{astray: 0.12, groups: 0.1, catches: 0.2, spread: 0.3, open: 0.2},
	{captures: 0.8, groups: 0.2, spread: 0.2, catches: 0.2, errors: 0.2, open: 0.1},
}

// routeMaker makes configurations of servers at random: sound ones, with a few
// things in them of which a walker might make too little.
type routeMaker struct {
	*rand.Rand
	theme
	host  string // of the site that is being made
	gated bool   // that site has a gate
	named bool   // some gate stands in the named route n2
	flat  bool   // nothing is invoked: a named route that leads to itself would never end
	group string // of most routes
}

func newRouteMaker(seed uint64) *routeMaker {
	return &routeMaker{Rand: rand.New(rand.NewPCG(seed, 0))}
}

func (m *routeMaker) chance(p float64) bool { return m.Float64() < p }

func (m *routeMaker) oneOf(words ...string) string { return words[m.IntN(len(words))] }

// server makes a server that listens on a port of its own.
func (m *routeMaker) server(port int) object {
	m.theme = themes[m.IntN(len(themes))]
	m.named, m.flat, m.gated = false, false, false
	m.group = m.oneOf("g0", "g1")
	var sites [][]object
	if m.chance(0.15) {
		sites = append(sites, []object{m.route(m.before(1)...)})
	}
	for _, host := range []string{"a.localhost", "b.localhost", "*.localhost", ""} {
		switch p := m.Float64(); {
		case p < 0.4:
			sites = append(sites, m.site(host))
		case p < 0.55:
			sites = append(sites, []object{m.nested(host)})
		}
	}
	routes := m.interleaved(sites)
	m.host = ""
	made := object{
		"listen": []string{fmt.Sprintf(":%d", port)}, "automatic_https": object{"disable": true}, "routes": routes,
	}
	if m.chance(0.4) {
		m.groups *= 0.3 // most have been used up
		made["errors"] = object{"routes": m.errorRoutes()}
	}
	m.flat = true
	named := object{"n0": m.route(m.before(1)...), "n1": m.route(m.behind(1)...)}
	if m.named {
		guarded := object{"handle": append([]object{m.gate()}, m.behind(1)...)}
		m.maybeGroup(guarded)
		named["n2"] = guarded
	}
	made["named_routes"] = named
	return made
}

// interleaved puts routes of several sites into one list; those of one site
// stay in their order.
func (m *routeMaker) interleaved(sites [][]object) []object {
	var routes []object
	for len(sites) > 0 {
		i := 0
		if m.chance(0.5) {
			i = m.IntN(len(sites))
		}
		routes = append(routes, sites[i][0])
		if sites[i] = sites[i][1:]; len(sites[i]) == 0 {
			sites = append(sites[:i], sites[i+1:]...)
		}
	}
	return routes
}

// site makes the routes of a site: with a gate and something behind it, or
// without. Mostly one route holds them all.
func (m *routeMaker) site(host string) []object {
	m.host = host
	m.gated = !m.chance(m.open) && host != ""
	pieces := m.pieces()
	if host != "" && m.chance(m.spread) {
		for _, piece := range pieces {
			m.forHost(piece, host)
		}
		return pieces
	}
	site := object{"handle": []object{m.subroute(pieces)}, "terminal": m.chance(0.9)}
	if host != "" {
		m.forHost(site, host)
	}
	if m.chance(0.2) {
		m.maybeGroup(site)
	}
	return []object{site}
}

// forHost has a route match a host and no other, besides all else.
func (m *routeMaker) forHost(route object, host string) {
	sets, _ := route["match"].([]object)
	if len(sets) == 0 {
		sets = []object{{}}
	}
	for i, set := range sets {
		sets[i] = maps.Clone(set)
		sets[i]["host"] = []string{host}
	}
	route["match"] = sets
}

// pieces makes the routes of a site.
func (m *routeMaker) pieces() []object {
	var routes []object
	if m.chance(m.catches * 0.5) {
		routes = append(routes, object{"handle": []object{m.catching()}})
	}
	for range m.IntN(3) {
		routes = append(routes, m.route(m.before(1)...))
	}
	if m.chance(m.groups * 0.15) {
		routes = append(routes, m.usedUp())
	}
	if m.gated {
		routes = append(routes, m.gateRoute())
	}
	for range 1 + m.IntN(2) {
		routes = append(routes, m.route(m.behind(1)...))
	}
	return routes
}

// catching makes a subroute that catches whatever fails in it, or after it.
func (m *routeMaker) catching() object {
	var routes []object
	if m.chance(0.7) {
		routes = append(routes, object{"handle": m.before(0)})
	}
	if m.chance(m.groups) {
		routes = append(routes, object{"group": m.group, "handle": []object{m.harmless()}})
	}
	return object{"handler": "subroute", "routes": routes, "errors": object{"routes": m.errorRoutes()}}
}

// gateRoute makes the route of a site's gate, which now and then stands in a
// subroute of its own.
func (m *routeMaker) gateRoute() object {
	handlers := append(m.few(m.before), m.guard())
	if m.chance(0.3) {
		handlers = append(handlers, m.behind(1)...)
	}
	route := object{"handle": handlers}
	if m.chance(0.3) {
		m.maybeGroup(route)
	}
	if m.chance(m.astray) {
		route["match"] = []object{m.matcher()}
	}
	if m.chance(0.1) {
		route["terminal"] = true
	}
	if m.chance(m.catches * 0.5) {
		inner := m.subroute([]object{route})
		return object{"handle": []object{inner}}
	}
	return route
}

// guard is a gate, perhaps brought by a named route.
func (m *routeMaker) guard() object {
	if !m.flat && m.chance(0.1) {
		m.named = true
		return object{"handler": "invoke", "name": "n2"}
	}
	return m.gate()
}

// gate makes a gate. Some have a rule that looks at the header X-A.
func (m *routeMaker) gate() object {
	gate := object{"handler": "mfa"}
	if m.chance(0.2) {
		gate["rules"] = []object{{"match": []object{{"header": object{"X-A": []string{"1"}}}}, "open": true}}
	}
	return gate
}

// nested makes the route of a site that has another within.
func (m *routeMaker) nested(host string) object {
	var routes []object
	if m.chance(m.rehosts + 0.1) {
		routes = append(routes, object{"match": []object{m.matcher()}, "handle": []object{m.headers(m.rehost())}})
	}
	routes = append(routes, m.site(m.oneOf("a.localhost", "b.localhost"))...)
	m.host = ""
	if m.chance(0.5) {
		routes = append(routes, object{"handle": []object{m.app()}})
	}
	around := object{"handle": []object{m.subroute(routes)}, "terminal": true}
	if host != "" {
		m.forHost(around, host)
	}
	return around
}

func (m *routeMaker) app() object {
	return object{"handler": "marking_app", "of": m.host, "passes": m.chance(0.3)}
}

// subroute makes one of routes, with error routes now and then.
func (m *routeMaker) subroute(routes []object) object {
	made := object{"handler": "subroute", "routes": routes}
	if m.chance(m.catches) {
		made["errors"] = object{"routes": m.errorRoutes()}
	}
	return made
}

// errorRoutes makes routes for errors: behind a gate, or harmless.
func (m *routeMaker) errorRoutes() []object {
	var routes []object
	if m.chance(0.2) {
		routes = append(routes, m.route(m.before(0)...))
	}
	if m.gated && m.chance(0.4) {
		guard := object{"handle": append(m.few(m.failing), object{"handler": "mfa"})}
		m.maybeGroup(guard)
		behind := object{"handle": m.behind(0)}
		if m.chance(0.4) {
			behind = m.route(m.behind(0)...)
		}
		return append(routes, guard, behind)
	}
	if m.chance(m.astray) {
		routes = append(routes, m.route(m.app()))
	}
	if m.chance(m.groups * 0.3) {
		routes = append(routes, m.usedUp())
	}
	if m.chance(0.5) {
		routes = append(routes, m.route(object{"handler": "static_response", "body": "an error"}))
	}
	return routes // what they don't answer goes on
}

// usedUp makes the route of an app that never runs, if the group is used up by
// then.
func (m *routeMaker) usedUp() object {
	return object{"group": m.group, "handle": []object{m.app()}}
}

// few makes nothing, mostly.
func (m *routeMaker) few(make func(depth int) []object) []object {
	if m.chance(0.8) {
		return nil
	}
	return make(0)
}

// route makes one route, which may depend on anything.
func (m *routeMaker) route(handlers ...object) object {
	route := object{"handle": handlers}
	if m.chance(0.4) {
		route["match"] = []object{m.matcher()}
	}
	m.maybeGroup(route)
	if m.chance(0.08) {
		route["terminal"] = true
	}
	return route
}

func (m *routeMaker) maybeGroup(route object) {
	if m.chance(m.groups) {
		route["group"] = m.group
		if m.chance(0.15) {
			route["group"] = m.oneOf("g0", "g1")
		}
	}
}

func (m *routeMaker) matcher() object {
	switch m.IntN(12) {
	case 0:
		return object{"not": []object{{"path": []string{"/x*"}}}}
	case 1:
		return object{"header": object{"X-A": []string{"1"}}}
	case 2:
		return object{"host": []string{m.oneOf("a.localhost", "b.localhost", "*.localhost")}}
	case 3:
		return object{"not": []object{{"host": []string{m.oneOf("a.localhost", "b.localhost")}}}}
	case 4:
		return object{"host": []string{m.oneOf("{http.request.header.X-H}", "{http.vars.h}")}}
	case 5:
		return object{"vars": object{"v": []string{"1"}}}
	case 6:
		return object{"expression": m.oneOf("int({http.request.header.X-N}) > 0", "path('/x*')", "host('a.localhost')")} // the first may fail
	case 7:
		return m.capturing()
	}
	return object{"path": []string{m.oneOf("/x*", "/x/y", "/*")}}
}

// capturing makes a matcher that remembers what it has matched.
func (m *routeMaker) capturing() object {
	switch m.IntN(4) {
	case 0:
		return object{"path_regexp": object{"name": "r", "pattern": "^/+(x?)(.*)$"}}
	case 1:
		return object{"header_regexp": object{m.oneOf("X-A", "Host"): object{"name": "r", "pattern": "^(.)(.*)$"}}}
	case 2:
		return object{"expression": "vars_regexp('r', '{http.request.uri}', '^/(.*)$')"}
	}
	return object{"vars_regexp": object{m.oneOf("{http.request.uri}", "{http.request.hostport}", "v"): object{"name": "r", "pattern": "^(.)(.*)$"}}}
}

// before makes what may stand before a gate.
func (m *routeMaker) before(depth int) []object {
	switch p := m.Float64(); {
	case p < m.astray:
		return []object{m.app()}
	case m.gated && p < m.astray+m.rehosts*0.2, !m.gated && p < m.rehosts:
		return []object{m.headers(m.rehost())}
	case m.chance(m.errors):
		return m.failing(depth)
	case depth > 0 && m.chance(0.3+m.catches*0.3):
		return []object{m.subroute([]object{m.route(m.before(depth - 1)...)})}
	case !m.flat && m.chance(0.05):
		return []object{{"handler": "invoke", "name": m.oneOf("n0", "none")}}
	}
	return []object{m.harmless()}
}

func (m *routeMaker) headers(operations object) object {
	return object{"handler": "headers", "request": operations}
}

// rehost makes what changes the Host.
func (m *routeMaker) rehost() object {
	host := []string{m.oneOf("a.localhost", "b.localhost", "c.localhost", "{http.request.header.X-H}")}
	switch m.IntN(8) {
	case 0:
		return object{"add": object{"Host": host}}
	case 1:
		return object{"delete": []string{m.oneOf("Host", "H*", "*")}}
	case 2:
		return object{"replace": object{m.oneOf("Host", "*"): []object{{"search_regexp": "^[ab]", "replace": m.oneOf("a", "b")}}}}
	case 3:
		return object{"set": object{"{http.request.header.X-Name}": host}}
	}
	return object{"set": object{"Host": host}}
}

// failing makes an error, for some requests or all.
func (m *routeMaker) failing(int) []object {
	failure := object{"handler": "error", "status_code": 404}
	if m.chance(0.2) {
		return []object{failure}
	}
	return []object{{"handler": "subroute", "routes": []object{{"match": []object{m.matcher()}, "handle": []object{failure}}}}}
}

// harmless makes what a gate allows before it, mostly.
func (m *routeMaker) harmless() object {
	if m.chance(m.captures) {
		return m.taking()
	}
	switch m.IntN(5) {
	case 0:
		return m.headers(object{"set": object{m.oneOf("X-T", "X-A", "Origin"): []string{m.oneOf("1", "2")}}})
	case 1:
		name := m.oneOf("v", "h")
		if m.chance(m.astray * 2) {
			name = "client_ip"
		}
		return object{"handler": "vars", name: m.oneOf("1", "a.localhost", "b.localhost")}
	case 2:
		return object{"handler": "map", "source": "{http.request.uri.path}", "destinations": []string{"{m}"}, "defaults": []string{"1"}}
	case 3:
		if m.chance(0.2) {
			return object{"handler": "static_response", "status_code": 302, "headers": object{"Location": []string{"/"}}}
		}
	}
	return object{"handler": "request_body", "max_size": 1 << 20}
}

// taking makes what keeps something of a request, in the form that it has.
func (m *routeMaker) taking() object {
	value := m.oneOf("{http.request.uri}", "{http.request.hostport}", "{http.regexp.r.2}", "{http.error.message}", "1")
	switch m.IntN(5) {
	case 0:
		return m.headers(object{"set": object{"X-T": []string{value}}})
	case 1:
		return m.headers(object{"replace": object{"X-N": []object{{"search_regexp": ".", "replace": value}}}})
	case 2:
		return object{"handler": "error", "error": value, "status_code": 404}
	case 3:
		return object{"handler": "map", "source": value, "destinations": []string{"{m}"}, "mappings": []object{{"input_regexp": "(.*)", "outputs": []string{"${1}"}}}}
	}
	return object{"handler": "vars", "v": value}
}

// behind makes what may stand behind a gate.
func (m *routeMaker) behind(depth int) []object {
	switch n := m.IntN(9); {
	case n == 0 && depth > 0:
		return []object{m.subroute([]object{m.route(m.behind(depth - 1)...)})}
	case n == 1:
		return []object{{"handler": "rewrite", "uri": m.oneOf("/x", "/y")}, m.app()}
	case n == 2 && m.chance(m.rehosts*2):
		return []object{m.headers(m.rehost()), m.app()}
	case n == 3 && !m.flat:
		return []object{{"handler": "invoke", "name": m.oneOf("n1", "n0")}}
	case n == 4:
		return m.failing(depth)
	case n == 5:
		return []object{m.harmless(), m.app()}
	}
	return []object{m.app()}
}
