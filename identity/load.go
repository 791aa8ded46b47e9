package identity

// Load returns how much work runs, and how much waits.
func (q *Queue) Load() (running, waiting int) {
	q.mu.Lock()
	defer q.mu.Unlock()
	return q.running, len(q.places)
}
