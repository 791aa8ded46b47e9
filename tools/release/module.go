package main

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/module"
	"golang.org/x/mod/zip"
)

// path is the module that is released.
const path = "github.com/portcullis-mfa/portcullis"

// proxy is where the module is published for the build alone.
func (r *release) proxy() string { return filepath.Join(r.work, "proxy") }

// publishHere puts the module's commit, under its version, where Go finds it as it finds
// published ones (https://go.dev/ref/mod#goproxy-protocol).
func (r *release) publishHere() error {
	folder := filepath.Join(r.proxy(), filepath.FromSlash(path), "@v")
	if err := os.MkdirAll(folder, 0o755); err != nil {
		return err
	}
	information, err := json.Marshal(map[string]any{"Version": r.version, "Time": r.made})
	if err != nil {
		return err
	}
	gomod, err := os.ReadFile("go.mod")
	if err != nil {
		return err
	}
	for ending, content := range map[string][]byte{".info": information, ".mod": gomod} {
		if err := os.WriteFile(filepath.Join(folder, r.version+ending), content, 0o644); err != nil {
			return err
		}
	}
	if err := os.WriteFile(filepath.Join(folder, "list"), []byte(r.version+"\n"), 0o644); err != nil {
		return err
	}
	archive, err := os.Create(filepath.Join(folder, r.version+".zip"))
	if err != nil {
		return err
	}
	defer archive.Close()
	if err := zip.CreateFromVCS(archive, module.Version{Path: path, Version: r.version}, ".", "HEAD", ""); err != nil {
		return err
	}
	return archive.Close()
}

// compile builds a binary as xcaddy does.
func (r *release) compile(t target, binary string) error {
	var recipe struct {
		Caddy string `json:"caddy"`
	}
	raw, err := os.ReadFile("xcaddy.json")
	if err != nil {
		return err
	}
	if err := json.Unmarshal(raw, &recipe); err != nil {
		return fmt.Errorf("reading xcaddy.json: %w", err)
	}
	public := os.Getenv("GOPROXY")
	if public == "" {
		if public, err = output("go", "env", "GOPROXY"); err != nil {
			return err
		}
	}
	downloaded, err := output("go", "env", "GOMODCACHE")
	if err != nil {
		return err
	}
	sources := []string{"file://" + filepath.ToSlash(r.proxy()), "file://" + filepath.ToSlash(downloaded) + "/cache/download", public}
	environment := []string{
		"GOOS=" + t.system, "GOARCH=" + t.processor, "GOARM=" + t.arm, "CGO_ENABLED=0",
		"GOPROXY=" + strings.Join(sources, ","), "GONOSUMDB=" + path, "GOFLAGS=-modcacherw",
		// What was built before under the same version must not be taken for this.
		"GOMODCACHE=" + filepath.Join(r.work, "modules"),
		`XCADDY_GO_BUILD_FLAGS=-trimpath -buildvcs=false -ldflags "-s -w -buildid= -X github.com/caddyserver/caddy/v2.CustomBinaryName=portcullis"`,
	}
	return run(environment, r.xcaddy(), "build", recipe.Caddy, "--output", binary, "--with", path+"@"+r.version)
}

// xcaddy is the program, which is built once, for this machine.
func (r *release) xcaddy() string { return filepath.Join(r.work, "xcaddy") }
