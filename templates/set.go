package templates

import (
	"bytes"
	"embed"
	"fmt"
	"html/template"
	"io"
	"io/fs"

	"golang.org/x/text/language"
)

//go:embed files
var embedded embed.FS

// Options are what an operator can change of the pages. The zero Options
// change nothing.
type Options struct {
	// Overrides is a directory whose files take the place of the embedded ones
	// with the same relative path; empty: there is none. A catalogue there may
	// hold just some texts, and further languages may be added.
	Overrides string
	// Logo is an SVG or PNG file that stands above the card in place of our mark
	// and the brand's name, at most 64 KiB; empty: there is none.
	Logo []byte
	// Accent is a colour as #rrggbb for buttons and links; empty: ours. It is
	// darkened or lightened as far as it takes to be read.
	Accent string
}

// Set is the parsed pages with their texts and assets. It is safe for
// concurrent use.
type Set struct {
	catalogues []*catalogue // English first
	matcher    language.Matcher
	pages      map[string]map[string]*template.Template // by language and name
	mails      map[string]map[string]mailTemplate       // by language and name
	assets     assets
}

// New parses all pages and tries each on an empty view in every language, so
// that what is wrong with a file shows here, naming the file, and not to a
// person.
func New(options Options) (*Set, error) { return load(embeddedFiles(), options) }

func embeddedFiles() fs.FS {
	files, err := fs.Sub(embedded, "files")
	if err != nil {
		panic(err) // the name is a constant
	}
	return files
}

// load parses the set that lies in files.
func load(files fs.FS, options Options) (*Set, error) {
	from, err := newSources(files, options.Overrides)
	if err != nil {
		return nil, err
	}
	return parseSet(from, options)
}

// parseSet parses the set that lies in sources already read.
func parseSet(from sources, options Options) (*Set, error) {
	catalogues, err := loadCatalogues(from)
	if err != nil {
		return nil, err
	}
	brand, err := newBrand(options)
	if err != nil {
		return nil, err
	}
	pages, err := loadPages(from, catalogues, brand)
	if err != nil {
		return nil, err
	}
	mails, err := loadMails(from, catalogues, brand)
	if err != nil {
		return nil, err
	}
	served, err := loadAssets(from, brand)
	if err != nil {
		return nil, err
	}
	return &Set{catalogues: catalogues, matcher: newMatcher(catalogues), pages: pages, mails: mails, assets: served}, nil
}

// Has reports whether there is a page of that name. A factor's pages are there
// only if its package brought them.
func (s *Set) Has(page string) bool {
	return s.pages[English][page] != nil
}

// Render writes the page in the language of the view's frame, filled with the
// view that belongs to it. Where that fails nothing is written, so that the
// caller can still answer otherwise; only an error of w itself can leave a part
// behind.
func (s *Set) Render(w io.Writer, page string, view any) error {
	framed, ok := view.(interface{ language() string })
	if !ok {
		return fmt.Errorf("rendering the page %q: a %T is not a view", page, view)
	}
	parsed := s.pages[s.catalogue(framed.language()).tag][page]
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
