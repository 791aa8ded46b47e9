//go:build !unix

package caddymodule

// becomeOwner does nothing where folders pass their access on to what is made in them.
func becomeOwner(string) error { return nil }
