// Package boundedlog bounds how much of a log a stranger can fill: a message
// that comes too often is counted rather than written. It must not know what the
// messages are about.
package boundedlog

import (
	"maps"
	"slices"
	"sync"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
)

const (
	// Interval is how long lines are counted together.
	Interval = time.Minute
	// Most is how many lines with one message are written in an interval.
	Most = 100
)

// LeftOut is the message of the line that says how many others weren't written.
const LeftOut = "left out further lines with the same message"

// New returns a logger that writes to the given one the first Most lines with
// one message in each Interval, and at the end of it how many more there were.
// Messages must be constants: what varies belongs into fields.
func New(logger *zap.Logger) *zap.Logger {
	c := &counter{to: logger}
	return logger.WithOptions(zap.WrapCore(func(inner zapcore.Core) zapcore.Core { return core{inner, c} }))
}

// core is zap's own sampler (zapcore.NewSamplerWithOptions) with counters for
// the messages that there are, since that takes half a megabyte for each logger.
type core struct {
	zapcore.Core
	*counter
}

// With implements zapcore.Core.
func (c core) With(fields []zapcore.Field) zapcore.Core { return core{c.Core.With(fields), c.counter} }

// Check implements zapcore.Core.
func (c core) Check(entry zapcore.Entry, checked *zapcore.CheckedEntry) *zapcore.CheckedEntry {
	if !c.Enabled(entry.Level) || !c.take(entry.Message) {
		return checked
	}
	return c.Core.Check(entry, checked)
}

// counter counts lines.
type counter struct {
	to *zap.Logger

	mu    sync.Mutex
	lines map[string]int // in this interval, by message; nil: none has begun
}

// take counts a line, and reports whether it may be written.
func (c *counter) take(message string) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.lines == nil {
		c.lines = make(map[string]int)
		time.AfterFunc(Interval, c.end)
	}
	c.lines[message]++
	return c.lines[message] <= Most
}

// end ends an interval and writes down what was left out in it.
func (c *counter) end() {
	c.mu.Lock()
	lines := c.lines
	c.lines = nil
	c.mu.Unlock()
	for _, message := range slices.Sorted(maps.Keys(lines)) {
		if left := lines[message] - Most; left > 0 {
			c.to.Warn(LeftOut, zap.String("message", message), zap.Int("lines", left))
		}
	}
}
