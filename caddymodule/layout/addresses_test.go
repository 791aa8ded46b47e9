package layout

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
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

// provisioned provisions a server with these settings, and shows it to then.
func provisioned(t *testing.T, settings string, then func(server *caddyhttp.Server)) {
	t.Helper()
	var config caddy.Config
	if err := json.Unmarshal([]byte(fmt.Sprintf(`{
		"admin": {"disabled": true, "config": {"persist": false}},
		"storage": {"module": "file_system", "root": %q},
		"logging": {"logs": {"default": {"level": "FATAL"}}},
		"apps": {"probe": {}, "http": {"servers": {"apps": {%s}}}}
	}`, t.TempDir(), settings)), &config); err != nil {
		t.Fatal(err)
	}
	look = func(sites *caddyhttp.App) { then(sites.Servers["apps"]) }
	if err := caddy.Validate(&config); err != nil {
		t.Fatal(err)
	}
}

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
		provisioned(t, options+`"listen": [":8080"], "automatic_https": {"disable": true}`, func(server *caddyhttp.Server) {
			if got := trustsProxies(server); got != want {
				t.Errorf("%s: %t", options, got)
			}
		})
	}
}

// TestScriptSplits finds what sites say of the names of scripts (P07), however
// deep.
func TestScriptSplits(t *testing.T) {
	const proxy = `{"handler": "reverse_proxy", "upstreams": [{"dial": "127.0.0.1:1"}], "transport": {"protocol": "fastcgi", "split_path": ["SPLIT"]}}`
	fastcgi := func(split string) string { return strings.Replace(proxy, "SPLIT", split, 1) }
	provisioned(t, `"listen": [":8443"],
			"named_routes": {"it": {"handle": [`+fastcgi(".named")+`]}},
			"errors": {"routes": [{"handle": [`+fastcgi(".error")+`]}]},
			"routes": [
				{"handle": [{"handler": "subroute", "routes": [{"handle": [`+fastcgi(".PHP")+`]}], "errors": {"routes": [{"handle": [`+fastcgi(".late")+`]}]}}]},
				{"handle": [{"handler": "reverse_proxy", "upstreams": [{"dial": "127.0.0.1:1"}], "handle_response": [{"routes": [{"handle": [`+fastcgi(".response")+`]}]}]}]},
				{"handle": [{"handler": "intercept", "handle_response": [{"routes": [{"handle": [`+fastcgi(".php")+`]}]}]}]}
			]`, func(server *caddyhttp.Server) {
		got := ScriptSplits(server)
		if want := []string{".error", ".late", ".named", ".php", ".response"}; !slices.Equal(got, want) {
			t.Errorf("got %q", got)
		}
	})
}
