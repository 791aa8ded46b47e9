package harness

import (
	"context"
	"crypto/x509"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
)

// Options says how a server is run.
type Options struct {
	// Caddyfile is a text/template. {{.Port "app"}} is a free port, the same
	// one wherever the name is used; {{.Vars.name}} is from Vars; {{.Dir}} is
	// an empty folder of the server's own. The debug log is switched on for
	// it, and the admin endpoint has its own address, so that it needs to
	// name neither.
	Caddyfile string
	// Vars are further values for the template.
	Vars map[string]string
	// Env adds variables, as NAME=value, to the little environment that the
	// server gets: nothing of the test's own reaches it but PATH and what Go
	// itself reads. The values are templates as the Caddyfile is, and know
	// {{.Admin}} besides, for a Caddyfile that names its admin endpoint.
	Env []string
	// PanicsExpected lets the log hold panics, which otherwise fail the test.
	PanicsExpected bool
	// Race runs a binary with the race detector, whatever else is tested.
	Race bool
	// Binary is run in place of the one under test, to compare the two. Empty: no
	// other is.
	Binary string
	// Added is a folder whose files are built into the binary; see AddedBinary.
	Added string
	// NoDebugLog leaves the debug log off, for measurements: writing it costs
	// more than all else.
	NoDebugLog bool
	// State is what the data folder holds before the first start.
	State State
}

// Server is the binary under test with a state folder, ports and a log of its
// own. All three stay the same while processes come and go. Its methods are
// for the test's goroutine, but for those that only read the log.
type Server struct {
	t       testing.TB
	options Options
	binary  string
	folder  string
	admin   string

	mu    sync.Mutex
	ports map[string]int

	process  *process
	log      serverLog
	canaries canaries
}

// Start runs the binary on the Caddyfile and returns once every site of it
// answers. At the end of the test it stops the server, shows the log where
// the test failed, and fails the test for canaries found, data races and
// panics.
func Start(t testing.TB, options Options) *Server {
	t.Helper()
	s := newServer(t, options)
	t.Cleanup(s.finish)
	s.launch()
	s.awaitServing()
	return s
}

// MustFail runs the binary on a configuration that has to be refused at load,
// and returns the error's text. It fails the test where the process goes on
// running or ends as if all were well.
func MustFail(t testing.TB, options Options) string {
	t.Helper()
	s := newServer(t, options)
	t.Cleanup(s.finish)
	s.launch()
	return s.awaitRefusal()
}

func newServer(t testing.TB, options Options) *Server {
	t.Helper()
	binary := Binary
	switch {
	case options.Binary != "":
		binary = func(testing.TB) string { return options.Binary }
	case options.Race:
		binary = RaceBinary
	}
	if options.Added != "" {
		binary = func(t testing.TB) string { return AddedBinary(t, options.Added) }
	}
	s := &Server{
		t:       t,
		options: options,
		binary:  binary(t),
		folder:  t.TempDir(),
		ports:   map[string]int{},
	}
	s.admin = loopback(freePort(t))
	for _, sub := range []string{"home", "data", "config", "dir"} {
		if err := os.Mkdir(filepath.Join(s.folder, sub), 0o700); err != nil {
			t.Fatalf("making the server's folders: %v", err)
		}
	}
	options.State.restore(t, s.DataDir())
	s.write(options.Caddyfile)
	return s
}

// Port returns the free port of the name, choosing it at first use.
func (s *Server) Port(name string) int {
	s.t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	port, ok := s.ports[name]
	if !ok {
		port = freePort(s.t)
		s.ports[name] = port
	}
	return port
}

// Addr returns where the port of the name is reached, as 127.0.0.1:PORT.
func (s *Server) Addr(name string) string { return loopback(s.Port(name)) }

// URL returns "SCHEME://HOST:PORT/…" for a named port.
func (s *Server) URL(scheme, host, port, path string) string {
	return scheme + "://" + net.JoinHostPort(host, strconv.Itoa(s.Port(port))) + path
}

