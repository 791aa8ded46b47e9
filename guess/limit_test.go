package guess

import (
	"fmt"
	"strconv"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/portcullis-mfa/portcullis/store"
)

var noon = time.Date(2026, 3, 1, 12, 0, 0, 0, time.UTC)

func TestDecide(t *testing.T) {
	for _, c := range []struct {
		failures int
		known    bool
		since    time.Duration // since the newest failure
		wait     time.Duration // 0: may try
		locked   bool
	}{
		{0, false, 0, 0, false},
		{4, false, 0, 0, false},
		{5, false, 0, 30 * time.Second, false},
		{5, true, 0, 30 * time.Second, false},
		{5, false, 29 * time.Second, time.Second, false},
		{5, false, 30 * time.Second, 0, false},
		{6, false, 0, time.Minute, false},
		{7, false, time.Minute, time.Minute, false},
		{11, false, 0, 32 * time.Minute, false},
		{12, false, 0, time.Hour, false},
		{99, false, 0, time.Hour, false},
		{99, false, time.Hour, 0, false},
		{100, false, 0, 24 * time.Hour, true},
		{100, false, time.Hour, 23 * time.Hour, true},
		{100, false, 24 * time.Hour, 0, false},
		{1 << 40, false, 0, 24 * time.Hour, true},
		{100, true, 0, time.Hour, false},
		{100, true, time.Hour, 0, false},
		{1 << 40, true, 0, time.Hour, false},
	} {
		t.Run(fmt.Sprintf("%d failures, known %v, %s ago", c.failures, c.known, c.since), func(t *testing.T) {
			slowed := decide(store.Attempts{Failures: c.failures, Last: noon.Add(-c.since)}, c.known, noon)
			if c.wait == 0 {
				if slowed != nil {
					t.Errorf("slowed: %v", slowed)
				}
				return
			}
			if slowed == nil || slowed.RetryAfter != c.wait || slowed.Locked != c.locked {
				t.Errorf("got %+v, want a wait of %s, locked %v", slowed, c.wait, c.locked)
			}
		})
	}
}

// TestDecideKeepsItsPromises holds the rule to what it is for, whatever the
// count.
func TestDecideKeepsItsPromises(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		failures := rapid.IntRange(0, 300).Draw(t, "failures")
		known := rapid.Bool().Draw(t, "known")
		since := time.Duration(rapid.Int64Range(0, int64(3*time.Hour)).Draw(t, "since"))
		count := store.Attempts{Failures: failures, Last: noon.Add(-since)}
		slowed := decide(count, known, noon)
		if slowed == nil {
			if failures >= 100 && !known && since < 24*time.Hour {
				t.Fatal("an unknown browser guesses on")
			}
			if failures >= 5 && since < 30*time.Second {
				t.Fatal("no wait after five failures")
			}
			return
		}
		if failures < 5 {
			t.Fatal("a wait before five failures")
		}
		longest := time.Hour
		if slowed.Locked {
			longest = 24 * time.Hour
		}
		if slowed.RetryAfter <= 0 || slowed.RetryAfter > longest {
			t.Fatalf("a wait of %s", slowed.RetryAfter)
		}
		if slowed.Locked != (failures >= 100 && !known) {
			t.Fatalf("locked: %v", slowed.Locked)
		}
		after := decide(count, known, noon.Add(slowed.RetryAfter))
		if after != nil {
			t.Fatalf("after the wait that was told: %v", after)
		}
		more := decide(store.Attempts{Failures: failures + 1, Last: count.Last}, known, noon)
		if more == nil || more.RetryAfter < slowed.RetryAfter {
			t.Fatalf("one failure more waits %v, not %v", more, slowed)
		}
	})
}

// TestDecideBoundsAPatientGuesser lets somebody guess whenever they may, for a
// year.
func TestDecideBoundsAPatientGuesser(t *testing.T) {
	for known, most := range map[bool]int{false: 100 + 365, true: 366 * 24} {
		var count store.Attempts
		looked := 0
		for now := noon; now.Before(noon.AddDate(1, 0, 0)); {
			slowed := decide(count, known, now)
			if slowed == nil {
				looked++
				count.Failures++
				count.Last = now
				continue
			}
			now = now.Add(slowed.RetryAfter)
		}
		if looked > most {
			t.Errorf("%d guesses in a year from a browser that is known %v", looked, known)
		}
	}
}

func TestDecideAddress(t *testing.T) {
	for _, c := range []struct {
		what     string
		failures int
		since    time.Duration // since the first failure of the window
		wait     time.Duration
	}{
		{"below the limit", 99, 0, 0},
		{"at the limit", 100, time.Minute, 9 * time.Minute},
		{"far over it", 100_000, 0, 10 * time.Minute},
		{"a second before the window ends", 100, 10*time.Minute - time.Second, time.Second},
		{"when the window has ended", 100, 10 * time.Minute, 0},
		// X05: nobody is locked out for as long as a clock was set back.
		{"the clock was set back by a day", 100, -24 * time.Hour, 0},
	} {
		t.Run(c.what, func(t *testing.T) {
			slowed := decideAddress(store.Attempts{Failures: c.failures, First: noon.Add(-c.since)}.Within(addressWindow, noon), addressLimit, noon)
			if c.wait == 0 && slowed != nil || c.wait != 0 && (slowed == nil || slowed.RetryAfter != c.wait || slowed.Locked) {
				t.Errorf("got %+v, want a wait of %s", slowed, c.wait)
			}
		})
	}
}

// TestTallyIsBounded has it remember for a window at least, and for no longer
// than two, and forget the oldest where very many come.
func TestTallyIsBounded(t *testing.T) {
	now := noon
	counted := newTally(func() time.Time { return now })
	for range 3 {
		counted.add("a")
		now = now.Add(time.Minute)
	}
	if n, since := counted.count("a"), counted.since("a"); n != 3 || !since.Equal(noon) {
		t.Errorf("%d since %s", n, since)
	}
	now = noon.Add(addressWindow)
	if n, since := counted.count("a"), counted.since("a"); n != 0 || !since.Equal(noon) {
		t.Errorf("after a window: %d since %s", n, since)
	}
	now = noon.Add(2 * addressWindow)
	if n, since := counted.count("a"), counted.since("a"); n != 0 || !since.IsZero() {
		t.Errorf("after two: %d since %s", n, since)
	}
	for i := range 5 * maxTallied {
		counted.add(strconv.Itoa(i))
	}
	if n := len(counted.present) + len(counted.before); n > 2*maxTallied {
		t.Errorf("%d are kept", n)
	}
	now = noon.AddDate(0, 0, -1) // X05
	if n := counted.count(strconv.Itoa(5*maxTallied - 1)); n != 0 {
		t.Errorf("%d after the clock was set back", n)
	}
}
