package templates

import (
	"cmp"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// sources is the embedded files, and the operator's that take the place of some
// of them.
type sources struct {
	embedded  fs.FS
	directory string              // the operator's; empty: there is none
	overrides map[string]override // the operator's files by the embedded one's name
}

// override is a file of the operator's, as it was when it was read.
type override struct {
	file    string // its path
	content []byte
}

// newSources reads the operator's directory; "": there is none. Names
// that begin with a dot are passed over: version control and mounted volumes
// leave such.
func newSources(embedded fs.FS, directory string) (sources, error) {
	s := sources{embedded: embedded, directory: directory, overrides: make(map[string]override)}
	if directory == "" {
		return s, nil
	}
	if found, err := os.Stat(directory); err == nil && !found.IsDir() {
		return sources{}, fmt.Errorf("templates %s: this is a file: name a directory", directory)
	}
	err := filepath.WalkDir(directory, func(file string, entry fs.DirEntry, err error) error {
		hidden := file != directory && strings.HasPrefix(entry.Name(), ".")
		switch {
		case err != nil:
			return err
		case hidden && entry.IsDir():
			return fs.SkipDir
		case hidden || entry.IsDir():
			return nil
		}
		return s.addOverride(directory, file)
	})
	if err != nil {
		return sources{}, fmt.Errorf("templates: %w", err)
	}
	return s, nil
}

func (s sources) addOverride(directory, file string) error {
	relative, err := filepath.Rel(directory, file)
	if err != nil {
		return err
	}
	name := filepath.ToSlash(relative)
	if _, ours := s.original(name); !ours && !s.isFurtherLanguage(name) {
		return fmt.Errorf("%s overrides nothing: there is no %s; the nearest is %s", file, name, nearest(name, s.names()))
	}
	content, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	s.overrides[name] = override{file, content}
	return nil
}

// isFurtherLanguage reports whether the name is that of a catalogue of ours in
// a language of the operator's.
func (s sources) isFurtherLanguage(name string) bool {
	parts := strings.Split(name, "/")
	if len(parts) != 3 || parts[0] != "text" {
		return false
	}
	_, ours := s.original(path.Join("text", English, parts[2]))
	return ours
}

// names returns the embedded files.
func (s sources) names() []string {
	var names []string
	// Walking what is compiled in can't fail.
	_ = fs.WalkDir(s.embedded, ".", func(name string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			names = append(names, name)
		}
		return err
	})
	return names
}

// glob returns the names that match, of the embedded files and the operator's.
func (s sources) glob(pattern string) []string {
	var matching []string
	for _, name := range s.names() {
		if matches, _ := path.Match(pattern, name); matches {
			matching = append(matching, name)
		}
	}
	for name := range s.overrides {
		if matches, _ := path.Match(pattern, name); matches {
			matching = append(matching, name)
		}
	}
	slices.Sort(matching)
	return slices.Compact(matching)
}

// languages returns the tags of all catalogues.
func (s sources) languages() []string {
	var tags []string
	for _, name := range s.glob("text/*/*.toml") {
		tags = append(tags, path.Base(path.Dir(name)))
	}
	return slices.Compact(tags)
}

// original returns the embedded file.
func (s sources) original(name string) (content []byte, found bool) {
	content, err := fs.ReadFile(s.embedded, name)
	return content, err == nil
}

// override returns the operator's file.
func (s sources) override(name string) (content []byte, found bool) {
	theirs, found := s.overrides[name]
	return theirs.content, found
}

// read returns the file in force.
func (s sources) read(name string) ([]byte, error) {
	if content, theirs := s.override(name); theirs {
		return content, nil
	}
	return fs.ReadFile(s.embedded, name)
}

// place is what a file is called in errors: the operator's by its real path.
func (s sources) place(name string) string {
	if theirs, found := s.overrides[name]; found {
		return theirs.file
	}
	return name
}

// contract is how a template begins: with the number of what it may expect of
// views, functions, partials and scripts.
var contract = regexp.MustCompile(`^\{\{/\* contract: ([0-9]+) \*/ ?-?\}\}`)

func contractOf(content []byte) (number int, found bool) {
	match := contract.FindSubmatch(content)
	if match == nil {
		return 0, false
	}
	number, err := strconv.Atoi(string(match[1]))
	return number, err == nil
}

// template returns the template in force, which keeps to the contract of ours.
func (s sources) template(name string) (string, error) {
	original, found := s.original(name)
	if !found {
		return "", fmt.Errorf("loading %s: %w", name, fs.ErrNotExist)
	}
	want, stated := contractOf(original)
	if !stated {
		return "", fmt.Errorf("loading %s: it must begin with {{/* contract: 1 */}}", name)
	}
	content, err := s.read(name)
	if err != nil {
		return "", fmt.Errorf("loading %s: %w", s.place(name), err)
	}
	got, stated := contractOf(content)
	switch {
	case !stated:
		return "", fmt.Errorf("loading %s: it doesn't begin with {{/* contract: %d */}}: %w", s.place(name), want, errCompare)
	case got != want:
		return "", fmt.Errorf("loading %s: it keeps to contract %d, but this version has contract %d: %w", s.place(name), got, want, errCompare)
	}
	return string(content), nil
}

var errCompare = errors.New("compare it with the original, which \"caddy mfa templates export DIRECTORY\" writes, and copy what changed there")

// nearest returns the name that takes the fewest changes to get to.
func nearest(name string, names []string) string {
	return slices.MinFunc(names, func(a, b string) int {
		return cmp.Or(cmp.Compare(distance(name, a), distance(name, b)), cmp.Compare(a, b))
	})
}

// distance counts the bytes to insert, remove or replace (Levenshtein).
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			replaced := diagonal
			if a[i] != b[j] {
				replaced++
			}
			diagonal = row[j+1]
			row[j+1] = min(replaced, diagonal+1, row[j]+1)
		}
	}
	return row[len(b)]
}
