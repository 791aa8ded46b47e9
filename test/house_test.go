package test

import (
	"bytes"
	"encoding/json"
	"errors"
	"go/ast"
	"go/doc"
	"go/parser"
	"go/token"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// arrows says which packages of the module each package may import; the root
// package is ".". Packages stand from top to bottom, and every arrow points
// down. Test files are free to import more.
var arrows = []arrow{
	{"cmd/portcullis", []string{"."}},
	{"cmd/mfa-agent", []string{"agent", "agent/browser", "agent/confirmation", "agent/estclient", "agent/journal"}},
	{".", []string{"caddymodule"}},
	{"caddymodule", []string{
		"caddymodule/commands", "caddymodule/adminapi", "caddymodule/approach", "caddymodule/layout", "caddymodule/matching", "caddymodule/origin", "hashprocess",
		"accesstoken", "authenticator", "portal", "est", "enrolment", "gate", "gate/canonical", "accounts", "authflow", "selfservice", "undo", "person", "guess", "credentials", "devices", "ticket", "session", "assertion", "factors/backupcode", "factors/fido", "factors/otpmessage", "factors/push", "factors/totp", "ceremony", "notify/email", "notify/sms", "notify/link", "notify/notice", "notify/reset", "notify/webpush", "notify", "factors",
		"backup", "importing", "geoip", "identity", "audit", "keys", "store/sqlite", "store/postgres", "store", "templates", "assurance", "upload", "stream", "boundedlog",
	}},
	{"caddymodule/commands", []string{"hashprocess", "accesstoken", "backup", "importing", "caddymodule/adminapi", "devices", "enrolment", "store/sqlite", "store/postgres", "store/transfer", "templates", "token", "showable"}},
	{"caddymodule/approach", []string{"caddymodule/layout", "caddymodule/matching", "caddymodule/origin"}},
	{"caddymodule/layout", []string{"caddymodule/matching", "caddymodule/origin", "assurance"}},
	{"caddymodule/matching", nil},
	{"caddymodule/origin", nil},
	{"caddymodule/adminapi", []string{"importing", "accesstoken", "accounts", "authflow", "enrolment", "audit", "keys", "store", "assurance", "notify", "token", "showable"}},

	{"portal", []string{"authflow", "selfservice", "enrolment", "undo", "person", "guess", "credentials", "devices", "ticket", "session", "factors", "audit", "store", "templates", "assurance", "token", "upload", "stream", "earlydata", "showable"}},
	{"authenticator", []string{"authflow", "ceremony", "credentials", "factors/push", "factors/push/message", "person", "store", "templates", "assurance", "token", "netblock", "upload", "stream"}},
	{"gate", []string{"accesstoken", "showable", "netblock", "gate/canonical", "gate/pagetag", "devices", "ticket", "session", "audit", "templates", "assurance", "token", "upload", "earlydata"}},

	{"notify/webpush", []string{"notify", "factors/push", "factors/push/message", "factors"}},
	{"notify/email", []string{"notify", "factors", "templates"}},
	{"notify/notice", []string{"undo", "session", "credentials", "notify", "factors", "audit", "quota", "store", "templates", "assurance", "token", "browsers", "netblock"}},
	{"notify/link", []string{"notify", "person", "factors", "store", "templates", "token"}},
	{"notify/reset", []string{"notify", "authflow", "factors", "store", "templates", "token"}},
	{"notify/sms", []string{"notify", "factors", "templates"}},
	{"notify", []string{"ceremony", "factors", "netblock", "quota", "store", "assurance", "token"}},

	{"est", []string{"enrolment", "devices", "quota", "earlydata", "publickey", "upload"}},
	{"accounts", []string{"importing", "accesstoken", "enrolment", "person", "guess", "devices", "session", "identity", "audit", "store", "assurance", "token"}},
	{"authflow", []string{"ceremony", "person", "guess", "credentials", "session", "factors", "identity", "audit", "netblock", "quota", "store", "assurance", "token"}},
	{"ceremony", []string{"factors", "store", "assurance", "token"}},
	{"selfservice", []string{"accesstoken", "enrolment", "quota", "token", "person", "guess", "credentials", "session", "factors", "audit", "store", "assurance"}},
	{"undo", []string{"person", "credentials", "session", "identity", "audit", "store", "assurance", "token"}},
	{"enrolment", []string{"person", "devices", "session", "identity", "audit", "netblock", "quota", "store", "token"}},
	{"person", []string{"guess", "credentials", "session", "factors", "identity", "audit", "store", "assurance", "token"}},
	{"credentials", []string{"factors", "store", "assurance", "token"}},
	{"guess", []string{"identity", "audit", "store", "assurance", "netblock"}},
	{"devices", []string{"session", "identity", "audit", "store", "publickey"}},
	{"ticket", []string{"session", "store", "assurance", "token", "netblock"}},

	{"session", []string{"accesstoken", "store", "assurance", "token"}},
	{"assertion", []string{"store", "assurance"}},
	{"factors/backupcode", []string{"factors", "templates", "assurance", "token"}},
	{"factors/fido", []string{"factors", "templates", "assurance", "publickey"}},
	{"factors/otpmessage", []string{"factors", "identity", "templates", "assurance", "token"}},
	{"factors/totp", []string{"factors/qrcode", "factors", "templates", "assurance", "token"}},
	{"factors/push", []string{"factors/push/message", "factors/qrcode", "factors", "templates", "assurance", "token", "browsers"}},
	{"factors/push/message", nil},
	{"factors/qrcode", nil},
	{"factors/factortest", []string{"factors"}},
	{"test/pager", []string{"factors", "assurance", "token"}},
	{"factors", []string{"assurance"}},
	{"hashprocess", []string{"identity"}},
	{"identity", []string{"strength", "showable"}},

	{"audit", []string{"store", "boundedlog", "showable"}},
	{"keys", []string{"fileaccess"}},

	{"quota", []string{"store"}},
	{"store/sqlite/sqlitetest", []string{"store/sqlite"}},
	{"store/sqlite", []string{"store/transfer", "store", "assurance", "fileaccess"}},
	{"store/postgres", []string{"store/transfer", "store", "assurance"}},
	{"store/transfer", nil},
	{"store/conformance", []string{"store", "assurance"}},
	{"store/storetest", []string{"store"}},
	{"store", []string{"assurance"}},

	{"backup", nil},
	{"importing", nil},
	{"gate/canonical", nil},
	{"gate/canonical/apps", nil},
	{"gate/pagetag", nil},
	{"accesstoken", nil},
	{"templates", nil},
	{"assurance", nil},
	{"token", nil},
	{"strength", nil},
	{"showable", nil},
	{"publickey", nil},
	{"upload", nil},
	{"boundedlog", nil},
	{"earlydata", nil},
	{"fileaccess", nil},
	{"netblock", nil},
	{"stream", nil},
	{"geoip", nil},
	{"browsers", nil},

	{"agent", []string{"agent/estclient", "agent/journal"}},
	{"agent/browser", nil},
	{"agent/confirmation", nil},
	{"agent/estclient", nil},
	{"agent/journal", nil},

	{"internal/buildcaddy", nil},
	{"test/scene", []string{"test/harness"}},
	{"test/mailbox", nil},
	{"test/pgserver", nil},
	{"test/phone", nil},
	{"test/pushservice", nil},
	{"test/firefox", []string{"test/harness"}},
	{"test/smsgateway", nil},
	{"test/harness", nil},
	{"test", nil},
}

// arrow is a package and what it may import.
type arrow struct {
	from string
	to   []string
}

// reserved says which packages alone may import what begins with a path.
var reserved = []struct {
	path      string
	importers []string
}{
	{"github.com/caddyserver/", []string{".", "cmd/portcullis", "caddymodule"}},
	{"database/sql", []string{"store/"}},
	{"modernc.org/sqlite", []string{"store/"}},
	{"github.com/pressly/goose", []string{"store/"}},
	{"github.com/jackc/pgx", []string{"store/", "test/pgserver"}},
	{"github.com/gorilla/securecookie", []string{"keys"}},
	{"github.com/pquerna/otp", []string{"factors/totp"}},
	{"filippo.io/age", []string{"backup"}},
	{"github.com/go-crypt/crypt", []string{"identity"}},
	{"github.com/go-webauthn/webauthn", []string{"factors/fido"}},
}

// banned says what packages may not import, though others do.
var banned = []struct {
	in    string
	paths []string
}{
	{"authflow", []string{"net/http", "html", "database/sql"}},
	{"ceremony", []string{"factors", "store", "assurance", "token"}},
	{"ceremony", []string{"net/http", "html", "database/sql"}},
	{"selfservice", []string{"net/http", "html", "database/sql"}},
	{"person", []string{"net/http", "html", "database/sql"}},
	{"credentials", []string{"net/http", "html", "database/sql"}},
	{"guess", []string{"net/http", "html", "database/sql"}},
	{"devices", []string{"net/http", "html", "database/sql"}},
	{"factors", []string{"net/http", "database/sql"}},
	{"store", []string{"net/http", "html"}},
	{"assurance", []string{"net", "os", "html", "database/sql"}},
	{"token", []string{"net", "os", "html", "database/sql"}},
}

func TestArrowsRunDownward(t *testing.T) {
	allowed := make(map[string][]string)
	for i, row := range arrows {
		allowed[row.from] = row.to
		for _, to := range row.to {
			if !slices.ContainsFunc(arrows[i+1:], func(below arrow) bool { return below.from == to }) {
				t.Errorf("the arrow from %s to %s doesn't point down", row.from, to)
			}
		}
	}
	listed := make(map[string]bool)
	for _, p := range packages(t) {
		name := p.name()
		listed[name] = true
		to, known := allowed[name]
		if !known {
			t.Errorf("package %s isn't in the table of arrows", name)
			continue
		}
		var used []string
		for _, path := range p.Imports {
			if own, ok := ownName(path); ok {
				used = append(used, own)
			}
		}
		for _, own := range used {
			if !slices.Contains(to, own) {
				t.Errorf("%s may not import %s", name, own)
			}
		}
		for _, own := range to {
			if !slices.Contains(used, own) {
				t.Errorf("%s may import %s, but doesn't: take the arrow out of the table", name, own)
			}
		}
	}
	for name := range allowed {
		if !listed[name] {
			t.Errorf("there is no package %s any more: take it out of the table", name)
		}
	}
}

func TestWhatOnlySomeMayImport(t *testing.T) {
	for _, p := range packages(t) {
		name := p.name()
		for _, path := range p.Imports {
			for _, rule := range reserved {
				if strings.HasPrefix(path, rule.path) && !slices.ContainsFunc(rule.importers, func(who string) bool { return isOrIsBelow(name, who) }) {
					t.Errorf("%s imports %s, which only %s may", name, path, strings.Join(rule.importers, ", "))
				}
			}
			for _, rule := range banned {
				if isOrIsBelow(name, rule.in) && slices.ContainsFunc(rule.paths, func(no string) bool { return isOrIsBelow(path, no) }) {
					t.Errorf("%s imports %s, which it must not know", name, path)
				}
			}
		}
	}
}

// kinds are the constants of package assurance that name second factors. What is
// special about a kind is said by its traits, so only these places name any.
var kinds = struct {
	names []string
	in    []string
}{
	names: []string{"TOTP", "FIDO", "Push", "BackupCode", "Email", "SMS"},
	in: []string{
		"assurance", "factors/", // the kinds themselves
		"caddymodule",       // reads what is configured for each
		"authenticator",     // the app of one of them
		"store/conformance", // examples
	},
}

func TestNobodyComparesKinds(t *testing.T) {
	for _, p := range packages(t) {
		if slices.ContainsFunc(kinds.in, func(place string) bool { return isOrIsBelow(p.name(), place) }) {
			continue
		}
		files := token.NewFileSet()
		for _, file := range p.parsed(t, files) {
			ast.Inspect(file, func(node ast.Node) bool {
				selected, ok := node.(*ast.SelectorExpr)
				if !ok || !slices.Contains(kinds.names, selected.Sel.Name) {
					return true
				}
				if from, ok := selected.X.(*ast.Ident); ok && from.Name == "assurance" {
					t.Errorf("%s names assurance.%s: ask for a trait of the factor", files.Position(node.Pos()), selected.Sel.Name)
				}
				return true
			})
		}
	}
}

// isOrIsBelow reports whether path is parent or lies in its folder. A parent
// with a slash at its end is the folder alone.
func isOrIsBelow(path, parent string) bool {
	return path == parent || strings.HasPrefix(path, strings.TrimSuffix(parent, "/")+"/")
}

// meaningless are names that say nothing of what is in a package.
var meaningless = []string{"util", "helper", "common", "manager", "misc", "shared", "lib"}

func TestPackagesSayWhatTheyAreFor(t *testing.T) {
	for _, p := range packages(t) {
		for part := range strings.SplitSeq(p.name(), "/") {
			if slices.Contains(meaningless, strings.TrimSuffix(part, "s")) {
				t.Errorf("package %s: the name %q says nothing", p.name(), part)
			}
		}
		begins := "Package " + p.Name + " "
		if p.Name == "main" {
			begins = "Command " + filepath.Base(p.Dir) + " "
		}
		comments := packageComments(t, p)
		if len(comments) != 1 {
			t.Errorf("package %s has %d package comments: write one", p.name(), len(comments))
			continue
		}
		if !strings.HasPrefix(comments[0], begins) || len(strings.Fields(comments[0])) < 10 {
			t.Errorf("the comment of package %s should begin with %q and say what it is for:\n%s", p.name(), begins, comments[0])
		}
	}
}

func packageComments(t *testing.T, p listedPackage) []string {
	t.Helper()
	var comments []string
	for _, file := range p.parsed(t, token.NewFileSet()) {
		if text := file.Doc.Text(); text != "" {
			comments = append(comments, text)
		}
	}
	return comments
}

// selfExplaining are methods whose meaning every reader of Go knows.
var selfExplaining = []string{"Error", "String", "Unwrap", "Is", "ServeHTTP", "Read", "Write", "Close", "Len", "Less", "Swap"}

func TestExportedNamesAreExplained(t *testing.T) {
	for _, p := range shipped(t) {
		for _, name := range unexplained(p.read(t)) {
			t.Errorf("%s.%s has no doc comment", p.name(), name)
		}
	}
}

// TestEveryOptionIsExplained holds that each setting of the configuration has
// a comment: they are the reference that Caddy's own documentation shows.
func TestEveryOptionIsExplained(t *testing.T) {
	for name, fields := range options(t) {
		for _, field := range fields {
			if field.comment == "" {
				t.Errorf("caddymodule.%s.%s has no doc comment", name, field.name)
			}
		}
	}
}

// options returns the settings of the configuration by their type.
func options(t *testing.T) map[string][]jsonField {
	t.Helper()
	found := make(map[string][]jsonField)
	for _, p := range shipped(t) {
		if p.name() != "caddymodule" {
			continue
		}
		for _, declared := range p.read(t).Types {
			if fields := jsonFields(declared.Decl); len(fields) > 0 {
				found[declared.Name] = fields
			}
		}
	}
	for name, fields := range found {
		for i, field := range fields {
			if field.json == "" { // embedded, and last
				found[name] = append(fields[:i], found[field.name]...)
			}
		}
	}
	if len(found) == 0 {
		t.Fatal("caddymodule has no settings")
	}
	return found
}

func unexplained(p *doc.Package) []string {
	names := unexplainedValues(append(slices.Clone(p.Consts), p.Vars...))
	names = append(names, unexplainedFuncs("", p.Funcs)...)
	for _, declared := range p.Types {
		if declared.Doc == "" && !isExplainedInItsSpec(declared) {
			names = append(names, declared.Name)
		}
		names = append(names, unexplainedValues(append(slices.Clone(declared.Consts), declared.Vars...))...)
		names = append(names, unexplainedFuncs("", declared.Funcs)...)
		names = append(names, unexplainedFuncs(declared.Name+".", declared.Methods)...)
	}
	return names
}

// isExplainedInItsSpec reports whether a type within a group has a comment of
// its own or shares the group's.
func isExplainedInItsSpec(declared *doc.Type) bool {
	return declared.Decl.Doc.Text() != ""
}

func unexplainedFuncs(prefix string, funcs []*doc.Func) []string {
	var names []string
	for _, f := range funcs {
		if f.Doc == "" && !(prefix != "" && slices.Contains(selfExplaining, f.Name)) {
			names = append(names, prefix+f.Name)
		}
	}
	return names
}

// unexplainedValues takes a comment above a group, above a value or behind it
// for an explanation.
func unexplainedValues(groups []*doc.Value) []string {
	var names []string
	for _, group := range groups {
		for _, spec := range group.Decl.Specs {
			value, ok := spec.(*ast.ValueSpec)
			if !ok || group.Doc != "" || value.Doc.Text() != "" || value.Comment.Text() != "" {
				continue
			}
			for _, name := range value.Names {
				if name.IsExported() {
					names = append(names, name.Name)
				}
			}
		}
	}
	return names
}

// jsonField is a field of a struct with a json tag, or an embedded struct.
type jsonField struct{ name, json, comment string }

func jsonFields(declaration *ast.GenDecl) []jsonField {
	var fields []jsonField
	for _, spec := range declaration.Specs {
		declared, ok := spec.(*ast.TypeSpec)
		if !ok {
			continue
		}
		structure, ok := declared.Type.(*ast.StructType)
		if !ok {
			continue
		}
		for _, field := range structure.Fields.List {
			if embedded, ok := field.Type.(*ast.Ident); ok && len(field.Names) == 0 {
				fields = append(fields, jsonField{name: embedded.Name})
			}
			if field.Tag == nil || len(field.Names) == 0 {
				continue
			}
			_, rest, found := strings.Cut(field.Tag.Value, `json:"`)
			if !found {
				continue
			}
			tag, _, _ := strings.Cut(rest, `"`)
			name, _, _ := strings.Cut(tag, ",")
			fields = append(fields, jsonField{
				name: field.Names[0].Name, json: name, comment: field.Doc.Text() + field.Comment.Text(),
			})
		}
	}
	return fields
}

// TestTheCard holds the parts that everybody expects to find.
func TestTheCard(t *testing.T) {
	for _, path := range []string{
		"caddymodule", "authflow", "factors", "templates", "test", "Caddyfile.example", "xcaddy.json", "go.mod",
	} {
		if !hasContent(filepath.Join(moduleRoot(t), path)) {
			t.Errorf("%s is missing or has no content", path)
		}
	}
	for _, path := range []string{
		"github.com/caddyserver/caddy/v2", "github.com/pquerna/otp", "github.com/gorilla/securecookie", "go.uber.org/zap",
	} {
		if !slices.ContainsFunc(shipped(t), func(p listedPackage) bool { return slices.Contains(p.Imports, path) }) {
			t.Errorf("no shipped code imports %s", path)
		}
	}
}

// hasContent reports whether there is a file that isn't empty at or below path.
func hasContent(path string) bool {
	found := errors.New("found")
	err := filepath.WalkDir(path, func(_ string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		info, err := entry.Info()
		if err == nil && info.Size() > 0 {
			return found
		}
		return err
	})
	return errors.Is(err, found)
}

func TestTheRecipeAgreesWithGoMod(t *testing.T) {
	file, err := os.Open(filepath.Join(moduleRoot(t), "xcaddy.json"))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	var recipe struct {
		Caddy   string   `json:"caddy"`
		Modules []string `json:"modules"`
	}
	decoder := json.NewDecoder(file)
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&recipe); err != nil {
		t.Fatalf("reading xcaddy.json: %v", err)
	}
	required := strings.TrimSpace(string(goCommand(t, "list", "-m", "-f", "{{.Version}}{{with .Replace}} replaced by {{.}}{{end}}", "github.com/caddyserver/caddy/v2")))
	if recipe.Caddy != required {
		t.Errorf("xcaddy.json builds Caddy %s, go.mod requires %s", recipe.Caddy, required)
	}
	if !slices.Contains(recipe.Modules, modulePath) {
		t.Errorf("xcaddy.json builds with %v, and not with %s", recipe.Modules, modulePath)
	}
}

