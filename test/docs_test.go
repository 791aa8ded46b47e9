package test

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/test/harness"
)

// TestCaddyfilesInTheDocs holds that every Caddyfile that people may copy is
// whole, is formatted, and passes `caddy validate`.
func TestCaddyfilesInTheDocs(t *testing.T) {
	t.Parallel()
	blocks := 0
	for name, text := range documents(t) {
		for i, block := range fenced(text, "caddyfile") {
			blocks++
			t.Run(fmt.Sprintf("%s/%d", name, i+1), func(t *testing.T) {
				file := filepath.Join(t.TempDir(), "Caddyfile")
				if err := os.WriteFile(file, []byte(block), 0o600); err != nil {
					t.Fatal(err)
				}
				for _, arguments := range [][]string{
					{"adapt", "--config", file, "--adapter", "caddyfile"},
					{"validate", "--config", file, "--adapter", "caddyfile"},
				} {
					if output, err := program(t, arguments...); err != nil {
						t.Fatalf("%s: %v\n%s\n%s", arguments[0], err, block, output)
					}
				}
				if output, _ := program(t, "fmt", file); output != block {
					t.Errorf("`caddy fmt` would write\n%s", output)
				}
			})
		}
	}
	if blocks == 0 {
		t.Error("the docs hold no Caddyfile")
	}
}

// optionTables says where reference.md lists the settings of each type of the
// configuration, and what the parser says of an option that isn't there.
var optionTables = []struct {
	structure, heading string
	// caddyfile holds an unknown option where those of the type stand; empty:
	// the parser has no list.
	caddyfile string
}{
	{"App", "### The global option mfa", "{\n\tmfa {\n\t\tnosuch\n\t}\n}\n"},
	{"SessionSettings", "### The block session", "{\n\tmfa {\n\t\tsession {\n\t\t\tnosuch\n\t\t}\n\t}\n}\n"},
	{"Password", "### The block password", "{\n\tmfa {\n\t\tpassword {\n\t\t\tnosuch\n\t\t}\n\t}\n}\n"},
	{"TOTP", "### The block totp", "{\n\tmfa {\n\t\ttotp {\n\t\t\tnosuch\n\t\t}\n\t}\n}\n"},
	{"FIDO", "### The block fido", "{\n\tmfa {\n\t\tfido {\n\t\t\tnosuch\n\t\t}\n\t}\n}\n"},
	{"Attestation", "### The block attestation", "{\n\tmfa {\n\t\tfido {\n\t\t\tattestation required {\n\t\t\t\tnosuch\n\t\t\t}\n\t\t}\n\t}\n}\n"},
	{"BackupCodes", "### The block backup_codes", "{\n\tmfa {\n\t\tbackup_codes {\n\t\t\tnosuch\n\t\t}\n\t}\n}\n"},
	{"Email", "### The block email", "{\n\tmfa {\n\t\temail {\n\t\t\tnosuch\n\t\t}\n\t}\n}\n"},
	{"Push", "### The block push", "{\n\tmfa {\n\t\tpush {\n\t\t\tnosuch\n\t\t}\n\t}\n}\n"},
	{"Authenticator", "### The directive mfa_authenticator", ""},
	{"SMS", "### The block sms", "{\n\tmfa {\n\t\tsms {\n\t\t\tnosuch\n\t\t}\n\t}\n}\n"},
	{"SMSGateway", "### The block gateway", "{\n\tmfa {\n\t\tsms {\n\t\t\tgateway https://a.example {\n\t\t\t\tnosuch\n\t\t\t}\n\t\t}\n\t}\n}\n"},
	{"Twilio", "### The block twilio", "{\n\tmfa {\n\t\tsms {\n\t\t\ttwilio {\n\t\t\t\tnosuch\n\t\t\t}\n\t\t}\n\t}\n}\n"},
	{"Certificate", "### The block certificate", "{\n\tmfa {\n\t\tcertificate {\n\t\t\tnosuch\n\t\t}\n\t}\n}\n"},
	{"Platforms", "### Platforms", ""},
	{"SQLiteStore", "### The store sqlite", "{\n\tmfa {\n\t\tstore sqlite {\n\t\t\tnosuch\n\t\t}\n\t}\n}\n"},
	{"PostgresStore", "### The store postgres", "{\n\tmfa {\n\t\tstore postgres {\n\t\t\tnosuch\n\t\t}\n\t}\n}\n"},
	{"Gate", "### The directive mfa", "a.example {\n\tmfa {\n\t\tnosuch\n\t}\n}\n"},
	{"Portal", "### The directive mfa_portal", ""},
	{"Rule", "### The block rule", "a.example {\n\tmfa {\n\t\trule /a {\n\t\t\tnosuch\n\t\t}\n\t}\n}\n"},
	{"Tokens", "### The block tokens", ""},
	{"PersonalTokens", "### The block personal", "a.example {\n\tmfa {\n\t\ttokens personal {\n\t\t\tnosuch\n\t\t}\n\t}\n}\n"},
	{"Headers", "### The block headers", "a.example {\n\tmfa {\n\t\theaders {\n\t\t\tnosuch\n\t\t}\n\t}\n}\n"},
	{"People", "### People", ""},
}

