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
		return d.Err("password is given twice: remove one of them")
	}
	a.Password = new(Password)
	option := func() error {
		if d.Val() != "hashing_memory" {
			return unknownOption(d, "password", "the only option is hashing_memory")
		}
		return size(d, &a.Password.HashingMemory)
	}
	return readBlock(d, "password { hashing_memory 256MiB }", option, func() error {
		complete := *a.Password
		return complete.complete()
	})
}

// size reads an option that takes a number of bytes.
func size(d *caddyfile.Dispenser, target *uint64) error {
	option := d.Val()
	if *target != 0 {
		return d.Errf("%s is given twice: remove one of them", option)
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
