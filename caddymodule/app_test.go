package caddymodule

import (
	"encoding/json"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/identity"
)

// withApp provisions a configuration that has the mfa app and the portal's site.
func withApp(t *testing.T, settings string, then func(app *App) error) error {
	t.Helper()
	return provisioned(t, []byte(`{"apps": {"mfa": `+settings+`, "http": `+portalSite(settings)+`}}`), then)
}

func TestAppDefaults(t *testing.T) {
	data := t.TempDir()
	t.Setenv("XDG_DATA_HOME", data)
	err := withApp(t, `{"portal": "https://Login.Example.com:443/"}`, func(app *App) error {
		if app.Portal != "https://login.example.com" || app.portal.String() != app.Portal {
			t.Errorf("portal: %s, %s", app.Portal, app.portal)
		}
		if app.Name != "Portcullis" || app.Contact != "" || app.Keys != "" || app.BackupCodes.Off {
			t.Errorf("app: %+v", app)
		}
		if want := (SessionSettings{Lifetime: caddy.Duration(12 * time.Hour), Idle: caddy.Duration(time.Hour)}); *app.Session != want {
			t.Errorf("session: %+v", *app.Session)
		}
		if app.MaxStaleness != caddy.Duration(time.Minute) || app.BehindTLSProxy {
			t.Errorf("max_staleness %v, behind_tls_proxy %t", app.MaxStaleness, app.BehindTLSProxy)
		}
		want := TOTP{Algorithm: "sha1", Digits: 6, Period: caddy.Duration(30 * time.Second), Issuer: "Portcullis"}
		if !reflect.DeepEqual(*app.TOTP, want) {
			t.Errorf("totp: %+v", *app.TOTP)
		}
		if time.Duration(*app.ReplacementHold) != 24*time.Hour || app.Logo != "" || app.Accent != "" || app.Templates != "" {
			t.Errorf("app: %+v", app)
		}
		if app.admins.includes("alice", []string{"admins"}) {
			t.Error("somebody is an administrator by default")
		}
		if want := filepath.Join(data, "caddy", "portcullis", "portcullis.db"); app.store.Key() != want {
			t.Errorf("store: %s, want %s", app.store.Key(), want)
		}
		on := true
		if want := (FIDO{Passwordless: &on, SignCount: "strict", RPID: "login.example.com", UpgradeOffer: &on}); !reflect.DeepEqual(*app.FIDO, want) {
			t.Errorf("fido: %+v", *app.FIDO)
		}
		if got := app.highest(); got != assurance.PhishingResistant {
			t.Errorf("the highest assurance is %s", got)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestAppExpandsPlaceholders(t *testing.T) {
	t.Setenv("HERE", "example.com")
	t.Setenv("TEAM", "admins")
	folder := t.TempDir()
	t.Setenv("STATE", folder)
	err := withApp(t, `{
		"portal": "https://login.{env.HERE}:8443",
		"admins": {"groups": ["{env.TEAM}"], "users": ["Alice"]},
		"store": {"module": "sqlite", "path": "{env.STATE}/mfa.db"},
		"keys": "{env.STATE}/keys",
		"name": "At {env.HERE}",
		"contact": "help@{env.HERE}"
	}`, func(app *App) error {
		got := []string{app.Portal, app.store.Key(), app.Keys, app.Name, app.Contact, app.TOTP.Issuer}
		want := []string{
			"https://login.example.com:8443", folder + "/mfa.db", folder + "/keys",
			"At example.com", "help@example.com", "At example.com",
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("got %q, want %q", got, want)
		}
		if !app.admins.includes("bob", []string{"admins"}) || !app.admins.includes("alice", nil) || app.admins.includes("bob", []string{"Admins"}) {
			t.Errorf("admins: %+v", app.admins)
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// fixedPepper is the only pepper there is.
type fixedPepper struct{}

func (fixedPepper) CurrentPepper() (string, []byte) { return "p", make([]byte, 32) }

func (fixedPepper) Pepper(string) ([]byte, error) { return make([]byte, 32), nil }

func TestPlatforms(t *testing.T) {
	const settings = `{"portal": "https://a.example", "totp": {"not_on": ["android", "ios"]}, "backup_codes": {"only_on": ["linux"]}}`
	err := withApp(t, settings, func(app *App) error {
		passwords, err := identity.NewHasher(identity.HasherConfig{Peppers: fixedPepper{}})
		if err != nil {
			return err
		}
		_, offers, err := app.makeFactors(passwords)
		if err != nil {
			return err
		}
		for _, tt := range []struct {
			kind     assurance.Factor
			platform string
			want     bool
		}{
			{assurance.TOTP, "windows", true},
			{assurance.TOTP, "", true},
			{assurance.TOTP, "ios", false},
			{assurance.BackupCode, "linux", true},
			{assurance.BackupCode, "windows", false},
			{assurance.BackupCode, "", false},
		} {
			if got := offers.include(tt.kind, tt.platform); got != tt.want {
				t.Errorf("%s on %q: %t", tt.kind, tt.platform, got)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestSessionSettings(t *testing.T) {
	for _, tt := range []struct {
		settings               string
		lifetime, idle, remain time.Duration
	}{
		{`{}`, 12 * time.Hour, time.Hour, 0},
		{`{"lifetime": "90d"}`, 90 * 24 * time.Hour, time.Hour, 0},
		{`{"lifetime": "30m"}`, 30 * time.Minute, 30 * time.Minute, 0},
		{`{"lifetime": "1m"}`, time.Minute, time.Minute, 0},
		{`{"lifetime": "8h", "idle": "8h", "remember": "365d"}`, 8 * time.Hour, 8 * time.Hour, 365 * 24 * time.Hour},
		{`{"idle": "1m", "remember": "61s"}`, 12 * time.Hour, time.Minute, 61 * time.Second},
	} {
		err := withApp(t, `{"portal": "https://a.example", "session": `+tt.settings+`}`, func(app *App) error {
			if want := (SessionSettings{caddy.Duration(tt.lifetime), caddy.Duration(tt.idle), caddy.Duration(tt.remain)}); *app.Session != want {
				t.Errorf("%s: %+v, want %+v", tt.settings, *app.Session, want)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", tt.settings, err)
		}
	}
}

// TestKeysNeedAHostName holds that security keys are off by themselves where
// nothing can be bound to the portal's address, and otherwise where it is said.
func TestKeysNeedAHostName(t *testing.T) {
	for settings, want := range map[string]assurance.Level{
		`{"portal": "https://192.0.2.1"}`:                        assurance.Multi,
		`{"portal": "https://[2001:db8::1]:8443"}`:               assurance.Multi,
		`{"portal": "https://a.example", "fido": {"off": true}}`: assurance.Multi,
		`{"portal": "http://login.localhost:8080"}`:              assurance.PhishingResistant,
		`{"portal": "http://localhost"}`:                         assurance.PhishingResistant,
		`{"portal": "https://login"}`:                            assurance.Multi,
	} {
		err := withApp(t, settings, func(app *App) error {
			if got := app.highest(); got != want {
				t.Errorf("%s: the highest assurance is %s", settings, got)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", settings, err)
		}
	}
}

func TestAppRefuses(t *testing.T) {
	for _, tt := range []struct{ settings, want string }{
		{`{}`, "the portal is missing"},
		{`{"portal": "login.example.com"}`, "this isn't an address"},
		{`{"portal": "https://"}`, "this isn't an address"},
		{`{"portal": "http://login.example.com"}`, "plain http:// works only for localhost"},
		{`{"portal": "http://localhost.example.com"}`, "plain http:// works only for localhost"},
		{`{"portal": "http://127.0.0.1"}`, "plain http:// works only for localhost"},
		{`{"portal": "ftp://login.example.com"}`, "must begin with https://"},
		{`{"portal": "https://login.example.com/mfa"}`, "nothing else"},
		{`{"portal": "https://login.example.com?a"}`, "nothing else"},
		{`{"portal": "https://a@login.example.com"}`, "nothing else"},
		{`{"portal": "https://*.example.com"}`, "not a wildcard"},
		{`{"portal": "https://login.example.com."}`, "isn't a host"},
		{`{"portal": "https://{env.NOT_SET_ANYWHERE}"}`, "portal"},
		{`{"portal": "https://a.example", "admins": {}}`, "admins: names nobody"},
		{`{"portal": "https://a.example", "admins": {"groups": ["a\u0007b"]}}`, "control characters"},
		{`{"portal": "https://a.example", "name": "a\nb"}`, "control characters"},
		{`{"portal": "https://a.example", "name": "A: B"}`, "can't contain a colon"},
		{`{"portal": "https://a.example", "totp": {"algorithm": "md5"}}`, `algorithm "md5"`},
		{`{"portal": "https://a.example", "totp": {"digits": 7}}`, "digits 7"},
		{`{"portal": "https://a.example", "totp": {"period": "1s"}}`, "period 1s"},
		{`{"portal": "https://a.example", "totp": {"period": "30500ms"}}`, "period 30.5s"},
		{`{"portal": "https://a.example", "totp": {"period": "3m"}}`, "period 3m: "},
		{`{"portal": "https://a.example", "totp": {"only_on": ["linux"], "not_on": ["ios"]}}`, "totp: only_on and not_on can't be combined"},
		{`{"portal": "https://a.example", "totp": {"only_on": ["Linux"]}}`, `totp: unknown platform "Linux": the platforms are windows, macos`},
		{`{"portal": "https://a.example", "backup_codes": {"not_on": ["plan9"]}}`, `backup_codes: unknown platform "plan9"`},
		{`{"portal": "https://a.example", "replacement_hold": "31d"}`, "replacement_hold 31d: write a time of up to 30d, or off"},
		{`{"portal": "https://a.example", "replacement_hold": -1}`, "replacement_hold -1ns"},
		{`{"portal": "https://a.example", "logo": "/nowhere/logo.svg"}`, "logo: open /nowhere/logo.svg"},
		{`{"portal": "https://a.example", "accent": "blue"}`, "accent"},
		{`{"portal": "https://a.example", "templates": "/nowhere/templates"}`, "/nowhere/templates"},
		{`{"portal": "https://a.example", "session": {"idle": "13h"}}`, "session: idle 13h: it can't be longer than the lifetime, which is 12h"},
		{`{"portal": "https://a.example", "session": {"lifetime": "1h", "idle": "3601s"}}`, "session: idle 1h0m1s: it can't be longer"},
		{`{"portal": "https://a.example", "session": {"idle": "59s"}}`, "session: idle 59s: activity is recorded once a minute: write 1m or more"},
		{`{"portal": "https://a.example", "session": {"idle": -1}}`, "session: idle -1ns"},
		{`{"portal": "https://a.example", "session": {"lifetime": "91d"}}`, "session: lifetime 91d: write a time from 1m to 90d"},
		{`{"portal": "https://a.example", "session": {"lifetime": "59s"}}`, "session: lifetime 59s"},
		{`{"portal": "https://a.example", "session": {"lifetime": -1}}`, "session: lifetime -1ns"},
		{`{"portal": "https://a.example", "session": {"remember": -1}}`, "session: remember -1ns: write a time up to 365d, or leave it out"},
		{`{"portal": "https://a.example", "session": {"remember": "366d"}}`, "session: remember 366d"},
		{`{"portal": "https://a.example", "session": {"remember": "1h"}}`, "session: remember 1h: nobody is asked again until idle (1h) is over"},
		{`{"portal": "https://a.example", "session": {"idel": "1h"}}`, "unknown field"},
		{`{"portal": "https://a.example", "password": {"hashing_memory": 67108863}}`, "password: hashing_memory 64 MiB: one hash takes 64 MiB"},
		{`{"portal": "https://a.example", "max_staleness": "1s"}`, "max_staleness 1s: write a time from 2s"},
		{`{"portal": "https://a.example", "max_staleness": "61m"}`, "max_staleness 1h1m"},
		{`{"portal": "https://a.example", "max_staleness": -1}`, "max_staleness -1ns"},
		{`{"portal": "http://a.example", "behind_tls_proxy": true}`, "plain http:// works only for localhost"},
		{`{"portal": "https://a.example", "name": "` + strings.Repeat("a", 65) + `"}`, "more than 64 characters"},
		{`{"portal": "https://a.example", "fido": {"sign_count": "loose"}}`, `fido: sign_count "loose": write strict or lenient`},
		{`{"portal": "https://a.example", "fido": {"only_on": ["ios"], "not_on": ["windows"]}}`, "fido: only_on and not_on can't be combined"},
		{`{"portal": "https://192.0.2.1", "fido": {}}`, `fido: keys can't be bound to "192.0.2.1"`},
		{`{"portal": "https://a.example", "store": {"module": "abacus"}}`, "unknown module: mfa.stores.abacus"},
		{`{"portal": "https://a.example", "portl": ""}`, "unknown field"},
	} {
		err := withApp(t, tt.settings, func(*App) error { return nil })
		if err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%s: %v; want %q", tt.settings, err, tt.want)
		}
	}
}

// `caddy validate` creates nothing: no store, no keys.
func TestValidateCreatesNothing(t *testing.T) {
	folder := filepath.Join(t.TempDir(), "state")
	err := withApp(t, `{
		"portal": "https://login.example.com",
		"store": {"module": "sqlite", "path": "`+folder+`/mfa.db"},
		"keys": "`+folder+`/keys"
	}`, func(*App) error { return nil })
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(folder); !os.IsNotExist(err) {
		t.Errorf("there is a state folder: %v", err)
	}
}

// A running server places its handlers once it can serve, and a configuration
// that leaves a hole doesn't start.
func TestStart(t *testing.T) {
	folder := t.TempDir()
	start := func(guarded string) error {
		raw, err := adapt(`{
	mfa {
		portal http://login.localhost
		store sqlite ` + folder + `/mfa.db
		keys ` + folder + `/keys
	}
}
http://login.localhost:0 {
	bind 127.0.0.1
	mfa_portal
}
http://app.localhost:0 {
	bind 127.0.0.1
	` + guarded + `
}
`)
		if err != nil {
			t.Fatal(err)
		}
		return caddy.Run(configured(t, raw))
	}
	err := start("route {\n reverse_proxy 127.0.0.1:1\n mfa\n }")
	if err == nil || !strings.Contains(err.Error(), "reverse_proxy can answer") {
		t.Fatalf("a hole was not refused: %v", err)
	}
	if err := start("mfa"); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	}()
	app, err := loadedApp(caddy.ActiveContext())
	if err != nil {
		t.Fatal(err)
	}
	if len(app.gates) != 1 || app.gates[0].placed.Load() == nil {
		t.Error("the gate is not placed")
	}
	if len(app.layout.Portals) != 1 || !app.layout.Portals[0].(*Portal).placed.Load() {
		t.Error("the portal is not placed")
	}
}

func TestOptionsAreOptional(t *testing.T) {
	for _, module := range []any{App{}, SessionSettings{}, TOTP{}, FIDO{}, Attestation{}, BackupCodes{}, Platforms{}, People{}, SQLiteStore{}, PostgresStore{}, Gate{}, Rule{}, Headers{}} {
		typ := reflect.TypeOf(module)
		for i := range typ.NumField() {
			field := typ.Field(i)
			tag := field.Tag.Get("json")
			if field.IsExported() && !field.Anonymous && (!strings.HasSuffix(tag, ",omitempty") || tag != strings.ToLower(tag)) {
				t.Errorf("%s.%s has the JSON tag %q", typ.Name(), field.Name, tag)
			}
		}
	}
	if encoded, err := json.Marshal(new(Gate)); err != nil || string(encoded) != "{}" {
		t.Errorf("an empty gate is %s, %v", encoded, err)
	}
}

// X07: Caddy keeps former configurations for as long as a connection to an
// upstream rests that was in use at the reload, which is two minutes. So what
// a configuration holds on to counts as often as there are reloads in that
// time.
func TestX07FormerConfigurationsAreSmall(t *testing.T) {
	const (
		reloads = 20
		most    = 256 << 10 // bytes that each may hold
	)
	heap := func() int64 {
		for range 3 {
			runtime.GC()
		}
		var now runtime.MemStats
		runtime.ReadMemStats(&now)
		return int64(now.HeapAlloc)
	}
	directory := t.TempDir()
	if err := os.MkdirAll(filepath.Join(directory, "assets"), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(directory, "assets", "style.css"), []byte("body {}"), 0o600); err != nil {
		t.Fatal(err)
	}
	for name, settings := range map[string]string{
		"as it is built":   `{"portal": "https://login.example.com"}`,
		"with an override": `{"portal": "https://login.example.com", "accent": "#1c5dbf", "templates": "` + directory + `"}`,
	} {
		t.Run(name, func(t *testing.T) {
			var kept []*App
			keep := func(app *App) error {
				kept = append(kept, app)
				return nil
			}
			if err := withApp(t, settings, keep); err != nil {
				t.Fatal(err)
			}
			before := heap()
			for range reloads {
				if err := withApp(t, settings, keep); err != nil {
					t.Fatal(err)
				}
				if kept[len(kept)-1].pages != kept[0].pages {
					t.Fatal("the pages were parsed again, though nothing about them changed")
				}
			}
			held := (heap() - before) / reloads
			runtime.KeepAlive(kept)
			t.Logf("%d bytes", held)
			if held > most {
				t.Errorf("each configuration holds %d bytes, more than %d", held, most)
			}
		})
	}
}
