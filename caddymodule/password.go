package caddymodule

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/portcullis-mfa/portcullis/identity"
)

// Password sets up how passwords are checked.
type Password struct {
	// HashingMemory bounds what hashing passwords takes, in bytes: 64 MiB for
	// each hash that runs, and what those before left until it is collected. At
	// least 64 MiB. More of it lets more people sign in at once where there are
	// more than four cores; one core is left to those who are signed in.
	// Default: 256 MiB, which fits a machine with 512 MB.
	HashingMemory uint64 `json:"hashing_memory,omitempty"`
}

// complete fills in defaults and refuses what can't be meant.
func (p *Password) complete() error {
	if p.HashingMemory == 0 {
		p.HashingMemory = identity.DefaultMemory
	}
	if p.HashingMemory < identity.MinMemory {
		return fmt.Errorf("hashing_memory %s: one hash takes 64 MiB: write 64MiB or more", humanize.IBytes(p.HashingMemory))
	}
	return nil
}

func (a *App) unmarshalPassword(d *caddyfile.Dispenser) error {
	if a.Password != nil {
		return d.Err("password is given twice")
	}
	if d.NextArg() {
		return d.Errf("password takes a block, not %q: write password { hashing_memory 256MiB }", d.Val())
	}
	a.Password = new(Password)
	block := *d // whose line errors about the whole name
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if d.Val() != "hashing_memory" {
			return d.Errf("unknown option %q of password: the only option is hashing_memory", d.Val())
		}
		if err := size(d, &a.Password.HashingMemory); err != nil {
			return err
		}
	}
	complete := *a.Password
	if err := complete.complete(); err != nil {
		return block.Errf("password: %w", err)
	}
	return nil
}

// size reads an option that takes a number of bytes.
func size(d *caddyfile.Dispenser, target *uint64) error {
	option := d.Val()
	if *target != 0 {
		return d.Errf("%s is given twice", option)
	}
	var written string
	if err := oneArgument(d, &written); err != nil {
		return err
	}
	parsed, err := humanize.ParseBytes(written)
	if err != nil || parsed == 0 {
		return d.Errf("%s %s: write a size such as 256MiB", option, written)
	}
	*target = parsed
	return nil
}
