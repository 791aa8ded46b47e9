package caddymodule

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"
)

// Each file holds a Caddyfile, a line of dashes, and the JSON or the error
// that Caddy makes of it.
func TestAdapt(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/*.caddyfiletest")
	if err != nil || len(files) == 0 {
		t.Fatalf("no files: %v", err)
	}
	for _, file := range files {
		t.Run(filepath.Base(file), func(t *testing.T) {
			content, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			input, want, found := strings.Cut(string(content), "----------\n")
			if !found {
				t.Fatal("no line of dashes")
			}
			if want = strings.TrimSpace(want); want != adaptedText(t, input) {
				t.Errorf("adapting\n%s\ngot\n%s\nwant\n%s", input, adaptedText(t, input), want)
			}
			if formatted := string(caddyfile.Format([]byte(input))); formatted != input {
				t.Errorf("`caddy fmt` would write\n%s", formatted)
			}
		})
	}
}

func adaptedText(t *testing.T, input string) string {
	t.Helper()
	adapted, err := adapt(input)
	if err != nil {
		return err.Error()
	}
	var pretty bytes.Buffer
	if err := json.Indent(&pretty, adapted, "", "\t"); err != nil {
		t.Fatal(err)
	}
	return pretty.String()
}

// Every error names the file and the line.
func TestErrorsNameTheLine(t *testing.T) {
	files, err := filepath.Glob("testdata/adapt/error_*.caddyfiletest")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		content, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		_, text, _ := strings.Cut(string(content), "----------\n")
		if !strings.Contains(text, ", at Caddyfile:") || strings.Contains(text, ":0") {
			t.Errorf("%s: %s", file, text)
		}
	}
}
