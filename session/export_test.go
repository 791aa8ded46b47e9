package session

// Doubts returns of how many connections it has yet to be told whether they go
// on.
func (k *Keeper) Doubts() (doubts int) {
	k.connections.each(func(c *Connection) bool {
		if !c.doubted.IsZero() {
			doubts++
		}
		return false
	})
	return doubts
}

// Crowd has no rows kept ready for use, as if many others had been asked for.
func (k *Keeper) Crowd() {
	k.signOns.kept.InvalidateAll()
	k.profiles.kept.InvalidateAll()
}

// CrowdOut has a sign-on not kept ready for use any more.
func (k *Keeper) CrowdOut(id string) { k.signOns.kept.Invalidate(id) }
