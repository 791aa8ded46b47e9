// Package authenticator serves the phone's app: one page with its scripts, and the API
// that they call (docs/push-protocol.md). The app has a host of its own, since every
// script of its origin can use the phone's keys. The package sets no cookies and takes
// no forms. It must not know Caddy, SQL, or how a sign-in continues.
package authenticator
