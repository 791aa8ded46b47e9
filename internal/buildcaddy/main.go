// Command buildcaddy builds Caddy as xcaddy.json says, with this checkout in
// place of the published module. Its one argument is the binary to write.
package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
)

// module is the one that this checkout holds.
const module = "github.com/portcullis-mfa/portcullis"

func main() {
	if len(os.Args) != 2 {
		fmt.Fprintln(os.Stderr, "usage: buildcaddy OUTPUT")
		os.Exit(2)
	}
	if err := build(os.Args[1]); err != nil {
		fmt.Fprintln(os.Stderr, "buildcaddy:", err)
		os.Exit(1)
	}
}

func build(output string) error {
	raw, err := os.ReadFile("xcaddy.json")
	if err != nil {
		return err
	}
	var recipe struct {
		Caddy   string   `json:"caddy"`
		Modules []string `json:"modules"`
	}
	if err := json.Unmarshal(raw, &recipe); err != nil {
		return fmt.Errorf("reading xcaddy.json: %w", err)
	}
	here, err := os.Getwd()
	if err != nil {
		return err
	}
	args := []string{"tool", "xcaddy", "build", recipe.Caddy, "--output", output}
	for _, m := range recipe.Modules {
		if m == module {
			m += "@v0.0.0=" + here
		}
		args = append(args, "--with", m)
	}
	cmd := exec.Command("go", args...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	return cmd.Run()
}
