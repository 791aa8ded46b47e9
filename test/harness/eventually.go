package harness

import (
	"testing"
	"time"
)

// patience bounds every wait of the harness. It is generous, since nothing
// waits for it to pass: waits end with what they wait for.
const patience = 60 * time.Second

// pollEvery is how often a condition is looked at.
const pollEvery = 10 * time.Millisecond

// Eventually polls until the condition holds, and fails the test, naming what
// was waited for, when it does not within the cap.
func Eventually(t testing.TB, limit time.Duration, what string, condition func() bool) {
	t.Helper()
	if !poll(limit, condition) {
		t.Fatalf("waited %s for %s", limit, what)
	}
}

// poll reports whether the condition came to hold within the limit. It looks
// at least once.
func poll(limit time.Duration, condition func() bool) bool {
	deadline := time.Now().Add(limit)
	ticker := time.NewTicker(pollEvery)
	defer ticker.Stop()
	for !condition() {
		if time.Now().After(deadline) {
			return false
		}
		<-ticker.C
	}
	return true
}
