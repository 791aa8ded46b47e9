package caddymodule

import (
	"fmt"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/portcullis-mfa/portcullis/identity"
)

// several reads the arguments of an option that may be given several times,
// each of which check must have nothing against.
func several(d *caddyfile.Dispenser, values *[]string, check func(string) error) error {
	option, added := d.Val(), d.RemainingArgs()
	if len(added) == 0 {
		return d.Errf("%s needs a value", option)
	}
	for _, written := range added {
		if !isPlain(written) {
			continue
		}
		if err := check(written); err != nil {
			return d.WrapErr(err)
		}
	}
	*values = append(*values, added...)
	return nil
}

// switchOrBlock reads on or off, or a block of options in place of them.
func switchOrBlock(d *caddyfile.Dispenser, off *bool, option func() error) error {
	name, written, block := d.Val(), d.RemainingArgs(), false
	for nesting := d.Nesting(); d.NextBlock(nesting); block = true {
		if err := option(); err != nil {
			return err
		}
	}
	switch {
	case block && len(written) > 0:
		return d.Errf("%s takes a value or a block, but %q comes before a block", name, written[0])
	case block:
	case len(written) != 1 || written[0] != "on" && written[0] != "off":
		return d.Errf("%s %s: write on or off", name, strings.Join(written, " "))
	case written[0] == "off":
		*off = true
	}
	return nil
}

// unmarshalPeople reads "user NAME…" or "group NAME…" and adds to people.
func unmarshalPeople(d *caddyfile.Dispenser, people **People) error {
	option := d.Val()
	if !d.NextArg() {
		return d.Errf("%s %w", option, errNobody)
	}
	if *people == nil {
		*people = new(People)
	}
	switch kind := d.Val(); kind {
	case "user":
		return appendNames(d, &(*people).Users, identity.CanonicalName)
	case "group":
		return appendNames(d, &(*people).Groups, identity.CheckGroup)
	default:
		return d.Errf("%s %s: write %s user NAME or %s group NAME", option, kind, option, option)
	}
}

func appendNames(d *caddyfile.Dispenser, names *[]string, canonical func(string) (string, error)) error {
	kind := d.Val()
	added := d.RemainingArgs()
	if len(added) == 0 {
		return d.Errf("%s names nobody: write %s NAME", kind, kind)
	}
	for _, name := range added {
		if !isPlain(name) {
			continue
		}
		if _, err := canonical(name); err != nil {
			return d.WrapErr(refusedName(kind, name, err))
		}
	}
	*names = append(*names, added...)
	return nil
}

// unmarshalWord reads an argument that parse must understand.
func unmarshalWord[T any](d *caddyfile.Dispenser, word *string, parse func(string) (T, error)) error {
	if err := oneArgument(d, word); err != nil {
		return err
	}
	if _, err := parse(*word); err != nil {
		return d.WrapErr(err)
	}
	return nil
}

// number reads one whole number of more than nothing.
func number(d *caddyfile.Dispenser, target *int) error {
	option := d.Val()
	if *target != 0 {
		return d.Errf("%s is given twice", option)
	}
	var written string
	if err := oneArgument(d, &written); err != nil {
		return err
	}
	parsed, err := strconv.Atoi(written)
	if err != nil || parsed < 1 {
		return d.Errf("%s %s: write a number such as 20", option, written)
	}
	*target = parsed
	return nil
}

// duration reads one duration of more than nothing.
func duration(d *caddyfile.Dispenser, target *caddy.Duration) error {
	option := d.Val()
	if *target != 0 {
		return d.Errf("%s is given twice", option)
	}
	var written string
	if err := oneArgument(d, &written); err != nil {
		return err
	}
	parsed, err := caddy.ParseDuration(written)
	if err != nil || parsed <= 0 {
		return d.Errf("%s %s: write a time such as 90s, 15m, 12h or 7d", option, written)
	}
	*target = caddy.Duration(parsed)
	return nil
}

// flag reads an option that takes no value.
func flag(d *caddyfile.Dispenser, target *bool) error {
	option := d.Val()
	if *target {
		return d.Errf("%s is given twice", option)
	}
	if d.NextArg() {
		return d.Errf("%s takes no value, and %q is one: write only %s", option, d.Val(), option)
	}
	*target = true
	return nil
}

// onOrOff reads an option that may be given once and is on or off.
func onOrOff(d *caddyfile.Dispenser, target **bool) error {
	option := d.Val()
	if *target != nil {
		return d.Errf("%s is given twice", option)
	}
	written := d.RemainingArgs()
	if len(written) != 1 || written[0] != "on" && written[0] != "off" {
		return d.Errf("%s %s: write on or off", option, strings.Join(written, " "))
	}
	on := written[0] == "on"
	*target = &on
	return nil
}

// oneArgument reads the one argument of an option that may be given once.
func oneArgument(d *caddyfile.Dispenser, target *string) error {
	option := d.Val()
	if *target != "" {
		return d.Errf("%s is given twice", option)
	}
	if !d.AllArgs(target) {
		return d.Errf("%s takes one value", option)
	}
	if *target == "" {
		return d.Errf("%s is empty", option)
	}
	return nil
}

// place is where the dispenser stands, as errors name it.
func place(d *caddyfile.Dispenser) string { return fmt.Sprintf("%s:%d", d.File(), d.Line()) }

// at puts the place that has been read last behind an error.
func at(d *caddyfile.Dispenser, err error) error {
	if err == nil {
		return nil
	}
	return d.WrapErr(err)
}

// isPlain reports whether there is no placeholder in s. What has one can only
// be checked once it is replaced, by Provision.
func isPlain(s string) bool { return !strings.Contains(s, "{") }
