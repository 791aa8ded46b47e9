package caddymodule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestGeoIPRefuses wants a configuration whose places can't be read not to load.
func TestGeoIPRefuses(t *testing.T) {
	folder := t.TempDir()
	garbage := filepath.Join(folder, "garbage.mmdb")
	if err := os.WriteFile(garbage, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	for file, want := range map[string]string{
		"/nowhere/city.mmdb":         "push: geoip: open /nowhere/city.mmdb",
		folder:                       "is a directory",
		garbage:                      "push: geoip " + garbage + ": this isn't a database in the MaxMind DB format",
		"{env.NOT_SET_ANYWHERE}/x":   "push: geoip",
		"{env.HOME}/nowhere/no.mmdb": "/nowhere/no.mmdb",
	} {
		err := withApp(t, `{"portal": "https://login.example.com", "push": {"authenticator": "https://phone.example.com", "geoip": "`+file+`"}}`, func(*App) error { return nil })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", file, err, want)
		}
	}
}
