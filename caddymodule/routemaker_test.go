package caddymodule

import (
	"fmt"
	"math/rand/v2"
	"slices"
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
	returns  float64 // an error brings requests back to a gate whose group is used up
	strays   float64 // requests for one host go on as if they were for another
}

var themes = []theme{
	{groups: 0.1, errors: 0.2, catches: 0.2, spread: 0.3, captures: 0.2, open: 0.2},
	{groups: 0.7, errors: 0.5, catches: 0.8, open: 0.1},
	{groups: 0.8, errors: 0.3, catches: 0.5, spread: 0.2, open: 0.1},
	{groups: 0.2, errors: 0.6, catches: 0.8, spread: 0.2, open: 0.1},
	{rehosts: 0.5, spread: 0.8, open: 0.5},
	{rehosts: 0.5, spread: 0.6, catches: 0.5, errors: 0.2, open: 0.4},
	{astray: 0.12, groups: 0.1, catches: 0.2, spread: 0.3, open: 0.2},
	{returns: 0.9},
	{strays: 1, open: 0.3},
	{strays: 1, spread: 0.5, open: 0.5},
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
	if m.chance(m.strays) {
		routes = slices.Insert(routes, m.IntN(len(routes)+1), m.stray())
	}
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
