package caddymodule

import (
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"time"
	"unicode"

	"github.com/caddyserver/caddy/v2"

	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
	"github.com/portcullis-mfa/portcullis/templates"
)

func (a *App) resolvePortal() error {
	written, err := expand("portal", a.Portal)
	if err != nil {
		return err
	}
	if written == "" {
		return errNoPortal
	}
	if a.portal, err = parsePortal(written); err != nil {
		return fmt.Errorf("portal %s: %w", written, err)
	}
	a.Portal = a.portal.String()
	return nil
}

// parsePortal reads the portal's address and brings it to the form in which
// browsers send it as an origin.
func parsePortal(written string) (*url.URL, error) {
	return parseOwnAddress(written, "https://login.example.com", "portal")
}

// parseOwnAddress reads the address of a site of ours, as parsePortal does.
func parseOwnAddress(written, example, called string) (*url.URL, error) {
	u, err := url.Parse(written)
	if err != nil || u.Host == "" {
		return nil, errors.New("this isn't an address: write " + example)
	}
	if (u.Path != "" && u.Path != "/") || u.RawQuery != "" || u.Fragment != "" || u.User != nil || u.Opaque != "" {
		return nil, errors.New("write the scheme, the host and, if needed, the port, and nothing else")
	}
	host, err := origin.ParsePattern(u.Host)
	if err != nil {
		return nil, err
	}
	if host.IsWildcard() {
		return nil, errors.New("the " + called + " has one host, not a wildcard")
	}
	switch {
	case u.Scheme == "http" && !origin.IsLocalhost(host.Name):
		return nil, errors.New("plain http:// works only for localhost and names under it: write https://")
	case u.Scheme != "http" && u.Scheme != "https":
		return nil, errors.New("the address must begin with https://")
	}
	return &url.URL{Scheme: u.Scheme, Host: origin.Authority(u.Scheme, host.Name, host.Port)}, nil
}

func (a *App) resolveAdmins() (err error) {
	if a.Admins == nil {
		return nil
	}
	if a.admins, err = a.Admins.resolve(); err != nil {
		return fmt.Errorf("admins: %w", err)
	}
	return nil
}

// resolveTexts completes what people are shown.
func (a *App) resolveTexts() (err error) {
	if a.Name, err = expandText("name", a.Name); err != nil {
		return err
	}
	if a.Name == "" {
		a.Name = "Portcullis"
	}
	a.Contact, err = expandText("contact", a.Contact)
	return err
}

// resolvePages reads what the operator has instead of our pages, so that
// `caddy validate` says what is wrong with it.
func (a *App) resolvePages() (err error) {
	var options templates.Options
	if options.Overrides, err = expand("templates", a.Templates); err != nil {
		return err
	}
	if options.Accent, err = expand("accent", a.Accent); err != nil {
		return err
	}
	logo, err := expand("logo", a.Logo)
	if err != nil {
		return err
	}
	if logo != "" {
		if options.Logo, err = readLogo(logo); err != nil {
			return fmt.Errorf("logo: %w", err)
		}
	}
	a.pages, err = pages.Set(options)
	return err
}

// pages are shared by the configurations of this process.
var pages templates.Shared

func readLogo(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	// One byte more than may be tells that there is more.
	return io.ReadAll(io.LimitReader(file, templates.MaxLogo+1))
}

func (a *App) resolveKeys() error {
	path, err := expand("keys", a.Keys)
	if err != nil || path == "" {
		return err
	}
	if a.Keys, err = filepath.Abs(path); err != nil {
		return fmt.Errorf("keys %s: %w", path, err)
	}
	return nil
}

func (a *App) resolveSession() error {
	if a.Session == nil {
		a.Session = new(SessionSettings)
	}
	if err := a.Session.complete(); err != nil {
		return fmt.Errorf("session: %w", err)
	}
	if a.Password == nil {
		a.Password = new(Password)
	}
	if err := a.Password.complete(); err != nil {
		return fmt.Errorf("password: %w", err)
	}
	if a.MaxStaleness == 0 {
		a.MaxStaleness = caddy.Duration(time.Minute)
	}
	return checkStaleness(a.MaxStaleness)
}

func checkStaleness(staleness caddy.Duration) error {
	if asked := time.Duration(staleness); asked < 2*time.Second || asked > time.Hour {
		return fmt.Errorf("max_staleness %s: write a time from 2s (changes may take that long to arrive) to 1h", shown(asked))
	}
	return nil
}

// expand replaces the global placeholders ({env.*}, {file.*}, …) of a
// setting. One that is unknown or empty is an error, which doesn't repeat the setting,
// since that can be a secret.
func expand(setting, written string) (string, error) {
	if written == "" {
		return "", nil
	}
	value, err := caddy.NewReplacer().ReplaceOrErr(written, true, true)
	if err != nil {
		return "", fmt.Errorf("%s: %w: give it a value, or write the value itself", setting, err)
	}
	return value, nil
}

// expandText is expand for what people are shown on one line.
func expandText(setting, written string) (string, error) {
	text, err := expand(setting, written)
	if err != nil {
		return "", err
	}
	if strings.ContainsFunc(text, unicode.IsControl) {
		return "", fmt.Errorf("%s %q: it can't contain control characters", setting, text)
	}
	return strings.TrimSpace(text), nil
}

// shown writes a time as people do in a Caddyfile: 90m as 1h30m, 48h as 2d.
func shown(d time.Duration) string {
	const day = 24 * time.Hour
	if d >= day && d%day == 0 {
		return fmt.Sprintf("%dd", d/day)
	}
	written := d.String()
	if strings.HasSuffix(written, "m0s") {
		written = strings.TrimSuffix(written, "0s")
	}
	if strings.HasSuffix(written, "h0m") {
		written = strings.TrimSuffix(written, "0m")
	}
	return written
}
