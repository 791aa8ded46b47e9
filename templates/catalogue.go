package templates

import (
	"fmt"
	"html/template"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strings"

	"github.com/BurntSushi/toml"
	"github.com/nicksnyder/go-i18n/v2/i18n"
	"golang.org/x/text/language"
)

// English is the language that every other one falls back to.
const English = "en"

// nameKey is the text that names a language in itself.
const nameKey = "language.name"

// richPrefix tells the form of a text that is HTML from the plain one.
const richPrefix = "rich:"

// message is one text of a catalogue.
type message struct {
	other        string
	forms        bool     // it has plural forms, chosen by the value "Count"
	placeholders []string // sorted
}

// takesValues reports whether the text differs with what is put into it.
func (m message) takesValues() bool { return len(m.placeholders) > 0 || m.forms }

// catalogue holds the texts of one language. It doesn't change once loaded.
type catalogue struct {
	tag       string
	messages  map[string]message
	localizer *i18n.Localizer
	fallback  *catalogue // nil: this is English
}

// text returns the text with the values put in, which can't reorder it.
func (c *catalogue) text(key string, values map[string]any) (string, error) {
	separate := make(map[string]any, len(values))
	for name, value := range values {
		if written, ok := value.(string); ok {
			value = isolated(written)
		}
		separate[name] = value
	}
	return c.localized("", key, separate)
}

// rich returns the text as HTML: what stands between ** is strong, and values
// are escaped and can't reorder the text, unless they are HTML already.
func (c *catalogue) rich(key string, values map[string]any) (template.HTML, error) {
	escaped := make(map[string]any, len(values))
	for name, value := range values {
		switch value := value.(type) {
		case template.HTML, int:
			escaped[name] = value
		default:
			escaped[name] = "<bdi>" + template.HTMLEscapeString(fmt.Sprint(value)) + "</bdi>"
		}
	}
	text, err := c.localized(richPrefix, key, escaped)
	return template.HTML(text), err
}

func (c *catalogue) localized(prefix, key string, values map[string]any) (string, error) {
	found, there := c.messages[key]
	switch {
	case !there && c.fallback != nil:
		return c.fallback.localized(prefix, key, values)
	case !there:
		return "", fmt.Errorf("there is no text %q", key)
	case !found.takesValues():
		if prefix == richPrefix {
			return richText(found.other), nil
		}
		return found.other, nil
	}
	config := &i18n.LocalizeConfig{MessageID: prefix + key, TemplateData: values}
	if found.forms {
		config.PluralCount = values["Count"]
	}
	text, err := c.localizer.Localize(config)
	if err != nil {
		return "", fmt.Errorf("making the text %q of values: %w", key, err)
	}
	return text, nil
}

// loadCatalogues reads the texts of every language, English first.
func loadCatalogues(from sources) ([]*catalogue, error) {
	english, err := loadCatalogue(from, English, nil)
	if err != nil {
		return nil, err
	}
	loaded := []*catalogue{english}
	for _, tag := range from.languages() {
		if tag == English {
			continue
		}
		other, err := loadCatalogue(from, tag, english)
		if err != nil {
			return nil, err
		}
		loaded = append(loaded, other)
	}
	return loaded, nil
}

// loadCatalogue reads the texts of one language: those of ours, and over them
// the operator's.
func loadCatalogue(from sources, tag string, english *catalogue) (*catalogue, error) {
	folder := filepath.Join(from.directory, "text", tag)
	parsed, err := language.Parse(tag)
	if err != nil || parsed.String() != tag {
		return nil, fmt.Errorf("loading %s: %q is not how a language is written (such as fr, or pt-BR)", folder, tag)
	}
	made := &catalogue{tag: tag, messages: make(map[string]message), fallback: english}
	bundle := i18n.NewBundle(parsed)
	for _, name := range from.glob("text/" + tag + "/*.toml") {
		if content, ours := from.original(name); ours {
			if err := made.add(bundle, parsed, content, made.checkNew); err != nil {
				return nil, fmt.Errorf("loading %s: %w", name, err)
			}
		}
	}
	known := english
	if known == nil {
		known = made
	}
	for _, name := range from.glob("text/" + tag + "/*.toml") {
		content, theirs := from.override(name)
		if !theirs {
			continue
		}
		if err := made.add(bundle, parsed, content, known.checkOverride); err != nil {
			return nil, fmt.Errorf("loading %s: %w", from.place(name), err)
		}
	}
	if _, named := made.messages[nameKey]; !named {
		return nil, fmt.Errorf("loading %s: it has no text %q, which names the language", folder, nameKey)
	}
	made.localizer = i18n.NewLocalizer(bundle, tag)
	return made, nil
}

