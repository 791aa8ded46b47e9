package harness

import (
	"os"
	"path/filepath"
	"strings"
	"text/template"
)

// caddyfileData is what a Caddyfile's template sees.
type caddyfileData struct {
	server *Server
	Vars   map[string]string
}

// Port is {{.Port "name"}}.
func (d caddyfileData) Port(name string) int { return d.server.Port(name) }

// Dir is {{.Dir}}.
func (d caddyfileData) Dir() string { return d.server.Dir() }

// Admin is {{.Admin}}.
func (d caddyfileData) Admin() string { return d.server.Admin() }

func (s *Server) caddyfile() string { return filepath.Join(s.folder, "Caddyfile") }

// write puts the Caddyfile where the binary finds it.
func (s *Server) write(source string) {
	s.t.Helper()
	source = s.filled(source)
	if !s.options.NoDebugLog {
		source = withDebugLog(source)
	}
	if err := os.WriteFile(s.caddyfile(), []byte(source), 0o600); err != nil {
		s.t.Fatalf("writing the Caddyfile: %v", err)
	}
}

// Rewrite puts another Caddyfile where the next start finds it, and returns its path. The
// running server doesn't hear of it.
func (s *Server) Rewrite(source string) (path string) {
	s.t.Helper()
	s.write(source)
	return s.caddyfile()
}

// filled is what a template says with this server's ports and folders.
func (s *Server) filled(source string) string {
	s.t.Helper()
	parsed, err := template.New("Caddyfile").Option("missingkey=error").Parse(source)
	if err != nil {
		s.t.Fatalf("the Caddyfile's template: %v", err)
	}
	var text strings.Builder
	if err := parsed.Execute(&text, caddyfileData{server: s, Vars: s.options.Vars}); err != nil {
		s.t.Fatalf("the Caddyfile's template: %v", err)
	}
	return text.String()
}

// withDebugLog sets the global option debug. It goes to the end of the global
// block's first line or, without such a block, into one before the first
// line, so that errors name the lines that the test wrote, or close to it.
func withDebugLog(caddyfile string) string {
	lines := strings.SplitAfter(caddyfile, "\n")
	for i, line := range lines {
		line, _, _ = strings.Cut(line, "#")
		switch strings.TrimSpace(line) {
		case "":
			continue
		case "{":
			lines[i] = "{\n\tdebug\n"
			return strings.Join(lines, "")
		}
		break
	}
	return "{\n\tdebug\n}\n" + caddyfile
}
