// Command portcullis is Caddy with its standard modules and Portcullis
// compiled in. Its commands and flags are Caddy's, and `mfa`.
package main

import (
	caddycmd "github.com/caddyserver/caddy/v2/cmd"
	_ "github.com/caddyserver/caddy/v2/modules/standard" // Caddy's own modules

	_ "github.com/portcullis-mfa/portcullis" // ours
)

func main() { caddycmd.Main() }
