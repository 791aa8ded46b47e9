package hashprocess

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/identity"
)

// serves is in the environment of a test that is to be a child.
const serves = "PORTCULLIS_TEST_SERVES_HASHES"

func TestMain(m *testing.M) {
	if os.Getenv(serves) != "" {
		if err := Serve(os.Stdin, os.Stdout); err != nil {
			panic(err)
		}
		return
	}
	os.Exit(m.Run())
}

var task = identity.Task{
	Input: []byte("input"), Salt: []byte("0123456789abcdef"), Params: identity.Params{Memory: 64, Passes: 1, Parallelism: 1},
}

// started is a Process and the children that it has started.
type started struct {
	*Process
	children atomic.Int32
	cmd      atomic.Pointer[exec.Cmd] // the last of them
	failures chan error
}

func start(t *testing.T, program string) *started {
	s := &started{failures: make(chan error, 100)}
	s.Process = New(func() (*exec.Cmd, error) {
		cmd := exec.Command(program)
		cmd.Env = append(os.Environ(), serves+"=1")
		s.children.Add(1)
		s.cmd.Store(cmd)
		return cmd, nil
	}, func(err error) { s.failures <- err })
	t.Cleanup(s.Close)
	return s
}

// until does tasks until what one comes to is as wanted.
func (s *started) until(t *testing.T, what string, wanted func(identity.Outcome, error) bool) {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); !wanted(s.Do(task)); {
		if time.Now().After(deadline) {
			t.Fatalf("no %s within a minute", what)
		}
		runtime.Gosched()
	}
}

func byChild(_ identity.Outcome, err error) bool { return err == nil }

func TestTasksInQuickSuccession(t *testing.T) {
	s := start(t, os.Args[0])
	if _, err := s.Do(task); !errors.Is(err, ErrNotRunning) || s.children.Load() != 0 {
		t.Fatalf("a single task: %v, %d children", err, s.children.Load())
	}
	s.until(t, "child", byChild)
	here, err := task.Do()
	if err != nil {
		t.Fatal(err)
	}
	if there, err := s.Do(task); err != nil || !bytes.Equal(there.Tag, here.Tag) || s.children.Load() != 1 {
		t.Errorf("%x, %v by %d children, want %x by one", there.Tag, err, s.children.Load(), here.Tag)
	}
	if runtime.GOOS == "linux" {
		expectNiceness(t, s.cmd.Load().Process.Pid)
	}
	s.Close()
	if _, err := s.Do(task); !errors.Is(err, ErrNotRunning) {
		t.Errorf("once closed: %v", err)
	}
	if len(s.failures) > 0 {
		t.Error(<-s.failures)
	}
}

// expectNiceness expects each thread of a process to have the niceness (proc(5)).
func expectNiceness(t *testing.T, pid int) {
	stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", pid))
	if err != nil || len(stats) == 0 {
		t.Fatalf("%v, %v", stats, err)
	}
	for _, stat := range stats {
		content, err := os.ReadFile(stat)
		if err != nil {
			continue // the thread has ended
		}
		_, numbers, _ := strings.Cut(string(content), ") ")
		if nice := strings.Fields(numbers)[16]; nice != fmt.Sprint(niceness) {
			t.Errorf("%s: niceness %s", stat, nice)
		}
	}
}

func TestAChildThatDies(t *testing.T) {
	s := start(t, os.Args[0])
	s.until(t, "child", byChild)
	if err := s.cmd.Load().Process.Kill(); err != nil {
		t.Fatal(err)
	}
	s.until(t, "failure", func(_ identity.Outcome, err error) bool { return err != nil })
	for range 10 {
		if _, err := s.Do(task); !errors.Is(err, ErrNotRunning) || s.children.Load() != 1 {
			t.Fatalf("%v, %d children", err, s.children.Load())
		}
	}
	if len(s.failures) != 1 {
		t.Errorf("%d failures were told", len(s.failures))
	}
}

func TestNoChildCanBeStarted(t *testing.T) {
	s := start(t, filepath.Join(t.TempDir(), "missing"))
	s.until(t, "failure", func(identity.Outcome, error) bool { return len(s.failures) > 0 })
	for range 10 {
		if _, err := s.Do(task); !errors.Is(err, ErrNotRunning) || s.children.Load() != 1 {
			t.Fatalf("%v, %d children", err, s.children.Load())
		}
	}
}

// A child ends with its parent, which can't tell it so if it is killed.
func TestTheChildEndsWithItsParent(t *testing.T) {
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), serves+"=1")
	in, err := cmd.StdinPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	if err := in.Close(); err != nil {
		t.Fatal(err)
	}
	if err := cmd.Wait(); err != nil {
		t.Error(err)
	}
}
