package session

import (
	"time"

	"golang.org/x/crypto/cryptobyte"

	"github.com/portcullis-mfa/portcullis/store"
)

// shelved is how rows are encoded for a shelf and decoded again. A row that can't
// be encoded isn't put there, and one that can't be decoded is read from the store.
type shelved[V any] struct {
	size   int // of all the shelves, in bytes
	most   int // to which they may grow
	encode func(V) ([]byte, error)
	decode func(id string, encoded []byte) (V, bool)
}

// shelvedSignOns is the shelved of sign-ons.
func (k *Keeper) shelvedSignOns() shelved[keptSignOn] {
	return shelved[keptSignOn]{
		size: shelfSize, most: k.shelfMost,
		encode: func(s keptSignOn) ([]byte, error) {
			var b cryptobyte.Builder
			addText(&b, s.user)
			b.AddUint64(uint64(s.expires))
			b.AddUint64(uint64(s.lastSeen))
			b.AddUint64(uint64(s.idle))
			return b.Bytes()
		},
		decode: func(id string, encoded []byte) (s keptSignOn, ok bool) {
			rest := cryptobyte.String(encoded)
			var expires, lastSeen, idle uint64
			if !readText(&rest, &s.user) || !rest.ReadUint64(&expires) || !rest.ReadUint64(&lastSeen) || !rest.ReadUint64(&idle) {
				return keptSignOn{}, false
			}
			s.expires, s.lastSeen, s.idle = int64(expires), int64(lastSeen), time.Duration(idle)
			s.seen = k.activity.learn(id, time.Unix(0, s.lastSeen))
			return s, true
		},
	}
}

// shelvedProfiles is the shelved of users.
func (k *Keeper) shelvedProfiles() shelved[Profile] {
	return shelved[Profile]{size: shelfSize, most: k.shelfMost, encode: encodeProfile, decode: decodeProfile}
}

func encodeProfile(p Profile) ([]byte, error) {
	var b cryptobyte.Builder
	for _, text := range []string{p.Name, p.DisplayName, p.Email, string(p.Status), p.Language, p.Zone} {
		addText(&b, text)
	}
	b.AddUint8(map[bool]uint8{true: 1}[p.NewPassword])
	b.AddUint64(uint64(p.Created.UnixNano()))
	b.AddUint64(uint64(p.Version))
	for _, group := range p.Groups {
		addText(&b, group)
	}
	return b.Bytes()
}

func decodeProfile(id string, encoded []byte) (p Profile, ok bool) {
	rest := cryptobyte.String(encoded)
	var status string
	for _, text := range []*string{&p.Name, &p.DisplayName, &p.Email, &status, &p.Language, &p.Zone} {
		if !readText(&rest, text) {
			return Profile{}, false
		}
	}
	var newPassword uint8
	var created, version uint64
	if !rest.ReadUint8(&newPassword) || !rest.ReadUint64(&created) || !rest.ReadUint64(&version) {
		return Profile{}, false
	}
	p.ID, p.Status, p.NewPassword = id, store.UserStatus(shared(status)), newPassword == 1
	p.Language, p.Zone = shared(p.Language), shared(p.Zone)
	p.Created, p.Version = time.Unix(0, int64(created)).UTC(), int64(version)
	for !rest.Empty() {
		var group string
		if !readText(&rest, &group) {
			return Profile{}, false
		}
		p.Groups = append(p.Groups, shared(group))
	}
	p.GroupList = joinGroups(p.Groups)
	return p, true
}

func addText(b *cryptobyte.Builder, text string) {
	b.AddUint16LengthPrefixed(func(b *cryptobyte.Builder) { b.AddBytes([]byte(text)) })
}