// Admin returns the address of Caddy's admin endpoint, as 127.0.0.1:PORT.
func (s *Server) Admin() string { return s.admin }

// Dir returns the folder that the Caddyfile knows as {{.Dir}}.
func (s *Server) Dir() string { return filepath.Join(s.folder, "dir") }

// DataDir returns Caddy's data folder, where the product keeps its state.
func (s *Server) DataDir() string { return filepath.Join(s.folder, "data", "caddy") }

// RootCAs returns the roots of the server's own certificate authority, as
// `tls internal` uses it. It is empty where there is none.
func (s *Server) RootCAs() *x509.CertPool {
	pool := x509.NewCertPool()
	if root, err := os.ReadFile(filepath.Join(s.DataDir(), "pki", "authorities", "local", "root.crt")); err == nil {
		pool.AppendCertsFromPEM(root)
	}
	return pool
}

// Running reports whether the process lives.
func (s *Server) Running() bool { return s.process != nil && s.process.running() }

// Stop ends the process with SIGTERM and waits for it.
func (s *Server) Stop() {
	s.t.Helper()
	if !s.Running() {
		return
	}
	s.captureAdmin()
	// A write-ahead log, say, is gone once the server has stopped.
	s.capture(s.files()...)
	if err := s.process.terminate(); err != nil {
		s.t.Errorf("stopping the server: %v", err)
	}
}

// Kill ends the process with SIGKILL, as a crash would.
func (s *Server) Kill() {
	s.t.Helper()
	if err := s.process.kill(); err != nil {
		s.t.Fatalf("killing the server: %v", err)
	}
}

// Restart stops the process where it still runs, and starts another on the
// same state, ports and Caddyfile.
func (s *Server) Restart() {
	s.t.Helper()
	s.Stop()
	s.launch()
	s.awaitServing()
}

// MustRefuseRestart is Restart where the start has to be refused; it returns
// the error's text.
func (s *Server) MustRefuseRestart() string {
	s.t.Helper()
	s.Stop()
	s.launch()
	return s.awaitRefusal()
}

// Reload hands the running server another Caddyfile and returns once every
// site of it answers. Named ports stay; new names get new ports.
func (s *Server) Reload(caddyfile string) {
	s.t.Helper()
	if out := s.reload(caddyfile); out.Code != 0 {
		s.t.Fatalf("the server refused the reload:\n%s", out.Stderr)
	}
	s.awaitServing()
}

// MustRefuseReload hands the running server a Caddyfile that it has to refuse,
// and returns the error's text.
func (s *Server) MustRefuseReload(caddyfile string) string {
	s.t.Helper()
	out := s.reload(caddyfile)
	if out.Code == 0 {
		s.t.Fatal("the server accepted a configuration that it has to refuse")
	}
	return errorText(out.Stderr)
}

func (s *Server) reload(caddyfile string) Output {
	s.t.Helper()
	s.captureAdmin()
	s.write(caddyfile)
	return s.run("", "reload", "--force", "--config", s.caddyfile(), "--adapter", "caddyfile", "--address", s.admin)
}

// Output is what a command left behind.
type Output struct {
	Stdout, Stderr string
	Code           int
}

// PID returns the id of the process, which runs.
func (s *Server) PID() int { return s.process.command.Process.Pid }

// CLI runs a command of the same binary, such as "mfa", "user", "list".
// Commands below mfa are given the running server's admin address, unless the
// arguments name one.
func (s *Server) CLI(arguments ...string) Output {
	s.t.Helper()
	return s.CLIWithInput("", arguments...)
}

// CLIWithInput is CLI with something to read on standard input.
func (s *Server) CLIWithInput(input string, arguments ...string) Output {
	s.t.Helper()
	named := slices.ContainsFunc(arguments, func(a string) bool {
		name, _, _ := strings.Cut(a, "=")
		return name == "--address" || name == "--config"
	})
	if len(arguments) > 0 && arguments[0] == "mfa" && !named {
		arguments = append(slices.Clone(arguments), "--address", s.admin)
	}
	return s.run(input, arguments...)
}

