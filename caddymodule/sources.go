package caddymodule

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// sources says where options are written: FILE:LINE by the option's name, which comes
// after the names of the blocks around it, as in "email from". The empty name stands for
// the outermost block. If an option is given several times, the first line counts.
type sources map[string]string

// sourcesOf finds the options of the block whose name the dispenser stands at.
func sourcesOf(d caddyfile.Dispenser) sources {
	found := sources{"": place(&d)}
	found.add(&d, "")
	return found
}

func (s sources) add(d *caddyfile.Dispenser, within string) {
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		option := strings.TrimSpace(within + " " + d.Val())
		if _, known := s[option]; !known {
			s[option] = place(d)
		}
		d.RemainingArgs()
		s.add(d, option)
	}
}

// about returns the place of the option that an error is about. Errors name it first,
// after the blocks around it: "email: ca /etc/ca.pem: it contains no certificate".
func (s sources) about(err error) string {
	option := ""
	for part := range strings.SplitSeq(err.Error(), ": ") {
		word, _, _ := strings.Cut(part, " ")
		if found, ok := s.within(option, word); ok {
			option = found
		}
	}
	return s[option]
}

// of returns the place of an option, or of the outermost block if the option isn't written.
func (s sources) of(option string) string { return cmp.Or(s[option], s[""]) }

// within finds an option inside a block, directly or in a block of its own.
func (s sources) within(block, word string) (option string, ok bool) {
	option = strings.TrimSpace(block + " " + word)
	if _, ok := s[option]; ok {
		return option, true
	}
	for _, option := range slices.Sorted(maps.Keys(s)) {
		if block != "" && strings.HasPrefix(option, block+" ") && strings.HasSuffix(option, " "+word) {
			return option, true
		}
	}
	return "", false
}

// locate puts the place of the option before an error that came up only when the whole
// configuration was known.
func (s sources) locate(err error) error {
	if err == nil {
		return nil
	}
	return writtenAt(s.about(err), err)
}

// readBlock reads a block with at least one option, and then checks it as a whole.
func readBlock(d *caddyfile.Dispenser, example string, option, check func() error) error {
	name, block := d.Val(), *d
	if d.NextArg() {
		return d.Errf("%s takes a block, not %q: write %s", name, d.Val(), example)
	}
	isEmpty := true
	for nesting := d.Nesting(); d.NextBlock(nesting); isEmpty = false {
		if err := option(); err != nil {
			return err
		}
	}
	if isEmpty {
		return block.Errf("%s takes a block with at least one option: write %s", name, example)
	}
	return inBlock(block, check())
}

// inBlock puts the name of a block before an error about its options, and the place of
// the option behind it, as Caddy does.
func inBlock(block caddyfile.Dispenser, err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("%s: %w, at %s", block.Val(), err, sourcesOf(block).about(err))
}
