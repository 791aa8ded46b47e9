package keys

import "time"

// Lead is how long a new generation is in the stored set before it is written
// with: nodes reread the set each minute, so by then all of them can read what
// it makes, and apps have found its public key.
const Lead = 5 * time.Minute

// generation is what each key carries: its name within the set and its age.
type generation struct {
	ID      string    `json:"id"`
	Created time.Time `json:"created"`
}

func (g generation) which() generation { return g }

// aged is a key with a generation.
type aged interface{ which() generation }

// writtenWith returns the index of the key to write with at the time now. Keys
// stand oldest first; the oldest one needs no lead, since nothing came before
// it.
func writtenWith[K aged](keys []K, now time.Time) int {
	for i := len(keys) - 1; i > 0; i-- {
		if !now.Before(keys[i].which().Created.Add(Lead)) {
			return i
		}
	}
	return 0
}

// kept returns the keys that are written with, or will be, at the time now,
// and those of the older ones that keep holds on to, given their id and when
// they were retired.
func kept[K aged](keys []K, now time.Time, keep func(id string, retired time.Time) bool) []K {
	var left []K
	current := writtenWith(keys, now)
	for i, key := range keys {
		if i >= current || keep(key.which().ID, retired(key, keys[i+1])) {
			left = append(left, key)
		}
	}
	return left
}

// retired is when no node writes with a key any more. Nodes go over to the
// successor after Lead by their own clocks, at their next reading of the set:
// another Lead later the last one has. Nothing is retired before it could be
// used, whatever a document mended by hand says.
func retired[K aged](key, successor K) time.Time {
	from := successor.which().Created
	if created := key.which().Created; created.After(from) {
		from = created
	}
	return from.Add(2 * Lead)
}

// keptFor holds on to what was retired less than a duration ago.
func keptFor(d time.Duration, now time.Time) func(string, time.Time) bool {
	return func(_ string, retired time.Time) bool { return now.Before(retired.Add(d)) }
}
