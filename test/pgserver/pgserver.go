// Package pgserver runs a PostgreSQL server for tests: the real one, in a temporary
// folder, reached by a socket in it.
package pgserver

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"os/user"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/jackc/pgx/v5"
)

// patience is how long the server may take to start and to stop.
const patience = time.Minute

// Server is a server that was started.
type Server struct {
	directory string
	programs  string
	owner     *syscall.SysProcAttr
	settings  []string
	running   *exec.Cmd
	exited    chan struct{}
	log       bytes.Buffer
	databases atomic.Int64
}

// Start makes a server without any data and starts it with the settings (name=value).
// Nothing is synced to the disk unless a setting says so: what a test sees is the same,
// as long as the machine doesn't crash.
func Start(settings ...string) (*Server, error) {
	programs, err := programs()
	if err != nil {
		return nil, err
	}
	directory, err := os.MkdirTemp("", "pg")
	if err != nil {
		return nil, err
	}
	s := &Server{directory: directory, programs: programs, owner: diesWithParent(), settings: append([]string{
		"listen_addresses=", "unix_socket_directories=" + directory, "max_connections=300",
		"fsync=off", "full_page_writes=off", "shared_buffers=64MB",
	}, settings...)}
	if err := s.make(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(directory))
	}
	if err := s.Run(); err != nil {
		return nil, errors.Join(err, os.RemoveAll(directory))
	}
	return s, nil
}

// programs returns the folder of the newest installed server's programs.
func programs() (string, error) {
	if path, err := exec.LookPath("initdb"); err == nil {
		if real, err := filepath.EvalSymlinks(path); err == nil && filepath.Base(real) == "initdb" {
			return filepath.Dir(real), nil
		}
	}
	found, err := filepath.Glob("/usr/lib/postgresql/*/bin")
	if err != nil || len(found) == 0 {
		return "", errors.New("PostgreSQL isn't installed: see test/install-packages.sh")
	}
	return found[len(found)-1], nil
}

// make makes the server's folder. PostgreSQL refuses to run as root.
func (s *Server) make() error {
	if os.Getuid() == 0 {
		nobody, err := user.Lookup("nobody")
		if err != nil {
			return err
		}
		uid, errUID := strconv.Atoi(nobody.Uid)
		gid, errGID := strconv.Atoi(nobody.Gid)
		if err := errors.Join(errUID, errGID, os.Chown(s.directory, uid, gid)); err != nil {
			return err
		}
		s.owner.Credential = &syscall.Credential{Uid: uint32(uid), Gid: uint32(gid)}
	}
	out, err := s.command("initdb", "-D", s.data(), "-A", "trust", "-U", "postgres", "--no-locale", "-E", "UTF8", "-N").CombinedOutput()
	if err != nil {
		return fmt.Errorf("initdb: %w: %s", err, out)
	}
	return nil
}

func (s *Server) data() string { return filepath.Join(s.directory, "data") }

func (s *Server) command(name string, args ...string) *exec.Cmd {
	command := exec.Command(filepath.Join(s.programs, name), args...)
	command.Dir, command.SysProcAttr = s.directory, s.owner
	return command
}

// Run starts the server again that was stopped, with more settings.
func (s *Server) Run(settings ...string) error {
	args := []string{"-D", s.data()}
	for _, setting := range append(s.settings, settings...) {
		args = append(args, "-c", setting)
	}
	s.running = s.command("postgres", args...)
	s.running.Stdout, s.running.Stderr = &s.log, &s.log
	if err := s.running.Start(); err != nil {
		return err
	}
	running, exited := s.running, make(chan struct{})
	s.exited = exited
	go func() {
		_ = running.Wait() // how it ended is in its log
		close(exited)
	}()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	for {
		err := s.Exec(ctx, "postgres", `SELECT 1`)
		if err == nil {
			return nil
		}
		select {
		case <-exited:
			return fmt.Errorf("the server ended: %s", s.log.String())
		case <-ctx.Done():
			return fmt.Errorf("the server doesn't answer: %w", err)
		case <-time.After(10 * time.Millisecond):
		}
	}
}

// URL is the address of a database.
func (s *Server) URL(database string) string {
	address := url.URL{Scheme: "postgres", Path: "/" + database, RawQuery: url.Values{
		"host": {s.directory}, "user": {"postgres"},
	}.Encode()}
	return address.String()
}

// Socket is the path of the server's socket.
func (s *Server) Socket() string { return filepath.Join(s.directory, ".s.PGSQL.5432") }

// Exec runs SQL in a database.
func (s *Server) Exec(ctx context.Context, database, sql string) error {
	connection, err := pgx.Connect(ctx, s.URL(database))
	if err != nil {
		return err
	}
	_, err = connection.Exec(ctx, sql)
	return errors.Join(err, connection.Close(ctx))
}

// NewDatabase makes a database as a copy of a template, and returns its name.
func (s *Server) NewDatabase(ctx context.Context, template string) (string, error) {
	name := "d" + strconv.FormatInt(s.databases.Add(1), 10)
	return name, s.Exec(ctx, "postgres", `CREATE DATABASE `+name+` TEMPLATE `+template)
}

// DropDatabase deletes a database, whoever is connected to it.
func (s *Server) DropDatabase(ctx context.Context, name string) error {
	return s.Exec(ctx, "postgres", `DROP DATABASE `+name+` WITH (FORCE)`)
}

// Signal sends the server's first process a signal: SIGINT has it end connections and
// stop, SIGQUIT crash.
func (s *Server) Signal(signal syscall.Signal) error { return s.running.Process.Signal(signal) }

// SignalAll sends all of the server's processes a signal, as SIGSTOP and SIGCONT.
func (s *Server) SignalAll(signal syscall.Signal) error {
	pid := strconv.Itoa(s.running.Process.Pid)
	// The first goes first: it begins no others then.
	failed := s.Signal(signal)
	children, err := os.ReadFile("/proc/" + pid + "/task/" + pid + "/children")
	if err := errors.Join(failed, err); err != nil {
		return err
	}
	for _, child := range strings.Fields(string(children)) {
		id, err := strconv.Atoi(child)
		if err == nil {
			err = syscall.Kill(id, signal)
		}
		if err != nil && !errors.Is(err, syscall.ESRCH) {
			return err
		}
	}
	return nil
}

// Stop ends the server by a signal and waits until it is gone.
func (s *Server) Stop(signal syscall.Signal) error {
	if err := s.Signal(signal); err != nil {
		return err
	}
	select {
	case <-s.exited:
		return nil
	case <-time.After(patience):
		return errors.New("the server doesn't stop")
	}
}

// Close ends the server and deletes its data.
func (s *Server) Close() error {
	err := s.Stop(syscall.SIGQUIT)
	if errors.Is(err, os.ErrProcessDone) {
		err = nil
	}
	return errors.Join(err, os.RemoveAll(s.directory))
}
