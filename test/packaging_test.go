package test

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// packaged is the path of a file that packages install.
func packaged(t *testing.T, name string) string {
	t.Helper()
	return filepath.Join(moduleRoot(t), "packaging", name)
}

// TestPackagedUnit holds the unit to the exposure that the docs promise, and the command
// that packages install to the unit's own environment.
func TestPackagedUnit(t *testing.T) {
	t.Parallel()
	unit := packaged(t, "portcullis.service")
	// The threshold is ten times the level.
	if out, err := exec.Command("systemd-analyze", "security", "--offline=true", "--threshold=20", unit).CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	command := string(read(t, packaged(t, "portcullis")))
	for _, variable := range []string{"CADDY_ADMIN", "XDG_DATA_HOME", "XDG_CONFIG_HOME"} {
		set := regexp.MustCompile(`(?m)^Environment=` + variable + `=(.*)$`).FindStringSubmatch(string(read(t, unit)))
		if set == nil || !strings.Contains(command, `: "${`+variable+`=`+set[1]+`}"`) {
			t.Errorf("the command and the unit set %s differently", variable)
		}
	}
}

// TestPackagedCaddyfile validates the Caddyfile as it is installed, and with its example
// taken out of the comments.
func TestPackagedCaddyfile(t *testing.T) {
	t.Parallel()
	installed := string(read(t, packaged(t, "Caddyfile")))
	example := regexp.MustCompile(`(?m)^#([{}\t a-z]?)`).ReplaceAllString(installed[strings.Index(installed, "\n\n"):], "$1")
	if !strings.Contains(example, "\nlogin.example.com {\n") {
		t.Fatalf("the example is %s", example)
	}
	for _, caddyfile := range []string{installed, example} {
		file := filepath.Join(t.TempDir(), "Caddyfile")
		if err := os.WriteFile(file, []byte(caddyfile), 0o600); err != nil {
			t.Fatal(err)
		}
		if output, err := program(t, "validate", "--config", file, "--adapter", "caddyfile"); err != nil {
			t.Errorf("%v\n%s", err, output)
		}
	}
}
