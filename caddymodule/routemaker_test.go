package caddymodule

import (
	"fmt"
	"math/rand/v2"
)

// object is JSON.
type object = map[string]any

// routeMaker makes configurations of servers at random: most of them sound, or
// nearly so, since the walker refuses all others.
type routeMaker struct {
	*rand.Rand
	host  string // of the site that is being made
	gated bool   // that site has a gate
	named bool   // some gate stands in the named route n2
	flat  bool   // nothing is invoked: a named route that leads to itself would never end
	wild  float64
}

func newRouteMaker(seed uint64) *routeMaker {
	return &routeMaker{Rand: rand.New(rand.NewPCG(seed, 0))}
}

func (m *routeMaker) chance(p float64) bool { return m.Float64() < p }

func (m *routeMaker) oneOf(words ...string) string { return words[m.IntN(len(words))] }

// server makes a server that listens on a port of its own.
func (m *routeMaker) server(port int) object {
	m.wild = []float64{0, 0.01, 0.05}[m.IntN(3)]
	m.named, m.flat = false, false
	var routes []object
	if m.chance(0.15) {
		routes = append(routes, m.route(m.before(2)...))
	}
	for _, host := range []string{"a.localhost", "b.localhost", "*.localhost", ""} {
		switch {
		case m.chance(0.4):
			routes = append(routes, m.site(host))
		case m.chance(0.3):
			routes = append(routes, m.handles(host))
		}
	}
	m.host = ""
	if m.chance(0.1) {
		routes = append(routes, m.route(m.app()))
	}
	m.flat = true
	named := object{"n0": m.route(m.before(2)...), "n1": m.route(m.behind(2)...)}
	if m.named {
		guarded := object{"handle": append([]object{gateHere()}, m.behind(2)...)}
		m.maybeGroup(guarded, 0.2)
		named["n2"] = guarded
	}
	made := object{
		"listen": []string{fmt.Sprintf(":%d", port)}, "automatic_https": object{"disable": true}, "routes": routes, "named_routes": named,
	}
	if m.chance(0.5) {
		made["errors"] = object{"routes": m.errorRoutes(2)}
	}
	return made
}

// site makes the route of a site: with a gate and something behind it, or
// without.
func (m *routeMaker) site(host string) object {
	m.host = host
	m.gated = m.chance(0.8) && host != ""
	var routes []object
	if m.chance(0.5) {
		routes = append(routes, m.routes(2, m.before)...)
	}
	if m.gated {
		gated := object{"handle": append(m.few(1, m.before), m.guard())}
		if m.chance(0.3) {
			gated["handle"] = append(gated["handle"].([]object), m.behind(2)...)
		}
		m.maybeGroup(gated, 0.2)
		routes = append(routes, gated)
	}
	routes = append(routes, m.routes(2, m.behind)...)
	site := object{"handle": []object{m.subroute(routes)}, "terminal": m.chance(0.9)}
	if host != "" {
		site["match"] = []object{{"host": []string{host}}}
	}
	m.maybeGroup(site, 0.2)
	return site
}

// handles makes the route of a site that has another within.
func (m *routeMaker) handles(host string) object {
	var routes []object
	if m.chance(0.2) {
		routes = append(routes, object{"match": []object{m.matcher()}, "handle": []object{{"handler": "headers", "request": m.rehost()}}})
	}
	routes = append(routes, m.site(m.oneOf("a.localhost", "b.localhost")))
	m.host = ""
	if m.chance(0.5) {
		routes = append(routes, object{"handle": []object{m.app()}})
	}
	around := object{"handle": []object{m.subroute(routes)}, "terminal": true}
	if host != "" {
		around["match"] = []object{{"host": []string{host}}}
	}
	return around
}

// guard is a gate, perhaps inside of something.
func (m *routeMaker) guard() object {
	switch {
	case m.chance(0.1):
		m.named = true
		return object{"handler": "invoke", "name": "n2"}
	case m.chance(0.2):
		route := object{"handle": append(m.few(1, m.before), gateHere())}
		m.maybeGroup(route, 0.3)
		return m.subroute([]object{route})
	}
	return gateHere()
}

func gateHere() object { return object{"handler": "mfa"} }

func (m *routeMaker) app() object {
	return object{"handler": "marking_app", "of": m.host, "passes": m.chance(0.3)}
}

// subroute makes one of routes, with error routes now and then.
func (m *routeMaker) subroute(routes []object) object {
	made := object{"handler": "subroute", "routes": routes}
	if m.chance(0.4) {
		made["errors"] = object{"routes": m.errorRoutes(1)}
	}
	return made
}

