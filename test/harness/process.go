package harness

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"syscall"
	"time"
)

// process is one run of the binary.
type process struct {
	command *exec.Cmd
	exited  chan struct{} // closed once it has ended and its output is read
}

// startProcess runs the binary with its standard error going to log.
func startProcess(command *exec.Cmd, log io.Writer) (*process, error) {
	command.Stdout = log
	command.Stderr = log
	command.SysProcAttr = diesWithParent()
	command.WaitDelay = 5 * time.Second
	if err := command.Start(); err != nil {
		return nil, fmt.Errorf("starting %s: %w", command.Path, err)
	}
	p := &process{command: command, exited: make(chan struct{})}
	go func() {
		_ = command.Wait() // the exit code is read from the process's state
		close(p.exited)
	}()
	return p, nil
}

func (p *process) running() bool {
	select {
	case <-p.exited:
		return false
	default:
		return true
	}
}

// awaitExit reports whether the process ended within the limit.
func (p *process) awaitExit(limit time.Duration) bool {
	timer := time.NewTimer(limit)
	defer timer.Stop()
	select {
	case <-p.exited:
		return true
	case <-timer.C:
		return false
	}
}

// exitCode is that of a process that has ended; -1: by a signal.
func (p *process) exitCode() int { return p.command.ProcessState.ExitCode() }

// terminate asks the process to end, and kills it where it doesn't.
func (p *process) terminate() error {
	if err := p.signal(syscall.SIGTERM); err != nil {
		return err
	}
	if p.awaitExit(patience) {
		return nil
	}
	return errors.Join(fmt.Errorf("still running %s after SIGTERM", patience), p.kill())
}

// kill ends the process as a crash or a power failure would.
func (p *process) kill() error {
	if err := p.signal(syscall.SIGKILL); err != nil {
		return err
	}
	<-p.exited
	return nil
}

func (p *process) signal(s syscall.Signal) error {
	if err := p.command.Process.Signal(s); err != nil && !errors.Is(err, os.ErrProcessDone) {
		return fmt.Errorf("sending %s: %w", s, err)
	}
	return nil
}
