package assertion

import (
	"slices"

	"github.com/portcullis-mfa/portcullis/assurance"
)

// methods is a set of authentication methods: bit i stands for names[i].
type methods uint8

// names are the values of "amr" (RFC 8176 §2) that tokens have, in their order.
var names = [...]string{
	"pwd",  // a password
	"otp",  // a code from an app, a list or a mail
	"sms",  // a code by SMS
	"hwk",  // a key that an authenticator guards
	"swk",  // a key that may be a mere file
	"user", // the authenticator saw somebody act
	"mfa",  // more than one kind together
}

// several says that more than one kind was shown together.
var several = methodsNamed([]string{"mfa"})

func (m methods) names() []string {
	found := []string{}
	for i, name := range names {
		if m&(1<<i) != 0 {
			found = append(found, name)
		}
	}
	return found
}

// methodsNamed is the set of methods with these names; a name that isn't one of
// names is left out.
func methodsNamed(named []string) methods {
	var found methods
	for i, name := range names {
		if slices.Contains(named, name) {
			found |= 1 << i
		}
	}
	return found
}

// shown is what a token says about proofs. It is comparable, for a cache.
type shown struct {
	methods methods
	level   assurance.Level
	at      int64 // when the newest that counts was shown, in seconds since 1970; 0: none was
}

// whatWasShown sums proofs up. What a remembered browser stood in for raises
// the level, but was not shown. A certificate is shown with each connection,
// whether somebody is there or not, so its time counts where there is no other.
func (s *Signer) whatWasShown(proofs []assurance.Proof) shown {
	found := shown{level: assurance.Of(proofs, s.Weights)}
	reached, remembered := found.level, false // reached by what was shown
	certified := int64(0)
	for _, p := range proofs {
		switch {
		case p.Remembered:
			remembered = true
		case s.Weights[p.Factor] != assurance.Weightless:
			found.methods |= s.methods[p.Factor]
			if p.Factor == assurance.Certificate {
				certified = max(certified, p.At.Unix())
			} else {
				found.at = max(found.at, p.At.Unix())
			}
		}
	}
	if found.at == 0 {
		found.at = certified
	}
	if remembered {
		reached = assurance.Of(assurance.Shown(proofs), s.Weights)
	}
	if reached >= assurance.Multi {
		found.methods |= several
	}
	return found
}
