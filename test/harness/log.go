package harness

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"testing"
)

// How much of the log a failed test shows.
const (
	shownLogLines = 120
	shownLogWidth = 600
	// A server that doesn't come up fills its log with what it is asked
	// meanwhile, so that the cause stands far from the end.
	shownComplaints = 20
)

// LogEntry is one line of the server's log, decoded. Whoever asks for it again gets the
// same one, so it must not be changed.
type LogEntry map[string]any

// Text returns a field that holds text, or "". The usual ones are "level",
// "logger" and "msg".
func (e LogEntry) Text(field string) string {
	text, _ := e[field].(string)
	return text
}

// serverLog collects what the processes of one server write.
type serverLog struct {
	mu      sync.Mutex
	text    bytes.Buffer
	decoded []LogEntry // of the lines that end before upTo
	upTo    int
}

// Write implements io.Writer.
func (l *serverLog) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *serverLog) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// entries decodes the lines that are JSON, each once; others, such as a panic's, are
// to be had from the text. A line without an end is still being written.
func (l *serverLog) entries() []LogEntry {
	l.mu.Lock()
	defer l.mu.Unlock()
	for line := range bytes.Lines(l.text.Bytes()[l.upTo:]) {
		if !bytes.HasSuffix(line, []byte("\n")) {
			break
		}
		l.upTo += len(line)
		var entry LogEntry
		if json.Unmarshal(line, &entry) == nil {
			l.decoded = append(l.decoded, entry)
		}
	}
	return slices.Clone(l.decoded)
}

// complaints returns the last warnings and errors, one a line.
func (l *serverLog) complaints() string {
	var complaints []string
	for line := range strings.Lines(l.String()) {
		var entry LogEntry
		if json.Unmarshal([]byte(line), &entry) != nil {
			continue
		}
		if level := entry.Text("level"); level == "warn" || level == "error" {
			complaints = append(complaints, line)
		}
	}
	return strings.Join(complaints[max(0, len(complaints)-shownComplaints):], "")
}

// show writes the end of the log into the test's output, long lines cut.
func (l *serverLog) show(t testing.TB) {
	t.Helper()
	lines := strings.Split(strings.TrimRight(l.String(), "\n"), "\n")
	left := max(0, len(lines)-shownLogLines)
	lines = lines[left:]
	for i, line := range lines {
		if len(line) > shownLogWidth {
			lines[i] = line[:shownLogWidth] + "…"
		}
	}
	t.Logf("the server's log (%d earlier lines left out):\n%s", left, strings.Join(lines, "\n"))
}