// run runs a command to its end. It isn't told the admin address by its
// environment, as an operator's shell doesn't either.
func (s *Server) run(input string, arguments ...string) Output {
	s.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	command := exec.CommandContext(ctx, s.binary, arguments...)
	command.Env = s.environment()
	command.Dir = s.folder
	command.Stdin = strings.NewReader(input)
	var stdout, stderr strings.Builder
	command.Stdout, command.Stderr = &stdout, &stderr
	err := command.Run()
	if command.ProcessState == nil || ctx.Err() != nil {
		s.t.Fatalf("running %q: %v\n%s", arguments, err, stderr.String())
	}
	return Output{Stdout: stdout.String(), Stderr: stderr.String(), Code: command.ProcessState.ExitCode()}
}

// Log returns all that the server's processes wrote, as text. It is safe for
// concurrent use, as are LogEntries and AwaitLog.
func (s *Server) Log() string { return s.log.String() }

// LogEntries returns the log's lines, decoded.
func (s *Server) LogEntries() []LogEntry { return s.log.entries() }

// AwaitLog waits for a line of the log and returns it.
func (s *Server) AwaitLog(what string, wanted func(LogEntry) bool) LogEntry {
	s.t.Helper()
	var found LogEntry
	Eventually(s.t, patience, what+" in the log", func() bool {
		entries := s.LogEntries()
		i := slices.IndexFunc(entries, wanted)
		if i >= 0 {
			found = entries[i]
		}
		return i >= 0
	})
	return found
}

func (s *Server) launch() {
	s.t.Helper()
	command := exec.Command(s.binary, "run", "--config", s.caddyfile(), "--adapter", "caddyfile")
	command.Env = append(s.environment(), "CADDY_ADMIN="+s.admin)
	command.Dir = s.folder
	started, err := startProcess(command, &s.log)
	if err != nil {
		s.t.Fatal(err)
	}
	s.process = started
}

// environment keeps what the tester has set, and the tester's own state, away
// from the binary.
func (s *Server) environment() []string {
	environment := []string{
		"HOME=" + filepath.Join(s.folder, "home"),
		"XDG_DATA_HOME=" + filepath.Join(s.folder, "data"),
		"XDG_CONFIG_HOME=" + filepath.Join(s.folder, "config"),
	}
	for _, name := range []string{"PATH", "TMPDIR", "GOCOVERDIR", "GORACE"} {
		if value, ok := os.LookupEnv(name); ok {
			environment = append(environment, name+"="+value)
		}
	}
	for _, variable := range s.options.Env {
		environment = append(environment, s.filled(variable))
	}
	return environment
}

// awaitRefusal waits for the process to end by itself and returns why it did.
func (s *Server) awaitRefusal() string {
	s.t.Helper()
	if !s.process.awaitExit(patience) {
		s.t.Fatal("the server runs on a configuration or a state that it has to refuse")
	}
	if s.process.exitCode() <= 0 {
		s.t.Fatalf("the process ended with code %d, not with an error of its own", s.process.exitCode())
	}
	return errorText(s.log.String())
}

// finish is the end of every test that had a server.
func (s *Server) finish() {
	s.Stop()
	s.scanForCanaries()
	s.scanForCrashes()
	if s.t.Failed() {
		s.log.show(s.t)
	}
}

func (s *Server) scanForCrashes() {
	log := s.log.String()
	signs := []string{"WARNING: DATA RACE", "fatal error: "}
	if !s.options.PanicsExpected {
		signs = append(signs, "panic: ", "panic serving ")
	}
	for _, sign := range signs {
		if strings.Contains(log, sign) {
			s.t.Errorf("the server's log holds %q", sign)
		}
	}
}

// errorText is what a command says last: from "Error: " on, without it.
func errorText(output string) string {
	if i := strings.LastIndex(output, "\nError: "); i >= 0 {
		output = output[i+1:]
	}
	return strings.TrimSpace(strings.TrimPrefix(output, "Error: "))
}

func loopback(port int) string { return fmt.Sprintf("127.0.0.1:%d", port) }
