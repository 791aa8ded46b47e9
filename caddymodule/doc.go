// Package caddymodule is all that knows Caddy: the mfa app, the gate and the
// portal as handlers, their Caddyfile, the admin API and the `caddy mfa`
// commands.
//
// It turns configuration into values and connects the other packages with
// Caddy's life cycle and requests; what a session, a proof or a page is stands
// in the packages below. It must not know SQL, and holds no rule of the
// product that could stand elsewhere.
//
// A configuration comes to life in three steps:
//
//	decode     the Caddyfile is adapted to JSON (caddyfile.go), Caddy decodes it
//	Provision  each module completes and checks itself; nothing is created and
//	           nothing shared is touched, since the configuration may yet be
//	           refused and `caddy validate` goes no further
//	Start      the app walks all routes (walk.go), refuses what would leave a
//	           hole (layout.go and its checks), opens what it needs, and only then places each
//	           handler; before that a handler answers 503
package caddymodule