// errorRoutes makes routes for errors: behind a gate, or harmless.
func (m *routeMaker) errorRoutes(depth int) []object {
	var routes []object
	if m.chance(0.2) {
		routes = append(routes, m.route(m.before(depth-1)...))
	}
	if m.gated && m.chance(0.6) {
		guard := object{"handle": append(m.few(1, m.failing), gateHere())}
		m.maybeGroup(guard, 0.4)
		routes = append(routes, guard)
		return append(routes, m.routes(1, m.behind)...)
	}
	if m.chance(m.wild) {
		routes = append(routes, m.route(m.app()))
	}
	return append(routes, m.route(object{"handler": "static_response", "body": "an error"}))
}

// routes makes a few routes of what make makes.
func (m *routeMaker) routes(depth int, make func(depth int) []object) []object {
	var routes []object
	for range 1 + m.IntN(2) {
		routes = append(routes, m.route(make(depth)...))
	}
	return routes
}

// few makes nothing, mostly.
func (m *routeMaker) few(depth int, make func(depth int) []object) []object {
	if m.chance(0.7) {
		return nil
	}
	return make(depth)
}

// route makes one route, which may depend on anything.
func (m *routeMaker) route(handlers ...object) object {
	route := object{"handle": handlers}
	if m.chance(0.5) {
		route["match"] = []object{m.matcher()}
	}
	m.maybeGroup(route, 0.4)
	if m.chance(0.1) {
		route["terminal"] = true
	}
	return route
}

func (m *routeMaker) maybeGroup(route object, p float64) {
	if m.chance(p) {
		route["group"] = m.oneOf("g0", "g1")
	}
}

func (m *routeMaker) matcher() object {
	switch m.IntN(10) {
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
		if m.chance(0.3) {
			return object{"expression": "int({http.request.header.X-N}) > 0"} // which fails
		}
	}
	return object{"path": []string{m.oneOf("/x*", "/x/y", "/*")}}
}

// before makes what may stand before a gate.
func (m *routeMaker) before(depth int) []object {
	if m.chance(m.wild) {
		return []object{m.app()}
	}
	if depth > 0 && m.chance(0.3) {
		return []object{m.subroute(m.routes(depth-1, m.before))}
	}
	if m.chance(m.wild / 2) {
		return []object{{"handler": "headers", "request": m.rehost()}}
	}
	if !m.flat && m.chance(0.05) {
		return []object{{"handler": "invoke", "name": m.oneOf("n0", "none")}}
	}
	if m.chance(0.4) {
		return m.failing(depth)
	}
	return []object{m.harmless()}
}

// rehost makes something that changes the Host.
func (m *routeMaker) rehost() object {
	host := []string{m.oneOf("a.localhost", "b.localhost", "c.localhost", "{http.request.header.X-H}")}
	switch m.IntN(4) {
	case 0:
		return object{"add": object{"Host": host}}
	case 1:
		return object{"delete": []string{m.oneOf("Host", "H*", "*")}}
	case 2:
		return object{"replace": object{m.oneOf("Host", "*"): []object{{"search_regexp": "^a", "replace": "b"}}}}
	}
	return object{"set": object{"Host": host}}
}

// failing makes an error, for some requests or all.
func (m *routeMaker) failing(int) []object {
	failure := object{"handler": "error", "status_code": 404}
	if m.chance(0.15) {
		return []object{failure}
	}
	return []object{{"handler": "subroute", "routes": []object{{"match": []object{m.matcher()}, "handle": []object{failure}}}}}
}

func (m *routeMaker) harmless() object {
	switch m.IntN(5) {
	case 0:
		return object{"handler": "headers", "request": object{"set": object{"X-A": []string{m.oneOf("1", "2")}}}}
	case 1:
		return object{"handler": "vars", m.oneOf("v", "h"): m.oneOf("1", "a.localhost", "b.localhost")}
	case 2:
		return object{"handler": "map", "source": "{http.request.uri.path}", "destinations": []string{"{m}"}, "defaults": []string{"1"}}
	case 3:
		if m.chance(0.2) {
			return object{"handler": "static_response", "status_code": 302, "headers": object{"Location": []string{"/"}}}
		}
	}
	return object{"handler": "request_body", "max_size": 1 << 20}
}

// behind makes what may stand behind a gate.
func (m *routeMaker) behind(depth int) []object {
	switch n := m.IntN(8); {
	case n == 0 && depth > 0:
		return []object{m.subroute(m.routes(depth-1, m.behind))}
	case n == 1:
		return []object{{"handler": "rewrite", "uri": m.oneOf("/x", "/y")}, m.app()}
	case n == 2:
		return []object{{"handler": "headers", "request": m.rehost()}, m.app()}
	case n == 3 && !m.flat:
		return []object{{"handler": "invoke", "name": m.oneOf("n1", "n0")}}
	case n == 4:
		return m.failing(depth)
	case n == 5:
		return []object{m.harmless(), m.app()}
	}
	return []object{m.app()}
}
