package caddymodule

import (
	"errors"
	"fmt"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/portcullis-mfa/portcullis/accesstoken"
	"github.com/portcullis-mfa/portcullis/gate"
	"github.com/portcullis-mfa/portcullis/session"
)

// Tokens says which credentials of programs count. A program passes within the scope of
// its token, whatever the gate asks of people. An empty object means that none count.
type Tokens struct {
	// Service lets programs pass with service tokens, which administrators create with
	// `caddy mfa token`. Allow group decides which of them may pass; allow user never
	// applies to them. Default: false.
	Service bool `json:"service,omitempty"`

	// Personal lets programs pass with app passwords, which people create on their
	// account page. Default: app passwords don't count.
	Personal *PersonalTokens `json:"personal,omitempty"`
}

// PersonalTokens says which app passwords count.
type PersonalTokens struct {
	// Allow says whose app passwords count, among the people who may pass. Default:
	// everybody's.
	Allow *People `json:"allow,omitempty"`

	// Longest is how long an app password works, 366 days at most. Default: 90d.
	Longest caddy.Duration `json:"longest,omitempty"`

	// Most is how many app passwords a person may have for the site at once, 100 at
	// most. Default: 20.
	Most int `json:"most,omitempty"`
}

const (
	defaultLongest = 90 * 24 * time.Hour
	defaultMost    = 20
	maxMost        = 100
)

// resolve returns whether service tokens count, and which app passwords do; nil:
// none.
func (t *Tokens) resolve() (service bool, personal *gate.AppPasswords, err error) {
	if t.Personal != nil {
		personal, err = t.Personal.resolve()
	}
	return t.Service, personal, err
}

func (p *PersonalTokens) resolve() (*gate.AppPasswords, error) {
	resolved := &gate.AppPasswords{
		Allows: func(session.User) bool { return true }, Longest: time.Duration(p.Longest), Most: p.Most,
	}
	if p.Allow != nil {
		allow, err := p.Allow.resolve()
		if err != nil {
			return nil, fmt.Errorf("allow: %w", err)
		}
		resolved.Allows = allow.admits
	}
	if resolved.Longest == 0 {
		resolved.Longest = defaultLongest
	}
	if resolved.Most == 0 {
		resolved.Most = defaultMost
	}
	if resolved.Longest < time.Hour || resolved.Longest > accesstoken.MaxLifetime {
		return nil, errors.New("longest: it must be between an hour and 366 days: write longest 90d, for example")
	}
	if resolved.Most < 1 || resolved.Most > maxMost {
		return nil, fmt.Errorf("most %d: write a number from 1 to %d", p.Most, maxMost)
	}
	return resolved, nil
}

// unmarshalTokens reads one line of tokens: service, personal with its block, or off.
func unmarshalTokens(d *caddyfile.Dispenser, tokens **Tokens) error {
	if !d.NextArg() {
		return d.Err("tokens takes a value: write service, personal or off")
	}
	kind, isFirst := d.Val(), *tokens == nil
	if isFirst {
		*tokens = new(Tokens)
	}
	t := *tokens
	isOff := !isFirst && !t.Service && t.Personal == nil
	switch {
	case kind != "service" && kind != "personal" && kind != "off":
		return d.Errf("tokens %s: write service, personal or off", kind)
	case isOff, kind == "off" && !isFirst:
		return d.Err("tokens off can't be combined with another line of tokens: remove the other line")
	case kind == "service" && t.Service, kind == "personal" && t.Personal != nil:
		return givenTwice(d, "tokens "+kind)
	}
	if d.NextArg() {
		return d.Errf("tokens %s takes no further argument (%s): write a line for each kind", kind, d.Val())
	}
	switch kind {
	case "service":
		t.Service = true
	case "personal":
		t.Personal = new(PersonalTokens)
		block := *d
		for nesting := d.Nesting(); d.NextBlock(nesting); {
			if err := t.Personal.unmarshalOption(d); err != nil {
				return err
			}
		}
		if _, err := t.Personal.resolve(); err != nil && !t.Personal.hasPlaceholders() {
			return block.Errf("tokens personal: %w", err)
		}
	}
	return nil
}

// hasPlaceholders reports whether names are known only once the configuration is
// loaded.
func (p *PersonalTokens) hasPlaceholders() bool {
	if p.Allow == nil {
		return false
	}
	for _, name := range append(p.Allow.Users[:len(p.Allow.Users):len(p.Allow.Users)], p.Allow.Groups...) {
		if !isPlain(name) {
			return true
		}
	}
	return false
}

func (p *PersonalTokens) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "allow":
		return unmarshalPeople(d, &p.Allow)
	case "longest":
		return duration(d, &p.Longest)
	case "most":
		return number(d, &p.Most, "a number from 1 to 100")
	}
	return unknownOption(d, "tokens personal", "the options are allow, longest and most")
}