// EnvXcaddy, set to 1, builds as releases are built, for which nothing that
// the other tests compiled can be used again: 5 minutes on two cores.
const EnvXcaddy = "PORTCULLIS_XCADDY"

// TestTheXcaddyBinarySignsSomeoneIn builds Caddy from xcaddy.json, as `make
// caddy` does, and goes the main job with it.
func TestTheXcaddyBinarySignsSomeoneIn(t *testing.T) {
	t.Parallel()
	if os.Getenv(harness.EnvBinary) != "" {
		t.Skipf("%s names the binary to test", harness.EnvBinary)
	}
	if testing.Short() {
		t.Skip("links another Caddy")
	}
	binary := filepath.Join(t.TempDir(), "caddy")
	build := exec.Command("go", "run", "./internal/buildcaddy", binary)
	build.Dir = moduleRoot(t)
	build.Env = os.Environ()
	if os.Getenv(EnvXcaddy) != "1" {
		// xcaddy's own flags are left out, so that all packages are those that
		// the binary of the other suites is linked from.
		cgo := strings.TrimSpace(string(goCommand(t, "env", "CGO_ENABLED")))
		build.Env = append(build.Env, "XCADDY_GO_BUILD_FLAGS=-ldflags=-w", "CGO_ENABLED="+cgo)
	}
	if output, err := build.CombinedOutput(); err != nil {
		t.Fatalf("building from xcaddy.json: %v\n%s", err, output)
	}
	myself, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	job := exec.Command(myself, "-test.run=^TestTheMainJob$", "-test.v")
	job.Env = append(os.Environ(), harness.EnvBinary+"="+binary)
	output, err := job.CombinedOutput()
	if err != nil || !bytes.Contains(output, []byte("--- PASS: TestTheMainJob")) {
		t.Fatalf("the main job with what xcaddy built: %v\n%s", err, output)
	}
}

