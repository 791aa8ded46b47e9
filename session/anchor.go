package session

import (
	"context"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

// Anchor is what a connection rests on, such as a sign-on or a device: when the
// anchor ends, so does the connection. The Keeper asks anchors of all kinds the
// same questions, and no kind is known to it by name.
//
// An anchor never changes once it was made, and is safe for concurrent use. All
// its methods but Check return soon, and don't use the store.
type Anchor interface {
	// Key tells the anchor from all others: the id of its row.
	Key() string
	// Speaker is the user for whom it spoke when it was looked up.
	Speaker() *Profile
	// Until is when it ends by itself.
	Until() time.Time
	// IsAbout reports whether a change of the store may have to do with it or
	// with its speaker.
	IsAbout(change store.Change) bool
	// Use notes that something rests on it at the time now. What is passive
	// doesn't count as activity. It reports false where nobody is known to have
	// used the anchor for so long that it has to be checked.
	Use(now time.Time, passive bool) bool
	// Check returns the user for whom it speaks now: Speaker, if nothing has
	// changed. ErrEnded or a DeviceRefusal is a definite no; any other error means
	// that it could not be told. Where what rests on it is passive, it also asks
	// whether the anchor went idle.
	Check(ctx context.Context, passive bool) (*Profile, error)
}

// voucher is an Anchor for which somebody vouches whose change of mind is in no
// feed, and who is asked again and again instead.
type voucher interface {
	// vouching returns how to ask; nil: nobody is asked. An error takes the
	// anchor away.
	vouching() func() error
}

// LiveSignOn is a sign-on that counted when it was looked up.
type LiveSignOn struct {
	ID   string
	User *Profile

	keeper  *Keeper
	signOn  *row[keptSignOn]
	profile *row[Profile]
}

// Key implements Anchor.
func (s *LiveSignOn) Key() string { return s.ID }

// Speaker implements Anchor.
func (s *LiveSignOn) Speaker() *Profile { return s.User }

// Until implements Anchor: it is the absolute limit.
func (s *LiveSignOn) Until() time.Time { return time.Unix(0, s.signOn.value.expires) }

// IsAbout implements Anchor. New proofs or limits of a sign-on change nothing
// for what rests on it.
func (s *LiveSignOn) IsAbout(change store.Change) bool {
	switch change.Kind {
	case store.SignOnEnded:
		return change.ID == s.ID
	case store.UserChanged:
		return change.ID == s.User.ID
	}
	return false
}

// Use implements Anchor.
func (s *LiveSignOn) Use(now time.Time, passive bool) bool {
	if passive {
		return !s.wentIdle(now)
	}
	s.keeper.activity.note(s.ID, now)
	return true
}

// wentIdle reports whether this process knows that the sign-on went idle.
func (s *LiveSignOn) wentIdle(now time.Time) bool {
	seen, known := s.keeper.activity.last(s.ID)
	return !known || now.Sub(seen) > s.signOn.value.idle
}

// Check implements Anchor.
func (s *LiveSignOn) Check(ctx context.Context, passive bool) (*Profile, error) {
	k := s.keeper
	if !k.signOns.isCurrent(s.signOn) {
		if _, err := k.signOns.find(ctx, s.ID); err != nil {
			return nil, err
		}
	}
	speaker := s.User
	if !k.profiles.isCurrent(s.profile) {
		profile, err := active(k.profiles.find(ctx, s.User.ID))
		if err != nil {
			return nil, err
		}
		speaker = &profile.value
	}
	if passive && s.wentIdle(k.clock()) {
		return speaker, k.askIdle(ctx, s.ID)
	}
	return speaker, nil
}

var _ Anchor = (*LiveSignOn)(nil)
