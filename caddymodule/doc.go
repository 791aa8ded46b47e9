// Package caddymodule connects everything with Caddy: the mfa app, the gate and
// the portal as handlers, and their Caddyfile. Below it, layout checks how sites
// are laid out, adminapi serves the admin API, and commands contains the
// `caddy mfa` commands.
//
// It turns configuration into values and connects the other packages with
// Caddy's life cycle and requests; what a session, a proof or a page is belongs
// to those packages. It must not know SQL, and contains no rule of the
// product that another package could contain.
//
// A configuration comes to life in three steps:
//
//	decode     the Caddyfile is adapted to JSON (caddyfile.go), and Caddy decodes it
//	Provision  each module completes and checks itself; nothing is created and
//	           nothing shared is touched, since the configuration may yet be
//	           refused and `caddy validate` goes no further
//	Start      the app has package layout check all routes, opens what it
//	           needs, and only then places each handler; before that a handler
//	           answers 503
//
// The Caddyfile is read in the package of the types that it fills, since Caddy
// expects a method of those types to do it.
package caddymodule
