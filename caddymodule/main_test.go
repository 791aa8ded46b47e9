package caddymodule

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig"
	_ "github.com/caddyserver/caddy/v2/modules/standard"

	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
	"github.com/portcullis-mfa/portcullis/templates"
)

func init() {
	caddy.RegisterModule(new(probe))
}

// probe is an app that looks at a configuration while it is provisioned, when
// all others are: Caddy has no other place for that which also cleans up.
type probe struct{}

// TestMain keeps the pages of most configurations here in use, so that they are
// parsed once.
func TestMain(m *testing.M) {
	usual, err := pages.Set(templates.Options{})
	if err != nil {
		panic(err)
	}
	code := m.Run()
	runtime.KeepAlive(usual)
	os.Exit(code)
}

// look is what the probe does; each test sets its own.
var look func(app *App) error

func (*probe) CaddyModule() caddy.ModuleInfo {
	return caddy.ModuleInfo{ID: "probe", New: func() caddy.Module { return new(probe) }}
}

func (*probe) Provision(ctx caddy.Context) error {
	if _, err := ctx.AppIfConfigured("http"); err != nil && !errors.Is(err, caddy.ErrNotConfigured) {
		return err
	}
	app, err := loadedApp(ctx)
	if err != nil {
		return err
	}
	return look(app)
}

func (*probe) Start() error { return nil }
func (*probe) Stop() error  { return nil }

// adapt turns a Caddyfile into JSON as Caddy does.
func adapt(caddyfile string) ([]byte, error) {
	adapted, _, err := caddyconfig.GetAdapter("caddyfile").Adapt([]byte(caddyfile), nil)
	return adapted, err
}

// configured decodes a configuration in JSON, with everything that it might
// write in a folder of the test's.
func configured(t *testing.T, raw []byte) *caddy.Config {
	t.Helper()
	var config caddy.Config
	if err := json.Unmarshal(raw, &config); err != nil {
		t.Fatalf("decoding %s: %v", raw, err)
	}
	folder := t.TempDir()
	config.Admin = &caddy.AdminConfig{Disabled: true, Config: &caddy.ConfigSettings{Persist: new(bool)}}
	config.StorageRaw = []byte(fmt.Sprintf(`{"module": "file_system", "root": %q}`, filepath.Join(folder, "caddy")))
	config.Logging = &caddy.Logging{Logs: map[string]*caddy.CustomLog{"default": {BaseLog: caddy.BaseLog{Level: "FATAL"}}}}
	return &config
}

// provisioned provisions a configuration in JSON, as `caddy validate` does,
// and shows it to then.
func provisioned(t *testing.T, raw []byte, then func(app *App) error) error {
	t.Helper()
	config := configured(t, raw)
	config.AppsRaw["probe"] = []byte("{}")
	look = then
	return caddy.Validate(config)
}

// portalSite returns an http app that serves nothing but the portal of an app with
// these settings.
func portalSite(settings string) string {
	var app struct {
		Portal string `json:"portal"`
	}
	_ = json.Unmarshal([]byte(settings), &app) // what is wrong with it is what the test is about
	portal, err := url.Parse(caddy.NewReplacer().ReplaceKnown(app.Portal, ""))
	if err != nil {
		portal = new(url.URL)
	}
	listen := ":443"
	if portal.Scheme == "http" {
		listen = ":80"
	}
	return fmt.Sprintf(`{"servers": {"portal": {"listen": [%q], "routes": [
		{"match": [{"host": [%q]}], "handle": [{"handler": "mfa_portal"}]}
	]}}}`, listen, strings.ToLower(portal.Hostname()))
}

// arranged does the same for a Caddyfile, and lays it out.
func arranged(t *testing.T, caddyfile string) (found layout.Layout, err error) {
	t.Helper()
	raw, err := adapt(caddyfile)
	if err != nil {
		t.Fatalf("adapting %s: %v", caddyfile, err)
	}
	return arrangedJSON(t, raw)
}

func arrangedJSON(t *testing.T, raw []byte) (found layout.Layout, err error) {
	t.Helper()
	err = provisioned(t, raw, func(app *App) (err error) {
		found, err = app.arrange()
		return err
	})
	return found, err
}
