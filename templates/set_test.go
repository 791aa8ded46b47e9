package templates

import (
	"errors"
	"io/fs"
	"strings"
	"testing"
	"testing/fstest"
)

// changed returns the embedded files with some of them replaced; nil removes.
func changed(t *testing.T, changes map[string]*fstest.MapFile) fs.FS {
	t.Helper()
	files := make(fstest.MapFS)
	err := fs.WalkDir(embedded, "files", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := fs.ReadFile(embedded, name)
		files[strings.TrimPrefix(name, "files/")] = &fstest.MapFile{Data: content}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, file := range changes {
		if delete(files, name); file != nil {
			files[name] = file
		}
	}
	return files
}

func file(content string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(content)}
}

func TestLoadNamesTheFileThatIsWrong(t *testing.T) {
	const title = `{{/* contract: 1 */}}{{define "title"}}T{{end}}`
	tests := []struct {
		name, file string
		content    *fstest.MapFile
	}{
		{"syntax of a page", "pages/home.html", file(`{{/* contract: 1 */}}{{define "title"}}{{if}}`)},
		{"no main", "pages/home.html", file(title)},
		{"a field that the view lacks", "pages/home.html", file(title + `{{define "main"}}{{.Nickname}}{{end}}`)},
		{"a function that doesn't exist", "pages/home.html", file(title + `{{define "main"}}{{nickname}}{{end}}`)},
		{"a place where nothing can be escaped", "pages/home.html", file(title + `{{define "main"}}<a {{if .Name}}href="{{end}}>{{end}}`)},
		{"a page without a view", "pages/dashboard.html", file(title + `{{define "main"}}{{end}}`)},
		{"a missing page", "pages/sign_in.html", nil},
		{"a missing layout", "layout.html", nil},
		{"syntax of the partials", "partials.html", file(`{{/* contract: 1 */}}{{define}}`)},
		{"an asset of an unknown kind", "assets/setup.exe", file("MZ")},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(changed(t, map[string]*fstest.MapFile{test.file: test.content}), Options{})
			if err == nil {
				t.Fatal("it was loaded")
			}
			if !strings.Contains(err.Error(), test.file) {
				t.Errorf("the error doesn't name %s: %v", test.file, err)
			}
		})
	}
}

func TestFactorBringsItsPages(t *testing.T) {
	page := file(`{{/* contract: 1 */}}{{define "title"}}T{{end}}{{define "main"}}<h1>{{.Name}}</h1>{{end}}`)
	set, err := load(changed(t, map[string]*fstest.MapFile{"pages/challenge_push.html": page, "pages/enrol_push.html": page}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	if !set.Has("challenge_push") || !set.Has("enrol_push") {
		t.Error("the pages of a new factor are not there")
	}
}

func TestRenderWritesAllOrNothing(t *testing.T) {
	set := newSet(t)
	tests := []struct {
		name, page string
		view       any
	}{
		{"no such page", "nowhere", HomeView{}},
		{"the view of another page", "home", SignInView{}},
		{"no view", "home", nil},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			var written strings.Builder
			err := set.Render(&written, test.page, test.view)
			if err == nil || !strings.Contains(err.Error(), test.page) {
				t.Errorf("the error is %v, want one that names the page", err)
			}
			if written.Len() > 0 {
				t.Errorf("%d bytes were written", written.Len())
			}
		})
	}
}

type brokenWriter struct{ err error }

func (w brokenWriter) Write([]byte) (int, error) { return 0, w.err }

func TestRenderReturnsTheErrorOfWriting(t *testing.T) {
	gone := errors.New("the browser has gone")
	if err := newSet(t).Render(brokenWriter{gone}, "sign_out", SignOutView{}); !errors.Is(err, gone) {
		t.Errorf("the error is %v, want that of the writer", err)
	}
}