// add takes what one file holds into the catalogue, once check has nothing
// against it.
func (c *catalogue) add(bundle *i18n.Bundle, tag language.Tag, content []byte, check func(key string, m message) error) error {
	read, err := i18n.ParseMessageBytes(content, toml.Unmarshal)
	if err != nil {
		return describe(err)
	}
	for _, m := range read {
		made, err := newMessage(m)
		if err == nil {
			err = check(m.ID, made)
		}
		if err != nil {
			return fmt.Errorf("line %d: %w", lineOf(content, m.ID), err)
		}
		c.messages[m.ID] = made
		if !made.takesValues() {
			continue // the bundle would keep several times its size
		}
		if err := bundle.AddMessages(tag, m, richForm(m)); err != nil {
			return err
		}
	}
	return nil
}

// describe has an error of the parser say where it was.
func describe(err error) error {
	if parse, ok := err.(toml.ParseError); ok {
		return fmt.Errorf("line %d: %s", parse.Position.Line, parse.Message)
	}
	return err
}

// checkNew refuses a text that another file of ours holds already.
func (c *catalogue) checkNew(key string, _ message) error {
	if _, there := c.messages[key]; there {
		return fmt.Errorf("the text %q appears twice", key)
	}
	return nil
}

// checkOverride refuses what no page would ask for, and values that nobody
// would give.
func (c *catalogue) checkOverride(key string, m message) error {
	original, there := c.messages[key]
	if !there {
		return fmt.Errorf("there is no text %q; the nearest is %q", key, nearest(key, slices.Collect(maps.Keys(c.messages))))
	}
	for _, name := range m.placeholders {
		if !slices.Contains(original.placeholders, name) {
			return fmt.Errorf("the text %q has no value {{.%s}}", key, name)
		}
	}
	return nil
}

var (
	placeholder = regexp.MustCompile(`\{\{\s*\.([A-Za-z]+)\s*\}\}`)
	emphasis    = regexp.MustCompile(`\*\*(.+?)\*\*`)
)

// forms returns a message's text in all its plural forms.
func forms(m *i18n.Message) []*string {
	return []*string{&m.Zero, &m.One, &m.Two, &m.Few, &m.Many, &m.Other}
}

func newMessage(m *i18n.Message) (message, error) {
	made := message{other: m.Other}
	if m.Other == "" {
		return made, fmt.Errorf("the text %q is empty", m.ID)
	}
	for _, form := range forms(m) {
		if rest := placeholder.ReplaceAllString(*form, ""); strings.Contains(rest, "{{") {
			return made, fmt.Errorf("the text %q has something in braces that isn't a value such as {{.Name}}", m.ID)
		}
		for _, match := range placeholder.FindAllStringSubmatch(*form, -1) {
			made.placeholders = append(made.placeholders, match[1])
		}
		made.forms = made.forms || form != &m.Other && *form != ""
	}
	slices.Sort(made.placeholders)
	made.placeholders = slices.Compact(made.placeholders)
	return made, nil
}

// richForm returns the text as HTML, into which escaped values can be put.
func richForm(m *i18n.Message) *i18n.Message {
	made := *m
	made.ID = richPrefix + m.ID
	for _, form := range forms(&made) {
		*form = richText(*form)
	}
	return &made
}

// richText returns a text as HTML, with what stands between ** as strong.
func richText(text string) string {
	return emphasis.ReplaceAllString(template.HTMLEscapeString(text), "<strong>$1</strong>")
}

// lineOf finds where a file has the text of that key, which the parser doesn't
// tell; 1 where it is written in another way than ours.
func lineOf(content []byte, key string) int {
	table := ""
	for number, line := range strings.Split(string(content), "\n") {
		line = strings.TrimSpace(line)
		if name, isTable := strings.CutPrefix(line, "["); isTable {
			table = strings.TrimRight(name, "] \t") + "."
			if table == key+"." {
				return number + 1
			}
			continue
		}
		name, _, _ := strings.Cut(line, "=")
		if table+strings.TrimSpace(name) == key {
			return number + 1
		}
	}
	return 1
}
