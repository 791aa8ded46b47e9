// Command release builds what a release consists of: binaries, packages, their lists of
// components, and checksums. Two runs on the same commit give the same bytes.
//
// The binaries are Caddy with this module as a dependency, as xcaddy builds it, because
// Caddy's own commands look for modules among the dependencies of the program.
package main

import (
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
)

// target is a system that binaries are built for.
type target struct{ system, processor, arm string }

// name is how files call the target.
func (t target) name() string {
	if t.arm != "" {
		return t.system + "-" + t.processor + "v" + t.arm
	}
	return t.system + "-" + t.processor
}

var targets = []target{
	{"linux", "amd64", ""}, {"linux", "arm64", ""}, {"linux", "arm", "7"},
	{"windows", "amd64", ""}, {"darwin", "arm64", ""}, {"darwin", "amd64", ""},
}

// release is one release being built.
type release struct {
	version string // v1.2.3
	output  string
	key     string // signs the checksums; empty: nothing is signed
	only    []string
	made    time.Time // of the commit
	work    string    // a folder that is deleted in the end
}

func main() {
	var r release
	flag.StringVar(&r.version, "version", "", "version, such as v1.2.3")
	flag.StringVar(&r.output, "output", ".build/dist", "folder for the files")
	flag.StringVar(&r.key, "key", "", "SSH key that signs the checksums (optional)")
	only := flag.String("only", "", "targets to build, separated by commas, such as linux-amd64 (default: all)")
	flag.Parse()
	if *only != "" {
		r.only = strings.Split(*only, ",")
	}
	if err := r.build(); err != nil {
		fmt.Fprintln(os.Stderr, "release:", err)
		os.Exit(1)
	}
}

func (r *release) build() (err error) {
	if !strings.HasPrefix(r.version, "v") {
		return errors.New("give --version, such as v1.2.3")
	}
	changed, err := output("git", "status", "--porcelain")
	if err != nil {
		return err
	}
	if changed != "" {
		return errors.New("commit first: a release is made of a commit")
	}
	seconds, err := output("git", "show", "-s", "--format=%ct", "HEAD")
	if err != nil {
		return err
	}
	committed, err := strconv.ParseInt(seconds, 10, 64)
	if err != nil {
		return err
	}
	r.made = time.Unix(committed, 0).UTC()
	if r.work, err = os.MkdirTemp("", "portcullis-release-*"); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, os.RemoveAll(r.work)) }()
	if r.output, err = filepath.Abs(r.output); err != nil {
		return err
	}
	if err := os.MkdirAll(r.output, 0o755); err != nil {
		return err
	}
	if err := r.publishHere(); err != nil {
		return fmt.Errorf("packing the module: %w", err)
	}
	// Built for this machine, before the environment says another.
	if err := run(nil, "go", "build", "-o", r.xcaddy(), "github.com/caddyserver/xcaddy/cmd/xcaddy"); err != nil {
		return err
	}
	for _, t := range targets {
		if len(r.only) > 0 && !slices.Contains(r.only, t.name()) {
			continue
		}
		if err := r.buildTarget(t); err != nil {
			return fmt.Errorf("building for %s: %w", t.name(), err)
		}
	}
	return r.finish()
}

// buildTarget builds the binary, and what is made of it.
func (r *release) buildTarget(t target) error {
	name := "portcullis_" + strings.TrimPrefix(r.version, "v") + "_" + t.name()
	if t.system == "windows" {
		name += ".exe"
	}
	binary := filepath.Join(r.output, name)
	if err := r.compile(t, binary); err != nil {
		return err
	}
	if err := run(nil, "go", "tool", "-modfile=tools/go.mod", "cyclonedx-gomod", "bin", "-json", "-noserial", "-notimestamp", "-output", binary+".cdx.json", binary); err != nil {
		return err
	}
	if t.system != "linux" {
		return nil
	}
	processor := t.processor + t.arm // nfpm calls it arm7
	environment := []string{
		"ARCH=" + processor, "VERSION=" + r.version, "BINARY=" + binary,
		"SOURCE_DATE_EPOCH=" + strconv.FormatInt(r.made.Unix(), 10),
	}
	for _, packager := range []string{"deb", "rpm"} {
		if err := run(environment, "go", "tool", "-modfile=tools/go.mod", "nfpm", "package", "--config", "packaging/nfpm.yaml", "--packager", packager, "--target", r.output); err != nil {
			return err
		}
	}
	return nil
}

// finish writes the checksums, and signs them.
func (r *release) finish() error {
	entries, err := os.ReadDir(r.output)
	if err != nil {
		return err
	}
	var sums strings.Builder
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), "SHA256SUMS") {
			continue
		}
		sum, err := checksum(filepath.Join(r.output, entry.Name()))
		if err != nil {
			return err
		}
		fmt.Fprintf(&sums, "%x  %s\n", sum, entry.Name())
	}
	path := filepath.Join(r.output, "SHA256SUMS")
	if err := os.WriteFile(path, []byte(sums.String()), 0o644); err != nil {
		return err
	}
	if r.key == "" {
		return nil
	}
	return run(nil, "ssh-keygen", "-Y", "sign", "-f", r.key, "-n", "file", path)
}

func checksum(path string) ([]byte, error) {
	file, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	defer file.Close()
	hash := sha256.New()
	_, err = io.Copy(hash, file)
	return hash.Sum(nil), err
}

func output(name string, arguments ...string) (string, error) {
	out, err := exec.Command(name, arguments...).Output()
	if err != nil {
		return "", fmt.Errorf("%s %s: %w", name, strings.Join(arguments, " "), err)
	}
	return strings.TrimSpace(string(out)), nil
}

// run runs a program with additions to the environment.
func run(environment []string, name string, arguments ...string) error {
	program := exec.Command(name, arguments...)
	program.Env = append(os.Environ(), environment...)
	program.Stdout, program.Stderr = os.Stdout, os.Stderr
	if err := program.Run(); err != nil {
		return fmt.Errorf("%s: %w", name, err)
	}
	return nil
}
