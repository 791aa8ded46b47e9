package templates

import (
	"errors"
	"html/template"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// overriding returns a directory with those files.
func overriding(t *testing.T, files map[string]string) string {
	t.Helper()
	directory := t.TempDir()
	for name, content := range files {
		file := filepath.Join(directory, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, []byte(content), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return directory
}

func TestOverrides(t *testing.T) {
	set, err := New(Options{Overrides: overriding(t, map[string]string{
		"pages/signed_out.html": "{{/* contract: 1 */ -}}\n{{define \"title\"}}{{t \"signed_out.title\"}}{{end}}{{define \"main\"}}<h1>{{t \"signed_out.title\"}}, {{t \"signed_out.again\"}}</h1>{{end}}",
		"text/en/pages.toml":    "signed_out.title = \"Good bye\"\nsign_out.current = \"<b>{{.Name}}</b> & **you**\"",
		"text/de/pages.toml":    "[signed_out]\ntitle = \"Tschüss\"",
		"text/fr/pages.toml":    "language.name = \"Français\"\nsigned_out.title = \"Au revoir\"",
		"assets/style.css":      "/* theirs */",
		".git/config":           "nothing of ours",
		".directory":            "nothing of ours",
	})})
	if err != nil {
		t.Fatal(err)
	}
	for language, want := range map[string]string{
		"en": "Good bye, Sign in again", "de": "Tschüss, Wieder anmelden", "fr": "Au revoir, Sign in again",
	} {
		doc := parsed(t, render(t, set, "signed_out", SignedOutView{Frame: Frame{Language: language}}))
		if got := text(doc.all("h1")[0]); got != want {
			t.Errorf("in %s the page says %q, want %q", language, got, want)
		}
		if got, _ := attribute(doc.all("html")[0], "lang"); got != language {
			t.Errorf("the page in %s says that it is in %q", language, got)
		}
	}
	rich, err := set.catalogues[0].rich("sign_out.current", map[string]any{"Name": "<i>"})
	if want := template.HTML("&lt;b&gt;<bdi>&lt;i&gt;</bdi>&lt;/b&gt; &amp; <strong>you</strong>"); rich != want || err != nil {
		t.Errorf("markup in a text becomes %q, %v, want %q", rich, err, want)
	}
	if got := serve(set, "GET", "style.css", nil).Body.String(); got != "/* theirs */" {
		t.Errorf("the style sheet is %q", got)
	}
	if set.AssetPath() == newSet(t).AssetPath() {
		t.Error("browsers would keep the style sheet that was overridden")
	}
}

func TestOverrideThatIsWrong(t *testing.T) {
	const begin = "{{/* contract: 1 */}}\n{{define \"title\"}}T{{end}}\n"
	page := func(main string) string { return begin + `{{define "main"}}` + main + "{{end}}\n" }
	tests := []struct {
		name, file, content string
		said                []string // besides the file's path
	}{
		{"overrides nothing", "pages/signin.html", "", []string{"pages/sign_in.html"}},
		{"in the wrong folder", "style.css", "", []string{"assets/style.css"}},
		{"further language, but no such catalogue", "text/fr/page.toml", "", []string{"/pages.toml"}},
		{"no contract", "pages/home.html", `{{define "main"}}{{end}}`, []string{"contract: 1", "caddy mfa templates export"}},
		{"contract not at the beginning", "pages/home.html", "\n{{/* contract: 1 */}}", []string{"contract: 1", "export"}},
		{"another contract", "pages/home.html", "{{/* contract: 99 */}}", []string{"contract 99", "contract 1", "caddy mfa templates export"}},
		{"another contract of a partial", "partials.html", "{{/* contract: 0 */}}", []string{"contract 0", "contract 1"}},
		{"syntax", "pages/home.html", begin + "{{define \"main\"}}{{if}}", []string{":3:"}},
		{"a field that the view lacks", "pages/home.html", page("\n{{.Nickname}}"), []string{":4:", "Nickname"}},
		{"a function that doesn't exist", "pages/home.html", page("{{nickname}}"), []string{":3:", "nickname"}},
		{"a text that doesn't exist", "pages/home.html", page(`{{if .Email}}{{t "home.titel"}}{{end}}`), []string{":3:", "home.titel", "home.title"}},
		{"a text without its value", "pages/sign_in.html", page(`{{with .Host}}{{rich "flow.destination" "Name" .}}{{end}}`), []string{":3:", "flow.destination", "Host"}},
		{"a partial that is gone", "partials.html", "{{/* contract: 1 */}}", []string{"no such template"}},
		{"markup that can't be escaped", "pages/home.html", page(`<a {{if .Name}}href="{{end}}>`), []string{":3:"}},
		{"a text that we don't have", "text/de/pages.toml", "[home]\ntitel = \"x\"", []string{"line 2", "home.titel", "home.title"}},
		{"a value that nobody gives", "text/de/pages.toml", "[flow]\n# the app\ndestination = \"{{.Hots}}\"", []string{"line 3", "{{.Hots}}"}},
		{"syntax of a catalogue", "text/de/pages.toml", "[flow]\nlost = \n", []string{"line 2"}},
		{"a language without a name", "text/fr/pages.toml", "home.title = \"x\"", []string{"language.name"}},
		{"a folder that is no language", "text/french!/pages.toml", "home.title = \"x\"", []string{"french!"}},
		{"a language written otherwise", "text/pt-br/pages.toml", "home.title = \"x\"", []string{"pt-br", "pt-BR"}},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			directory := overriding(t, map[string]string{test.file: test.content})
			_, err := New(Options{Overrides: directory})
			if err == nil {
				t.Fatal("it was loaded")
			}
			path := filepath.Join(directory, test.file)
			if test.name == "a partial that is gone" {
				path = "" // what fails is the page that wants it
			} else if strings.Contains(test.name, "language") && !strings.Contains(test.name, "catalogue") {
				path = filepath.Dir(path)
			}
			for _, want := range append(test.said, path) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("the error is %q, want %q in it", err, want)
				}
			}
		})
	}
}

