package session

import "time"

// Figures are what a Keeper holds at a moment.
type Figures struct {
	// SignOns, Profiles, Devices and AccessTokens are how many rows are kept ready for
	// use.
	SignOns, Profiles, Devices, AccessTokens int
	// Connections are watched over.
	Connections int
	// Cut counts the connections that were cut since the start.
	Cut uint64
	// FeedAge is the time since the newest heartbeat of the store; 0: the store needs none.
	FeedAge time.Duration
}

// Figures returns what the Keeper holds now.
func (k *Keeper) Figures() Figures {
	f := Figures{
		SignOns: k.signOns.kept.EstimatedSize(), Profiles: k.profiles.kept.EstimatedSize(),
		Devices: k.devices.kept.EstimatedSize(), AccessTokens: k.accessTokens.kept.EstimatedSize(),
		Cut:     k.connections.cuts.Load(),
		FeedAge: max(0, k.clock().Sub(k.began)-time.Duration(k.heard.Load())),
	}
	k.connections.each(func(*Connection) bool { f.Connections++; return false })
	return f
}