const modulePath = "github.com/portcullis-mfa/portcullis"

// listedPackage is a package as `go list -json` describes it.
type listedPackage struct {
	Dir, ImportPath, Name string
	GoFiles, Imports      []string
}

// name is the package's path within the module; the root's is ".".
func (p listedPackage) name() string {
	own, _ := ownName(p.ImportPath)
	return own
}

// ownName returns the path within the module, if it lies there.
func ownName(path string) (string, bool) {
	if path == modulePath {
		return ".", true
	}
	return strings.CutPrefix(path, modulePath+"/")
}

// read returns what the package exports.
func (p listedPackage) read(t *testing.T) *doc.Package {
	t.Helper()
	files := token.NewFileSet()
	read, err := doc.NewFromFiles(files, p.parsed(t, files), p.ImportPath)
	if err != nil {
		t.Fatalf("reading %s: %v", p.name(), err)
	}
	return read
}

func (p listedPackage) parsed(t *testing.T, files *token.FileSet) []*ast.File {
	t.Helper()
	parsed := make([]*ast.File, len(p.GoFiles))
	for i, name := range p.GoFiles {
		var err error
		if parsed[i], err = parser.ParseFile(files, filepath.Join(p.Dir, name), nil, parser.ParseComments); err != nil {
			t.Fatal(err)
		}
	}
	return parsed
}