// TestOptionsInTheReference holds reference.md against the fields that Caddy
// decodes and against the options that the Caddyfile's parser knows.
func TestOptionsInTheReference(t *testing.T) {
	t.Parallel()
	text := documents(t)["docs/reference.md"]
	existing := options(t)
	for _, table := range optionTables {
		rows := tableUnder(t, text, table.heading)
		var wantJSON []string
		for _, field := range existing[table.structure] {
			wantJSON = append(wantJSON, field.json)
		}
		expectSame(t, table.heading+", JSON", columnCodes(rows, 1), wantJSON)
		if table.caddyfile != "" {
			expectSame(t, table.heading+", Caddyfile", firstWords(columnCodes(rows, 0)), knownOptions(t, table.caddyfile))
		}
		delete(existing, table.structure)
	}
	for structure := range existing {
		t.Errorf("reference.md has no table for caddymodule.%s", structure)
	}
}

var listOfOptions = regexp.MustCompile(`the (?:options are|only option is) (.*?), at `)

// knownOptions returns the options that the parser names when it meets another.
func knownOptions(t *testing.T, caddyfile string) []string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "Caddyfile")
	if err := os.WriteFile(file, []byte(caddyfile), 0o600); err != nil {
		t.Fatal(err)
	}
	output, err := program(t, "adapt", "--config", file, "--adapter", "caddyfile")
	found := listOfOptions.FindStringSubmatch(output)
	if err == nil || found == nil {
		t.Fatalf("an unknown option: %v\n%s", err, output)
	}
	return strings.Split(strings.ReplaceAll(found[1], " and ", ", "), ", ")
}

// command is a command of the binary as its help describes it.
type command struct {
	flags       []string
	subcommands []string
}

// TestCommandsInTheReference holds that reference.md has each command with its
// flags, and no others.
func TestCommandsInTheReference(t *testing.T) {
	t.Parallel()
	existing := commands(t, "mfa")
	general := existing["mfa"].flags
	documented := make(map[string]bool)
	rows := tableUnder(t, documents(t)["docs/reference.md"], "## Commands")
	for _, row := range rows {
		name := commandIn(codes(row[0])[0], existing)
		documented[name] = true
		own := slices.DeleteFunc(slices.Clone(existing[name].flags), func(flag string) bool { return slices.Contains(general, flag) })
		expectSame(t, "the flags of "+name, codes(row[1]), own)
	}
	for name, is := range existing {
		if len(is.subcommands) == 0 && !documented[name] {
			t.Errorf("reference.md doesn't name `caddy %s`", name)
		}
	}
	for _, flag := range general {
		if !strings.Contains(documents(t)["docs/reference.md"], "`"+flag+"`") {
			t.Errorf("reference.md doesn't name %s", flag)
		}
	}
}

// mentioned finds commands with what follows them, in code and in prose.
var mentioned = regexp.MustCompile("(?:caddy|portcullis|BINARY\\)?) (mfa(?: +[^`\n|#;&<>]*)?)")

// TestCommandsInTheDocs holds that whatever any document says to run exists,
// with the flags that it gives.
func TestCommandsInTheDocs(t *testing.T) {
	t.Parallel()
	existing := commands(t, "mfa")
	for name, text := range documents(t) {
		for _, found := range mentioned.FindAllStringSubmatch(text, -1) {
			typed := strings.Fields(found[1])
			known := commandIn(found[1], existing)
			rest := typed[len(strings.Fields(known)):]
			if is := existing[known]; len(is.subcommands) > 0 && len(rest) > 0 && regexp.MustCompile(`^[a-z-]+$`).MatchString(rest[0]) && !strings.HasPrefix(rest[0], "-") {
				t.Errorf("%s: `caddy %s` doesn't exist", name, strings.Join(typed, " "))
			}
			for _, word := range rest {
				if flag, _, _ := strings.Cut(word, "="); strings.HasPrefix(flag, "--") && !slices.Contains(existing[known].flags, flag) {
					t.Errorf("%s: `caddy %s` doesn't take %s", name, known, flag)
				}
			}
		}
	}
}

