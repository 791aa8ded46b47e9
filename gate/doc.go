// Package gate decides on every request to a protected app: whether it passes,
// as whom, and what the app sees of it.
//
// What is decided on is what the app gets. So the target is brought into one
// form first (Canonicalise), the rules are asked about every way in which an
// app could read that form (Readings), the headers in which an app looks for
// the person are ours alone (IdentityHeaders), and our cookies stop here in
// both directions (Cookies, responseGuard).
//
// It must not know Caddy, nor show a form: forms are the portal's.
package gate
