// Package gate decides on every request to a protected app: whether it passes,
// as whom, and what the app sees of it.
//
// What is decided on is what the app gets. So the target is brought into one
// form first, the rules are asked about every way in which an app could read that
// form (package canonical), the headers in which an app looks for the person are
// ours alone (IdentityHeaders), and our cookies stop here in both directions
// (Cookies, responseGuard). Who sent a request is for readers to say; see who.go.
//
// It must not know Caddy, nor show a form: forms are the portal's.
package gate
