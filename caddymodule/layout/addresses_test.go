package layout

import (
	"encoding/json"
	"fmt"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	_ "github.com/caddyserver/caddy/v2/modules/standard"
)

func init() {
	caddy.RegisterModule(new(probe))
}

// probe is an app that looks at the http app of a configuration while that is
// provisioned: Caddy has no other place for that which also cleans up.
type probe struct{}

// look is what the probe does; each test sets its own.
var look func(sites *caddyhttp.App)

func (*probe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "probe", New: func() caddy.Module { return new(probe) }}
}

func (*probe) Provision(ctx caddy.Context) error {
	loaded, err := ctx.App("http")
	if err != nil {
		return err
	}
	look(loaded.(*caddyhttp.App))
	return nil
}

func (*probe) Start() error { return nil }
func (*probe) Stop() error  { return nil }

// TestTrustsProxies finds what Caddy keeps to itself where it is looked for.
func TestTrustsProxies(t *testing.T) {
	for options, want := range map[string]bool{
		"":                            false,
		`"trusted_proxies_unix":true`: true,
		`"trusted_proxies":{"source":"static","ranges":["10.0.0.0/8"]}`: true,
		`"client_ip_headers":["X-Real-Ip"],"trusted_proxies_strict":1`:  false,
	} {
		if options != "" {
			options += ","
		}
		var config caddy.Config
		if err := json.Unmarshal([]byte(fmt.Sprintf(`{
			"admin": {"disabled": true, "config": {"persist": false}},
			"storage": {"module": "file_system", "root": %q},
			"logging": {"logs": {"default": {"level": "FATAL"}}},
			"apps": {"probe": {}, "http": {"servers": {"apps": {%s"listen": [":8080"], "automatic_https": {"disable": true}}}}}
		}`, t.TempDir(), options)), &config); err != nil {
			t.Fatal(err)
		}
		look = func(sites *caddyhttp.App) {
			if got := trustsProxies(sites.Servers["apps"]); got != want {
				t.Errorf("%s: %t", options, got)
			}
		}
		if err := caddy.Validate(&config); err != nil {
			t.Fatal(err)
		}
	}
}
