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