var listOnce struct {
	sync.Once
	packages []listedPackage
}

// packages returns all packages of the module, without their test files.
func packages(t *testing.T) []listedPackage {
	t.Helper()
	listOnce.Do(func() {
		decoder := json.NewDecoder(bytes.NewReader(goCommand(t, "list", "-json=Dir,ImportPath,Name,GoFiles,Imports", "./...")))
		for {
			var p listedPackage
			err := decoder.Decode(&p)
			if errors.Is(err, io.EOF) {
				return
			}
			if err != nil {
				t.Fatalf("reading what go list says: %v", err)
			}
			listOnce.packages = append(listOnce.packages, p)
		}
	})
	if len(listOnce.packages) == 0 {
		t.Fatal("go list names no packages")
	}
	return listOnce.packages
}

// shipped returns the packages that users run.
func shipped(t *testing.T) []listedPackage {
	t.Helper()
	return slices.DeleteFunc(slices.Clone(packages(t)), func(p listedPackage) bool {
		return isOrIsBelow(p.name(), "test") || isOrIsBelow(p.name(), "internal") || p.name() == "store/conformance" || p.name() == "store/storetest" || p.name() == "store/sqlite/sqlitetest"
	})
}

func goCommand(t *testing.T, arguments ...string) []byte {
	t.Helper()
	command := exec.Command("go", arguments...)
	command.Dir = moduleRoot(t)
	var complaints strings.Builder
	command.Stderr = &complaints
	output, err := command.Output()
	if err != nil {
		t.Fatalf("go %v: %v\n%s", arguments, err, complaints.String())
	}
	return output
}

// moduleRoot is the folder above this package's, in which tests run.
func moduleRoot(t *testing.T) string {
	t.Helper()
	root, err := filepath.Abs("..")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(filepath.Join(root, "go.mod")); err != nil {
		t.Fatal(err)
	}
	return root
}
