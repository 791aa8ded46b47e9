package confirmation

import (
	"context"
	"fmt"
	"os/exec"
	"runtime"
)

// Open opens a page in the person's browser.
func Open(ctx context.Context, page string) error {
	command := []string{"xdg-open", page}
	switch runtime.GOOS {
	case "windows":
		command = []string{"rundll32", "url.dll,FileProtocolHandler", page}
	case "darwin":
		command = []string{"open", page}
	}
	if err := exec.CommandContext(ctx, command[0], command[1:]...).Start(); err != nil {
		return fmt.Errorf("opening a browser: %w", err)
	}
	return nil
}
