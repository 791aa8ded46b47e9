package test

import (
	"maps"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// TestWords holds the texts of the pages, and the docs, against what
// development.md has them never say.
func TestWords(t *testing.T) {
	docs := documents(t)
	development := docs["docs/development.md"]
	for where, language := range map[string]string{"pages in English": "en", "pages in German": "de"} {
		never := regexp.MustCompile(`(?i)\b(` + neverSaid(t, development, where) + `)(e?s|en|d)?\b|!`)
		for _, piece := range slices.Sorted(maps.Keys(catalogue(t, language))) {
			if said := never.FindString(piece); said != "" {
				t.Errorf("the %s say %q: %s", where, said, piece)
			}
		}
	}
	never := regexp.MustCompile(`(?i)\b(` + neverSaid(t, development, "docs") + `)\b`)
	for name, prose := range docs {
		for line := range strings.Lines(prose) {
			if said := never.FindString(line); said != "" && !strings.HasPrefix(line, "| docs |") {
				t.Errorf("%s says %q: %s", name, said, line)
			}
		}
	}
}

// neverSaid returns the words in a row of the table, as alternatives of a pattern.
func neverSaid(t *testing.T, development, where string) string {
	t.Helper()
	_, row, found := strings.Cut(development, "\n| "+where+" | ")
	words, _, ends := strings.Cut(row, " |\n")
	if !found || !ends {
		t.Fatalf("development.md doesn't say what %s never say", where)
	}
	return strings.ReplaceAll(regexp.QuoteMeta(words), ", ", "|")
}
