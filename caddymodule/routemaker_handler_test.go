package caddymodule

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
