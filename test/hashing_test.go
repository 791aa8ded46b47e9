package test

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/scene"
)

// hashingProcess finds the process that hashes passwords for a server (proc(5)).
func hashingProcess(t testing.TB, s *scene.Scene) (pid int, found bool) {
	t.Helper()
	lists, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/children", s.PID()))
	if err != nil {
		t.Fatal(err)
	}
	for _, list := range lists {
		children, _ := os.ReadFile(list) // the thread may have ended
		for _, child := range strings.Fields(string(children)) {
			command, _ := os.ReadFile(filepath.Join("/proc", child, "cmdline"))
			if strings.Contains(string(command), "hash-passwords") {
				pid, err = strconv.Atoi(child)
				return pid, err == nil
			}
		}
	}
	return 0, false
}

// memoryOf is how many bytes a process takes (proc(5)).
func memoryOf(t testing.TB, pid int) int {
	t.Helper()
	content, err := os.ReadFile(fmt.Sprintf("/proc/%d/statm", pid))
	if err != nil {
		t.Fatal(err)
	}
	pages, err := strconv.Atoi(strings.Fields(string(content))[1])
	if err != nil {
		t.Fatal(err)
	}
	return pages * os.Getpagesize()
}
