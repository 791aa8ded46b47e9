package hashprocess

import (
	"errors"
	"fmt"
	"io"
	"net/rpc"
	"os/exec"
	"runtime"
	"time"

	"github.com/portcullis-mfa/portcullis/identity"
)

// errTooSlow says that a child didn't answer in time.
var errTooSlow = errors.New("it didn't answer in time")

// slowest is how long a task may take in a child, which gets little of a busy machine.
const slowest = 10 * time.Second

// child is a process that does tasks.
type child struct {
	client *rpc.Client
	kill   func() error
}

// launch starts a child, and returns it once it has answered.
func launch(cmd *exec.Cmd) (*child, error) {
	in, err := cmd.StdinPipe()
	if err != nil {
		return nil, err
	}
	out, err := cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := startGently(cmd); err != nil {
		return nil, err
	}
	go func() { _ = cmd.Wait() }() // how it ended shows in what it answered
	c := &child{rpc.NewClient(pipes{out, in}), cmd.Process.Kill}
	if err := c.call("Ready", struct{}{}, new(struct{})); err != nil {
		c.end()
		return nil, err
	}
	return c, nil
}

// do has the child do a task.
func (c *child) do(task identity.Task) (outcome identity.Outcome, err error) {
	err = c.call("Do", task, &outcome)
	return outcome, err
}

func (c *child) call(method string, task, answer any) error {
	timer := time.NewTimer(slowest)
	defer timer.Stop()
	select {
	case call := <-c.client.Go(service+"."+method, task, answer, make(chan *rpc.Call, 1)).Done:
		return call.Error
	case <-timer.C:
		return errTooSlow
	}
}

// end ends the child, whatever it does.
func (c *child) end() {
	_ = c.client.Close() // it may have ended by itself
	_ = c.kill()
}

// service is what a child offers under net/rpc.
const service = "Hashing"

// Serve does tasks until the parent has closed its end of the pipe, or is gone.
func Serve(in io.ReadCloser, out io.WriteCloser) error {
	server := rpc.NewServer()
	if err := server.RegisterName(service, new(Worker)); err != nil {
		return fmt.Errorf("offering to hash passwords: %w", err)
	}
	server.ServeConn(pipes{in, out})
	return nil
}

// Worker does tasks in the child. It is exported because net/rpc requires it.
type Worker struct{}

// Ready answers, so that the parent knows that the child has started.
func (*Worker) Ready(struct{}, *struct{}) error { return nil }

// Do does a task and frees the memory that it took, so that the child never takes more
// than the tasks that are under way.
func (*Worker) Do(task identity.Task, outcome *identity.Outcome) (err error) {
	*outcome, err = task.Do()
	runtime.GC()
	return err
}

// pipes are the two directions of a connection.
type pipes struct {
	io.ReadCloser
	out io.WriteCloser
}

// Write implements io.Writer.
func (p pipes) Write(data []byte) (int, error) { return p.out.Write(data) }

// Close closes both directions.
func (p pipes) Close() error { return errors.Join(p.out.Close(), p.ReadCloser.Close()) }