// commandIn returns the longest command with which the words begin.
func commandIn(text string, existing map[string]command) string {
	words := strings.Fields(strings.TrimPrefix(text, "caddy "))
	for end := len(words); end > 0; end-- {
		name := strings.Join(words[:end], " ")
		if _, ok := existing[name]; ok {
			return name
		}
	}
	return ""
}

// commands reads the help of a command and of all below it.
func commands(t *testing.T, name string) map[string]command {
	t.Helper()
	output, err := program(t, append(strings.Fields(name), "--help")...)
	if err != nil {
		t.Fatalf("%s --help: %v\n%s", name, err, output)
	}
	var is command
	section := ""
	for line := range strings.Lines(output) {
		words := strings.Fields(line)
		switch {
		case len(words) == 0:
			section = ""
		case strings.HasSuffix(strings.TrimSpace(line), ":") && line[0] != ' ':
			section = strings.TrimSuffix(strings.TrimSpace(line), ":")
		case section == "Available Commands":
			is.subcommands = append(is.subcommands, words[0])
		case section == "Flags", section == "Global Flags":
			i := slices.IndexFunc(words, func(word string) bool { return strings.HasPrefix(word, "--") })
			is.flags = append(is.flags, words[i])
		}
	}
	all := map[string]command{name: is}
	for _, sub := range is.subcommands {
		maps.Copy(all, commands(t, name+" "+sub))
	}
	return all
}

// TestAuditEventsInTheReference holds reference.md against the catalogue.
func TestAuditEventsInTheReference(t *testing.T) {
	t.Parallel()
	text := documents(t)["docs/reference.md"]
	documented := make(map[audit.Name][]string)
	for _, row := range tableUnder(t, text, "## Audit events") {
		documented[audit.Name(codes(row[0])[0])] = codes(row[2])
	}
	var named []string
	for _, event := range audit.Catalogue() {
		var fields []string
		for _, field := range audit.FieldsOf(event) {
			fields = append(fields, string(field))
		}
		expectSame(t, "the fields of "+string(event), documented[event], fields)
		delete(documented, event)
		named = append(named, fields...)
	}
	for event := range documented {
		t.Errorf("reference.md documents %s, which doesn't exist", event)
	}
	explained := columnCodes(tableUnder(t, text[strings.Index(text, "\n| field |"):], ""), 0)
	slices.Sort(named)
	expectSame(t, "the fields of all events", explained, slices.Compact(named))
}

// TestPathsInTheReference holds reference.md against the portal's routes.
func TestPathsInTheReference(t *testing.T) {
	t.Parallel()
	var routes []string
	for _, route := range portalRoutes(t) {
		if path := strings.TrimSuffix(route.path, "{$}"); !strings.HasSuffix(route.path, "{name...}") {
			routes = append(routes, path)
		}
	}
	rows := tableUnder(t, documents(t)["docs/reference.md"], "### On the portal's host")
	documented := slices.DeleteFunc(columnCodes(rows, 0), func(path string) bool { return strings.HasPrefix(path, "/assets/") })
	slices.Sort(routes)
	slices.Sort(documented)
	expectSame(t, "the portal's routes", slices.Compact(documented), slices.Compact(routes))
}

// TestErrorsInTheReference holds that each text that reference.md explains is
// one that the product says. An ellipsis stands for what differs.
func TestErrorsInTheReference(t *testing.T) {
	t.Parallel()
	source := shippedSource(t)
	for _, row := range tableUnder(t, documents(t)["docs/reference.md"], "## Errors at load") {
		for part := range strings.SplitSeq(codes(row[0])[0], "…") {
			if !strings.Contains(source, strings.TrimSpace(part)) {
				t.Errorf("nothing says %q", part)
			}
		}
	}
}

func shippedSource(t *testing.T) string {
	t.Helper()
	var source strings.Builder
	for _, p := range shipped(t) {
		for _, name := range p.GoFiles {
			text, err := os.ReadFile(filepath.Join(p.Dir, name))
			if err != nil {
				t.Fatal(err)
			}
			source.Write(text)
		}
	}
	return source.String()
}

var localLink = regexp.MustCompile(`\]\(([^)\s]+)\)`)

// TestLinksInTheDocs holds that what documents lead to is there.
func TestLinksInTheDocs(t *testing.T) {
	t.Parallel()
	all := documents(t)
	for name, text := range all {
		for _, found := range localLink.FindAllStringSubmatch(text, -1) {
			link, anchor, _ := strings.Cut(found[1], "#")
			if strings.Contains(link, "://") || strings.HasPrefix(link, "mailto:") {
				continue
			}
			target := name
			if link != "" {
				target = filepath.ToSlash(filepath.Join(filepath.Dir(name), link))
			}
			if _, err := os.Stat(filepath.Join(moduleRoot(t), target)); err != nil {
				t.Errorf("%s leads to %s, which isn't there", name, found[1])
			}
			if anchor != "" && !slices.Contains(anchors(all[target]), anchor) {
				t.Errorf("%s leads to %s, which has no such heading", name, found[1])
			}
		}
	}
}

