// Package adminapi serves, on Caddy's admin endpoint, what the `caddy mfa`
// commands ask for.
//
// It turns requests into calls of the packages that administer people, devices
// and keys, and their results into JSON. It must not know how an app is
// configured: the app of the configuration in force hands it a Server.
package adminapi
