// Package portcullis plugs Portcullis into Caddy: importing it registers the
// app mfa, the handlers mfa and mfa_portal, the stores, and the `caddy mfa`
// commands, so that
//
//	xcaddy build --with github.com/portcullis-mfa/portcullis
//
// makes a Caddy that enforces multi-factor authentication. It must not hold
// anything else; what the modules do is in package caddymodule and below.
package portcullis

import _ "github.com/portcullis-mfa/portcullis/caddymodule" // registers the modules
