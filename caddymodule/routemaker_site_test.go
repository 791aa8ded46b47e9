package caddymodule

import "maps"

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
	if m.gated && m.chance(m.returns) {
		return m.returning()
	}
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

// returning makes the routes of a site on which a request may fail on its way to the
// gate, be caught, and go the same way again.
func (m *routeMaker) returning() []object {
	caught := object{"handler": "subroute", "routes": []object{}, "errors": object{"routes": []object{}}}
	if m.chance(0.3) {
		caught["routes"] = []object{{"group": m.group, "handle": []object{m.harmless()}}}
	}
	if m.chance(0.3) {
		caught["errors"] = object{"routes": []object{{"group": m.group, "handle": []object{m.harmless()}}}}
	}
	guarded := object{"handle": append(m.failing(0), m.gate())}
	if m.chance(0.8) {
		guarded["group"] = m.group
	}
	return []object{{"handle": []object{caught}}, guarded, {"handle": []object{m.app()}}}
}

// stray makes a route for a host that does nothing but change the Host.
func (m *routeMaker) stray() object {
	route := object{"handle": []object{m.headers(m.rehost())}}
	m.forHost(route, m.oneOf("a.localhost", "b.localhost", "c.localhost", "*.localhost"))
	return route
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
