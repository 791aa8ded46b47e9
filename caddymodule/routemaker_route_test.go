package caddymodule

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
