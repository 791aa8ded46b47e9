package authflow

import (
	"slices"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/store"
)

// personOf returns what the next step of a flow depends on, of somebody with
// these active credentials. What the flow says is lost doesn't count, nor does
// what can't have it suspended.
func (e *Engine) personOf(active []store.Credential, f Flow) Person {
	who := Person{Have: make(map[assurance.Factor]bool), Passwordless: e.Rules.Passwordless}
	isLost := func(c store.Credential) bool { return slices.Contains(f.Lost, c.ID) }
	rank := f.Rank // that has to be vouched for, as that of what is lost has
	for _, c := range active {
		if isLost(c) {
			rank = max(rank, e.Vault.Factors.Traits(c.Kind).Rank)
		}
	}
	has := slices.DeleteFunc(slices.Clone(active), isLost)
	for _, c := range has {
		who.Have[c.Kind] = true
	}
	who.Resistant = e.People.CanResistPhishing(has)
	canAsk := func(kind assurance.Factor) bool {
		return slices.ContainsFunc(has, func(c store.Credential) bool { return c.Kind == kind && e.mayAsk(f, c, false) })
	}
	for _, factor := range e.Vault.Factors {
		kind := factor.Kind()
		if canAsk(kind) && e.Rules.offers(kind, f.Platform) && factor.Traits().Vouches >= rank {
			who.Usable = append(who.Usable, kind)
		}
	}
	e.order(who.Usable, active, f.Platform)
	return who
}

// order puts kinds in the order in which they are offered: the one last used on
// this kind of browser, then the one last used at all, then as recommended;
// backup codes come last, since they are for need.
func (e *Engine) order(kinds []assurance.Factor, active []store.Credential, platform string) {
	last := func(kind assurance.Factor) (here, anywhere time.Time) {
		for _, c := range active {
			if c.Kind != kind {
				continue
			}
			here = later(here, c.LastUsedOn[platform])
			anywhere = later(anywhere, c.LastUsed)
		}
		return here, anywhere
	}
	daily := func(kind assurance.Factor) bool { return e.Vault.Factors.Traits(kind).Daily }
	slices.SortStableFunc(kinds, func(a, b assurance.Factor) int {
		if daily(a) != daily(b) {
			if daily(a) {
				return -1
			}
			return 1
		}
		hereA, anywhereA := last(a)
		hereB, anywhereB := last(b)
		if byHere := hereB.Compare(hereA); byHere != 0 {
			return byHere
		}
		return anywhereB.Compare(anywhereA)
	})
}

func later(a, b time.Time) time.Time {
	if a.After(b) {
		return a
	}
	return b
}