func TestOverridesThatCannotBeRead(t *testing.T) {
	if _, err := New(Options{Overrides: filepath.Join(t.TempDir(), "nowhere")}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without the directory the error is %v", err)
	}
	directory := overriding(t, map[string]string{"pages/home.html": ""})
	file := filepath.Join(directory, "pages", "home.html")
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("nowhere.html", file); err != nil {
		t.Skip("no symbolic links here")
	}
	if _, err := New(Options{Overrides: directory}); !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), file) {
		t.Errorf("with a link that leads nowhere the error is %v", err)
	}
}

func TestExport(t *testing.T) {
	directory := filepath.Join(t.TempDir(), "new")
	if err := Export(directory); err != nil {
		t.Fatal(err)
	}
	set, err := New(Options{Overrides: directory})
	if err != nil {
		t.Fatalf("what was exported doesn't override: %v", err)
	}
	if set.AssetPath() != newSet(t).AssetPath() {
		t.Error("what was exported differs from the originals")
	}
	if err := Export(directory); !errors.Is(err, fs.ErrExist) {
		t.Errorf("exporting over it: %v, want it refused", err)
	}
}

func TestExportOverwritesNothing(t *testing.T) {
	directory := overriding(t, map[string]string{"text/de/pages.toml": "mine"})
	if err := Export(directory); !errors.Is(err, fs.ErrExist) || !strings.Contains(err.Error(), filepath.Join("text", "de", "pages.toml")) {
		t.Errorf("the error is %v, want one that names what is there", err)
	}
	content, err := os.ReadFile(filepath.Join(directory, "text", "de", "pages.toml"))
	if err != nil || string(content) != "mine" {
		t.Errorf("what was there is %q, %v", content, err)
	}
	if _, err := os.Stat(filepath.Join(directory, "layout.html")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("other files were written all the same: %v", err)
	}
}

func TestNearest(t *testing.T) {
	names := []string{"pages/sign_in.html", "pages/sign_out.html", "assets/style.css"}
	for name, want := range map[string]string{
		"pages/signin.html": "pages/sign_in.html", "pages/sign_uot.html": "pages/sign_out.html", "style.css": "assets/style.css",
	} {
		if got := nearest(name, names); got != want {
			t.Errorf("nearest(%q) = %q, want %q", name, got, want)
		}
	}
}
