package assertion

import (
	"github.com/portcullis-mfa/portcullis/assurance"
)

// methods is a set of authentication methods.
type methods uint8

// The authentication methods of RFC 8176 §2 that tokens name.
const (
	password     methods = 1 << iota
	oneTimeCode          // from an app, a list or a mail
	textMessage          // a code by SMS
	hardwareKey          // a key that an authenticator guards
	softwareKey          // a key that may be a mere file
	userPresence         // the authenticator saw somebody act
	several              // more than one kind together
)

// names are the values of "amr", in the order of the constants.
var names = [...]string{"pwd", "otp", "sms", "hwk", "swk", "user", "mfa"}

func (m methods) names() []string {
	found := []string{}
	for i, name := range names {
		if m&(1<<i) != 0 {
			found = append(found, name)
		}
	}
	return found
}

// methodsOf says how a factor is shown. Of a phone's and a device's key it
// isn't known where it lies, so no more is stated than that there is one.
func methodsOf(f assurance.Factor) methods {
	switch f {
	case assurance.Password:
		return password
	case assurance.TOTP, assurance.BackupCode, assurance.Email:
		return oneTimeCode
	case assurance.SMS:
		return textMessage
	case assurance.FIDO:
		return hardwareKey | userPresence // WebAuthn §7.2: user presence is always verified
	case assurance.Push:
		return softwareKey | userPresence
	case assurance.Certificate:
		return softwareKey
	}
	return 0
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
func whatWasShown(proofs []assurance.Proof, weights assurance.Weights) shown {
	s := shown{level: assurance.Of(proofs, weights)}
	reached, remembered := s.level, false // reached by what was shown
	certified := int64(0)
	for _, p := range proofs {
		switch {
		case p.Remembered:
			remembered = true
		case weights[p.Factor] != assurance.Weightless:
			s.methods |= methodsOf(p.Factor)
			if p.Factor == assurance.Certificate {
				certified = max(certified, p.At.Unix())
			} else {
				s.at = max(s.at, p.At.Unix())
			}
		}
	}
	if s.at == 0 {
		s.at = certified
	}
	if remembered {
		reached = assurance.Of(assurance.Shown(proofs), weights)
	}
	if reached >= assurance.Multi {
		s.methods |= several
	}
	return s
}