// anchors returns the names that GitHub gives to the headings of a document.
func anchors(text string) []string {
	var names []string
	for _, found := range regexp.MustCompile(`(?m)^#+ (.*)$`).FindAllStringSubmatch(withoutCode(text), -1) {
		name := regexp.MustCompile(`[^\p{L}\p{N} _-]`).ReplaceAllString(strings.ToLower(found[1]), "")
		names = append(names, strings.ReplaceAll(name, " ", "-"))
	}
	return names
}

func withoutCode(text string) string {
	return regexp.MustCompile("(?ms)^```.*?^```$").ReplaceAllString(text, "")
}

// documents returns what people read, by path.
func documents(t *testing.T) map[string]string {
	t.Helper()
	found := make(map[string]string)
	for _, pattern := range []string{"*.md", "docs/*.md", "docs/*/*.md"} {
		paths, err := filepath.Glob(filepath.Join(moduleRoot(t), pattern))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range paths {
			text, err := os.ReadFile(path)
			if err != nil {
				t.Fatal(err)
			}
			name, err := filepath.Rel(moduleRoot(t), path)
			if err != nil {
				t.Fatal(err)
			}
			found[filepath.ToSlash(name)] = string(text)
		}
	}
	for _, name := range []string{
		"README.md", "CHANGELOG.md", "SECURITY.md",
		"docs/guide.md", "docs/reference.md", "docs/threat-model.md", "docs/development.md",
	} {
		if len(found[name]) == 0 {
			t.Errorf("%s is missing", name)
		}
	}
	return found
}

// fenced returns the blocks of code in a language.
func fenced(text, language string) []string {
	var blocks []string
	for _, found := range regexp.MustCompile("(?ms)^```"+language+"\n(.*?)^```$").FindAllStringSubmatch(text, -1) {
		blocks = append(blocks, found[1])
	}
	return blocks
}

// tableUnder returns the rows of the first table after a heading, without its
// head.
func tableUnder(t *testing.T, text, heading string) [][]string {
	t.Helper()
	_, below, found := strings.Cut("\n"+text, "\n"+heading+"\n")
	if !found {
		t.Fatalf("reference.md has no heading %q", heading)
	}
	var rows [][]string
	for line := range strings.Lines(below) {
		line = strings.TrimSpace(line)
		switch {
		case strings.HasPrefix(line, "|"):
			cells := strings.Split(strings.ReplaceAll(strings.Trim(line, "|"), `\|`, "/"), "|")
			rows = append(rows, cells)
		case len(rows) > 0:
			return rows[2:]
		case strings.HasPrefix(line, "#"):
			t.Fatalf("there is no table under %q", heading)
		}
	}
	if len(rows) < 3 {
		t.Fatalf("there is no table under %q", heading)
	}
	return rows[2:]
}

// codes returns what stands between backticks.
func codes(cell string) []string {
	var found []string
	for _, match := range regexp.MustCompile("`([^`]+)`").FindAllStringSubmatch(cell, -1) {
		found = append(found, match[1])
	}
	return found
}

// columnCodes returns what stands between backticks in a column whose cells
// begin so.
func columnCodes(rows [][]string, column int) []string {
	var found []string
	for _, row := range rows {
		if strings.HasPrefix(strings.TrimSpace(row[column]), "`") {
			found = append(found, codes(row[column])...)
		}
	}
	return found
}

func firstWords(texts []string) []string {
	words := make([]string, len(texts))
	for i, text := range texts {
		words[i] = strings.Fields(text)[0]
	}
	return words
}

// expectSame compares sets.
func expectSame(t *testing.T, what string, got, want []string) {
	t.Helper()
	for _, one := range got {
		if !slices.Contains(want, one) {
			t.Errorf("%s: %s is documented and doesn't exist", what, one)
		}
	}
	for _, one := range want {
		if !slices.Contains(got, one) {
			t.Errorf("%s: %s exists and isn't documented", what, one)
		}
	}
}

// program runs the binary under test, in an environment that holds nothing.
func program(t *testing.T, arguments ...string) (string, error) {
	t.Helper()
	home := t.TempDir()
	run := exec.Command(harness.Binary(t), arguments...)
	run.Dir = home
	run.Env = []string{"HOME=" + home, "XDG_DATA_HOME=" + home, "XDG_CONFIG_HOME=" + home, "PATH=" + os.Getenv("PATH")}
	output, err := run.CombinedOutput()
	return string(output), err
}
