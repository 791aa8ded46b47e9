// Package commands are the `caddy mfa` commands, which ask the running server
// over Caddy's admin endpoint.
//
// It turns arguments into requests of package adminapi, and answers into text
// for people at a terminal. It must not decide anything: the server does.
package commands
