package boundedlog

import (
	"testing"
	"testing/synctest"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"
)

// L02: a stranger can't fill a log, and nothing is left out without a word.
func TestNew(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		core, seen := observer.New(zap.InfoLevel)
		logger := New(zap.New(core))
		count := func(message string) int { return seen.FilterMessage(message).Len() }
		for range 10_000 {
			logger.Info("flood")
			logger.With(zap.Int("request", 1)).Error("flood of another kind")
		}
		logger.Info("once")
		if count("flood") != Most || count("flood of another kind") != Most || count("once") != 1 || count(LeftOut) != 0 {
			t.Errorf("%d lines: %d, %d and %d", seen.Len(), count("flood"), count("flood of another kind"), count("once"))
		}
		time.Sleep(Interval)
		synctest.Wait()
		told := seen.FilterMessage(LeftOut).All()
		if len(told) != 2 || told[0].ContextMap()["message"] != "flood" || told[0].ContextMap()["lines"] != int64(10_000-Most) {
			t.Fatalf("said %v of what was left out", told)
		}
		time.Sleep(Interval)
		logger.Info("flood")
		synctest.Wait()
		if count("flood") != Most+1 || count(LeftOut) != 2 {
			t.Errorf("in another interval: %d lines, %d about others", count("flood"), count(LeftOut))
		}
	})
}
