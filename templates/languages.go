package templates

import (
	"strings"

	"golang.org/x/text/language"
)

// Language is one in which pages are written.
type Language struct {
	Tag  string // as in the lang attribute: "en", "de"
	Name string // in the language itself: "English", "Deutsch"
}

// longestPreference bounds what a browser may have us read, in bytes.
const longestPreference = 512

// Languages returns the languages of the pages, English first.
func (s *Set) Languages() []Language {
	listed := make([]Language, len(s.catalogues))
	for i, c := range s.catalogues {
		listed[i] = Language{Tag: c.tag, Name: c.messages[nameKey].other}
	}
	return listed
}

// Match returns the language of the pages that suits best. The preferences are
// tags, or whole values of Accept-Language (RFC 9110 §12.5.4), the strongest
// first; what can't be read is passed over.
func (s *Set) Match(preferred ...string) string {
	readable := make([]string, 0, len(preferred))
	for _, p := range preferred {
		if len(p) <= longestPreference {
			readable = append(readable, p)
		}
	}
	_, index := language.MatchStrings(s.matcher, readable...)
	return s.catalogues[index].tag
}

// Text returns what the catalogue of that language says under key, with the
// values put in; a value "Count" chooses the plural form. An unknown language
// counts as English, and an unknown key is returned as it is.
func (s *Set) Text(language, key string, values map[string]any) string {
	text, err := s.catalogue(language).text(key, values)
	if err != nil {
		return key
	}
	return text
}

// Texts returns the texts of a language whose keys begin with a table's name and a dot,
// such as "authenticator.", with the values still to be put in. What the language lacks
// is in English. Of plural forms, only the last is returned.
func (s *Set) Texts(language, table string) map[string]string {
	texts := make(map[string]string)
	for c := s.catalogue(language); c != nil; c = c.fallback {
		for key, found := range c.messages {
			name, within := strings.CutPrefix(key, table)
			if _, there := texts[name]; within && !there {
				texts[name] = found.other
			}
		}
	}
	return texts
}

func (s *Set) catalogue(tag string) *catalogue {
	for _, c := range s.catalogues {
		if c.tag == tag {
			return c
		}
	}
	return s.catalogues[0]
}

func newMatcher(catalogues []*catalogue) language.Matcher {
	tags := make([]language.Tag, len(catalogues))
	for i, c := range catalogues {
		tags[i] = language.Make(c.tag)
	}
	return language.NewMatcher(tags)
}
