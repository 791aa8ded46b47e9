//go:build !linux

package hashprocess

import "os/exec"

// startGently starts a child at the usual priority. Even so, the system shares the cores
// between the two processes in smaller slices than the Go runtime would.
func startGently(cmd *exec.Cmd) error { return cmd.Start() }
