package notify

import (
	"sync"
	"time"
)

// departures are the messages that are being sent. It is safe for concurrent use.
type departures struct {
	// freed is called when there is room again for messages that had to stay.
	freed func()
	all   sync.WaitGroup

	mu      sync.Mutex
	quick   int  // have taken less than hanging so far
	total   int  // are being sent
	staying bool // more messages may be due than there was room for
}

// room returns how many messages may leave now. Until crowded says otherwise, freed is
// called whenever there is more room.
func (d *departures) room() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.staying = true
	return min(prompt-d.quick, most-d.total)
}

// crowded says whether more messages may be due than there was room for.
func (d *departures) crowded(is bool) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.staying = is
}

// begin sends one message.
func (d *departures) begin(send func()) {
	d.change(1, 1)
	d.all.Go(func() {
		leave := sync.OnceFunc(func() { d.change(-1, 0) })
		timer := time.AfterFunc(hanging, leave)
		defer d.change(0, -1)
		defer leave()
		defer timer.Stop()
		send()
	})
}

// change notes that messages have begun or ended.
func (d *departures) change(quick, total int) {
	d.mu.Lock()
	d.quick += quick
	d.total += total
	isFreed := d.staying && quick+total < 0
	d.mu.Unlock()
	if isFreed {
		d.freed()
	}
}
