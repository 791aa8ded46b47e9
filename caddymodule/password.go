package caddymodule

import (
	"fmt"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
	"github.com/dustin/go-humanize"

	"github.com/portcullis-mfa/portcullis/identity"
)

// Password sets up how passwords are checked.
type Password struct {
	// HashingMemory is the most memory that password hashing uses, in bytes: 64 MiB for
	// each hash in progress, plus the memory of earlier hashes until it is collected.
	// At least 64 MiB. On a machine with more than four cores, a larger value lets more
	// people sign in at the same time. Default: 256 MiB, which suits a machine with
	// 512 MB.
	HashingMemory uint64 `json:"hashing_memory,omitempty"`
}

// complete fills in defaults and refuses values that make no sense.
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
		return givenTwice(d, "password")
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
		return givenTwice(d, option)
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
