package hashprocess

import (
	"errors"
	"fmt"
	"os/exec"
	"sync"
	"time"

	"github.com/portcullis-mfa/portcullis/identity"
)

// ErrNotRunning says that no child is there to do a task.
var ErrNotRunning = errors.New("no process for password hashes is running")

const (
	// together is how soon tasks follow one another for a child to be worth its start,
	// which takes longer than a task does.
	together = time.Second
	// idleBefore is for how long a child gets no task before it ends.
	idleBefore = time.Minute
	// pauseAfter is for how long no child is started after one has failed.
	pauseAfter = time.Minute
)

// Process starts a child once tasks follow one another closely, and ends it after a
// minute without tasks. It is safe for concurrent use.
type Process struct {
	command func() (*exec.Cmd, error)
	failed  func(error)

	mu       sync.Mutex
	child    *child // nil: none is ready
	starting bool
	underWay int       // tasks
	last     time.Time // when a task ended
	notUntil time.Time // is another child started
	idle     *time.Timer
	closed   bool
}

// New returns a Process without a child. Command returns what a child executes: a
// program that calls Serve with its standard input and output. If there is no such
// program, it returns ErrNotRunning. Failed is told why a child couldn't be started, or
// didn't do a task.
func New(command func() (*exec.Cmd, error), failed func(error)) *Process {
	p := &Process{command: command, failed: failed}
	p.idle = time.AfterFunc(idleBefore, p.endIdle)
	return p
}

// Do has the child do a task. Any error means that the caller has to do the task itself.
// The error is ErrNotRunning if there is no child.
func (p *Process) Do(task identity.Task) (identity.Outcome, error) {
	c := p.begin()
	defer p.end()
	if c == nil {
		return identity.Outcome{}, ErrNotRunning
	}
	outcome, err := c.do(task)
	if err != nil {
		p.giveUp(c, err)
	}
	return outcome, err
}

// begin counts a task, and returns the child that is there for it, or nil.
func (p *Process) begin() *child {
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now()
	busy := p.underWay > 0 || now.Sub(p.last) < together
	p.underWay++
	p.idle.Stop()
	if p.child == nil && busy && !p.starting && !p.closed && now.After(p.notUntil) {
		p.starting = true
		go p.start() // whoever waits for a hash doesn't wait for this
	}
	return p.child
}

func (p *Process) end() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.underWay--
	p.last = time.Now()
	p.idle.Reset(idleBefore)
}

func (p *Process) start() {
	cmd, err := p.command()
	var started *child
	if err == nil {
		started, err = launch(cmd)
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.starting = false
	switch {
	case err != nil:
		p.pause(fmt.Errorf("starting a process for password hashes: %w", err))
	case p.closed:
		started.end()
	default:
		p.child = started
	}
}

// giveUp ends a child that didn't do its task.
func (p *Process) giveUp(c *child, why error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.child == c { // not if another task was there first
		p.child = nil
		c.end()
		p.pause(fmt.Errorf("hashing a password in a separate process: %w", why))
	}
}

// pause has no child started for a while.
func (p *Process) pause(why error) {
	p.notUntil = time.Now().Add(pauseAfter)
	if !p.closed && !errors.Is(why, ErrNotRunning) {
		p.failed(why)
	}
}

func (p *Process) endIdle() {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.underWay == 0 {
		p.endChild()
	}
}

func (p *Process) endChild() {
	if p.child != nil {
		p.child.end()
		p.child = nil
	}
}

// Close ends the child. Do returns ErrNotRunning from then on.
func (p *Process) Close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	p.idle.Stop()
	p.endChild()
}
