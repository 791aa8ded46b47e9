// Package adminapi serves the API behind the `caddy mfa` commands on Caddy's admin
// endpoint.
//
// It turns requests into calls to the packages that administer people, devices
// and keys, and turns their results into JSON. It must not know how an app is
// configured: the app of the configuration in force hands it a Server.
package adminapi
