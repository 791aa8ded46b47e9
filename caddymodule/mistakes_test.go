package caddymodule

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// TestMistakes makes one mistake in a Caddyfile after the other, option by option, and
// adapts and validates it as Caddy does. Each error names the file and the line, and
// says what to write.
//
// A file begins with the Caddyfile, in which … stands for the mistake. The mistakes
// follow, each with its error after an arrow.
func TestMistakes(t *testing.T) {
	files, err := filepath.Glob("testdata/mistakes/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		caddyfile, mistakes, _ := strings.Cut(string(content), "\n====\n")
		for mistake := range strings.SplitSeq(strings.TrimSpace(mistakes), "\n\n") {
			written, want, found := strings.Cut(mistake, "\n-> ")
			if !found || !strings.Contains(want, "Caddyfile:") {
				t.Errorf("%s: %q has no error with a line", file, mistake)
				continue
			}
			if got := mistaken(t, strings.Replace(caddyfile, "…", written, 1)); got != want {
				t.Errorf("%s:\n%s\n-> %s\nwant\n-> %s", file, written, got, want)
			}
		}
	}
}

// mistaken returns the error of a Caddyfile without the modules that it came through.
func mistaken(t *testing.T, caddyfile string) string {
	t.Helper()
	adapted, err := adapt(caddyfile)
	if err != nil {
		_, told, _ := strings.Cut(err.Error(), "': ")
		return told
	}
	err = provisioned(t, adapted, func(*App) error { return nil })
	if err == nil {
		return "accepted"
	}
	text := err.Error()
	for _, module := range []string{"provision mfa: ", "provision http.handlers.mfa_portal: "} {
		if _, told, found := strings.Cut(text, module); found {
			text = told
		}
	}
	return text
}
