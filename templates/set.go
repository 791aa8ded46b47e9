package templates

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"path"
	"strings"
)

//go:embed files
var embedded embed.FS

// shared are the files that every page is parsed together with. The first one
// is what a rendered page begins with.
var shared = []string{"layout.html", "partials.html", "icons.html"}

// emptyViews holds an empty view of each page, for trying the page when it is
// loaded. Those of factors are told by their names' beginning.
var emptyViews = map[string]any{
	"sign_in":     SignInView{},
	"password":    PasswordView{},
	"account":     AccountView{},
	"home":        HomeView{},
	"sign_out":    SignOutView{},
	"signed_in":   SignedInView{},
	"signed_out":  SignedOutView{},
	"send_again":  SendAgainView{},
	"leave_frame": LeaveFrameView{},
	"refused":     RefusedView{},
	"problem":     ProblemView{},
}

// emptyView returns an empty view of the page; nil: there is no such page.
func emptyView(page string) any {
	switch {
	case strings.HasPrefix(page, "challenge_"):
		return ChallengeView{}
	case strings.HasPrefix(page, "enrol_"):
		return EnrolView{}
	}
	return emptyViews[page]
}

// Set is the parsed pages with their assets. It is safe for concurrent use.
type Set struct {
	pages  map[string]*template.Template
	assets assets
}

// New parses all embedded pages and tries each on an empty view, so that what
// is wrong with a file shows here, naming the file, and not to a person.
func New() (*Set, error) {
	files, err := fs.Sub(embedded, "files")
	if err != nil {
		return nil, fmt.Errorf("opening the embedded pages: %w", err)
	}
	return load(files)
}

// load parses the set that lies in files.
func load(files fs.FS) (*Set, error) {
	base, err := template.New(shared[0]).Funcs(functions).ParseFS(files, shared...)
	if err != nil {
		return nil, fmt.Errorf("parsing what all pages share: %w", err)
	}
	pages, err := loadPages(files, base)
	if err != nil {
		return nil, err
	}
	served, err := loadAssets(files)
	if err != nil {
		return nil, err
	}
	return &Set{pages: pages, assets: served}, nil
}

func loadPages(files fs.FS, base *template.Template) (map[string]*template.Template, error) {
	names, err := fs.Glob(files, "pages/*.html")
	if err != nil {
		return nil, fmt.Errorf("listing the pages: %w", err)
	}
	pages := make(map[string]*template.Template, len(names))
	for _, file := range names {
		page := strings.TrimSuffix(path.Base(file), ".html")
		if pages[page], err = loadPage(files, base, file, page); err != nil {
			return nil, fmt.Errorf("loading %s: %w", file, err)
		}
	}
	for page := range emptyViews {
		if pages[page] == nil {
			return nil, fmt.Errorf("loading pages/%s.html: %w", page, fs.ErrNotExist)
		}
	}
	return pages, nil
}

func loadPage(files fs.FS, base *template.Template, file, page string) (*template.Template, error) {
	view := emptyView(page)
	if view == nil {
		return nil, fmt.Errorf("there is no page %q", page)
	}
	parsed, err := base.Clone()
	if err != nil {
		return nil, err
	}
	if parsed, err = parsed.ParseFS(files, file); err != nil {
		return nil, err
	}
	// Escaping is decided at the first execution and can fail there.
	return parsed, parsed.Execute(io.Discard, view)
}

// Has reports whether there is a page of that name. A factor's pages are there
// only if its package brought them.
func (s *Set) Has(page string) bool {
	return s.pages[page] != nil
}

// Render writes the page, filled with the view that belongs to it. Where that
// fails nothing is written, so that the caller can still answer otherwise;
// only an error of w itself can leave a part behind.
func (s *Set) Render(w io.Writer, page string, view any) error {
	parsed := s.pages[page]
	if parsed == nil {
		return fmt.Errorf("rendering a page: there is no page %q", page)
	}
	var whole bytes.Buffer
	if err := parsed.Execute(&whole, view); err != nil {
		return fmt.Errorf("rendering the page %q: %w", page, err)
	}
	if _, err := whole.WriteTo(w); err != nil {
		return fmt.Errorf("writing the page %q: %w", page, err)
	}
	return nil
}
