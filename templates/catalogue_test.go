package templates

import (
	"go/ast"
	"go/parser"
	"go/token"
	"html/template"
	"io/fs"
	"maps"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/fstest"
)

// TestLanguagesSayTheSame wants each text in every language, with the same
// values.
func TestLanguagesSayTheSame(t *testing.T) {
	catalogues := newSet(t).catalogues
	english := catalogues[0]
	for _, other := range catalogues[1:] {
		for key, want := range english.messages {
			got, there := other.messages[key]
			if !there {
				t.Errorf("%s lacks %q", other.tag, key)
				continue
			}
			if !slices.Equal(got.placeholders, want.placeholders) || got.forms != want.forms {
				t.Errorf("%s: %q has the values %v (plural: %v), in English %v (plural: %v)",
					other.tag, key, got.placeholders, got.forms, want.placeholders, want.forms)
			}
		}
		for key := range other.messages {
			if _, there := english.messages[key]; !there {
				t.Errorf("%s has %q, which English lacks", other.tag, key)
			}
		}
	}
}

// likeKey is how keys are written; what begins like a table of the catalogue
// and isn't one is a mistake.
var likeKey = regexp.MustCompile(`^[a-z_]+(\.[a-z_]+)*\.?$`)

// TestTextsAreUsed wants every text used by a template or by the code, and
// every text that the code names there. A string that names a table stands for
// the keys that begin with it, which the code puts together.
func TestTextsAreUsed(t *testing.T) {
	set := newSet(t)
	english := set.catalogues[0]
	used := map[string]bool{nameKey: true}
	note := func(whole *template.Template) {
		for _, part := range whole.Templates() {
			if part.Tree == nil {
				continue
			}
			for _, text := range textsOf(part.Tree.Root) {
				used[text.key] = true
			}
		}
	}
	for _, page := range set.pages[English] {
		note(page)
	}
	for _, mail := range set.mails[English] {
		note(mail.html)
		for _, text := range textsOf(mail.text.Root) {
			used[text.key] = true
		}
	}
	// No page of ours may use a partial that is there for factors.
	partials, err := template.New("").Funcs(functionsOf(english, brand{})).ParseFS(embeddedFiles(), "partials*.html")
	if err != nil {
		t.Fatal(err)
	}
	note(partials)
	tables := make(map[string]bool)
	for key := range english.messages {
		table, _, _ := strings.Cut(key, ".")
		tables[table] = true
	}
	for place, written := range stringsInCode(t) {
		table, _, dotted := strings.Cut(written, ".")
		if !dotted || !tables[table] || !likeKey.MatchString(written) {
			continue
		}
		found := false
		for key := range english.messages {
			if key == written || strings.HasPrefix(key, strings.TrimSuffix(written, ".")+".") {
				used[key], found = true, true
			}
		}
		if !found {
			t.Errorf("%s names the text %q, which isn't there", place, written)
		}
	}
	for _, key := range slices.Sorted(maps.Keys(english.messages)) {
		if !used[key] {
			t.Errorf("nothing uses the text %q", key)
		}
	}
}

// stringsInCode yields the strings in the module's code. It leaves out the names of
// security events, which look like keys, and code that shows no texts: tests, and the
// device agent.
func stringsInCode(t *testing.T) func(yield func(place, text string) bool) {
	t.Helper()
	var literals []*ast.BasicLit
	files := token.NewFileSet()
	err := filepath.WalkDir("..", func(file string, entry fs.DirEntry, err error) error {
		if entry != nil && slices.Contains([]string{"audit", "agent", "test"}, entry.Name()) {
			return fs.SkipDir
		}
		if err != nil || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
			return err
		}
		parsed, err := parser.ParseFile(files, file, nil, parser.SkipObjectResolution)
		if err != nil {
			return err
		}
		ast.Inspect(parsed, func(node ast.Node) bool {
			if literal, ok := node.(*ast.BasicLit); ok && literal.Kind == token.STRING {
				literals = append(literals, literal)
			}
			return true
		})
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	return func(yield func(place, text string) bool) {
		for _, literal := range literals {
			text, err := strconv.Unquote(literal.Value)
			if err == nil && !yield(files.Position(literal.Pos()).String(), text) {
				return
			}
		}
	}
}

func TestText(t *testing.T) {
	set := newSet(t)
	tests := []struct {
		language, key string
		values        map[string]any
		want          string
	}{
		{"en", "sign_in.title", nil, "Sign in"},
		{"de", "sign_in.title", nil, "Anmelden"},
		{"xx", "sign_in.title", nil, "Sign in"},
		{"", "sign_in.title", nil, "Sign in"},
		{"en", "time.days", map[string]any{"Count": 1}, "1 day"},
		{"en", "time.days", map[string]any{"Count": 0}, "0 days"},
		{"de", "time.days", map[string]any{"Count": 30}, "30 Tage"},
		{"en", "wait.again", map[string]any{"Time": "{{.Time}} <b> %s"}, "Try again in {{.Time}} <b> %s."},
		{"en", "sign_in.nothing", nil, "sign_in.nothing"},
		{"en", "time.days", map[string]any{"Count": "many"}, "time.days"},
	}
	for _, test := range tests {
		if got := set.Text(test.language, test.key, test.values); got != test.want {
			t.Errorf("Text(%q, %q, %v) = %q, want %q", test.language, test.key, test.values, got, test.want)
		}
	}
}

// TestValuesAreEscaped (W02) puts markup and template syntax into texts in each
// of the ways in which templates can.
func TestValuesAreEscaped(t *testing.T) {
	functions := functionsOf(newSet(t).catalogues[0], brand{})
	tests := []struct{ source, want string }{
		{`{{t "flow.destination" "Host" .}}`, `to open **` + escapedHostile + `**`},
		{`{{rich "flow.destination" "Host" .}}`, `to open <strong><bdi>` + escapedHostile + `</bdi></strong>`},
		{`<p title="{{rich "flow.destination" "Host" .}}">`, `<p title="to open ` + escapedHostile + `">`},
		{`{{plural "time.days" 2 "Host" .}}`, `2 days`},
		{`{{contact .}}`, `<strong>` + escapedHostile + `</strong>`},
		{`{{rich "frame.help" "Contact" (contact .)}}`, `Need help? Ask <strong>` + escapedHostile + `</strong>.`},
		{`{{rich "frame.help" "Contact" .}}`, `Need help? Ask <bdi>` + escapedHostile + `</bdi>.`},
	}
	for _, test := range tests {
		var out strings.Builder
		made := template.Must(template.New("").Funcs(functions).Parse(test.source))
		if err := made.Execute(&out, hostileValue); err != nil {
			t.Errorf("%s: %v", test.source, err)
			continue
		}
		// The ways of escaping differ in how they write the same characters.
		got := strings.NewReplacer("&#43;", "+", "&#34;", "&quot;").Replace(out.String())
		if want := strings.ReplaceAll(test.want, "&#34;", "&quot;"); got != want {
			t.Errorf("%s is\n %s, want\n %s", test.source, got, want)
		}
	}
}

const (
	hostileValue   = `**x** {{.}} {{t "sign_in.title"}} <script> " %s`
	escapedHostile = `**x** {{.}} {{t &#34;sign_in.title&#34;}} &lt;script&gt; &#34; %s`
)

func TestFunctionsRefuseWhatTheyCannotUse(t *testing.T) {
	functions := functionsOf(newSet(t).catalogues[0], brand{})
	for _, source := range []string{
		`{{t "nowhere.to_be_found"}}`, `{{t "flow.destination" "Host"}}`, `{{t "flow.destination" 1 2}}`,
		`{{rich "nowhere.to_be_found"}}`, `{{rich "flow.destination" "Host"}}`,
		`{{plural "nowhere.to_be_found" 1}}`, `{{plural "time.days" 1 "Host"}}`, `{{plural "time.days"}}`,
	} {
		made := template.Must(template.New("").Funcs(functions).Parse(source))
		if err := made.Execute(new(strings.Builder), nil); err == nil {
			t.Errorf("%s was executed", source)
		}
	}
}

func TestMatch(t *testing.T) {
	set := newSet(t)
	tests := []struct {
		preferred []string
		want      string
	}{
		{nil, "en"},
		{[]string{"", ""}, "en"},
		{[]string{"de"}, "de"},
		{[]string{"", "de-AT,de;q=0.9,en;q=0.5"}, "de"},
		{[]string{"en", "de-AT,de;q=0.9"}, "en"},
		{[]string{"xx", "de"}, "de"},
		{[]string{"fr-FR,fr;q=0.9"}, "en"},
		{[]string{"fr,de;q=0.3"}, "de"},
		{[]string{"en;q=0,de"}, "de"},
		{[]string{"!!", "de"}, "de"},
		{[]string{strings.Repeat("de,", 1000)}, "en"},
		{[]string{"../de"}, "en"},
	}
	for _, test := range tests {
		if got := set.Match(test.preferred...); got != test.want {
			t.Errorf("Match(%.60q) = %q, want %q", test.preferred, got, test.want)
		}
	}
}

func TestLanguages(t *testing.T) {
	want := []Language{{"en", "English"}, {"de", "Deutsch"}}
	if got := newSet(t).Languages(); !slices.Equal(got, want) {
		t.Errorf("the languages are %v, want %v", got, want)
	}
}

// TestUnknownLanguageIsEnglish renders for a language that there isn't, as a
// cookie of an older configuration may name.
func TestUnknownLanguageIsEnglish(t *testing.T) {
	doc := parsed(t, render(t, newSet(t), "sign_out", SignOutView{Frame: Frame{Language: "xx"}}))
	if language, _ := attribute(doc.all("html")[0], "lang"); language != "en" || text(doc.all("h1")[0]) != "Sign out" {
		t.Errorf("the page is in %q", language)
	}
}

func TestFurtherLanguageFallsBackToEnglish(t *testing.T) {
	set, err := load(changed(t, map[string]*fstest.MapFile{
		"text/pl/pages.toml": file("language.name = \"Polski\"\nsign_in.title = \"Zaloguj się\"\n" +
			"[time.days]\none = \"{{.Count}} dzień\"\nfew = \"{{.Count}} dni\"\nmany = \"{{.Count}} dni\"\nother = \"{{.Count}} dnia\""),
	}), Options{})
	if err != nil {
		t.Fatal(err)
	}
	for want, got := range map[string]string{
		"Zaloguj się": set.Text("pl", "sign_in.title", nil),
		"3 dni":       set.Text("pl", "time.days", map[string]any{"Count": 3}),
		"2 hours":     set.Text("pl", "time.hours", map[string]any{"Count": 2}),
		"pl":          set.Match("pl-PL"),
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

func TestCatalogueThatIsWrong(t *testing.T) {
	tests := []struct {
		name, content, said string
	}{
		{"syntax", "[flow]\nlost = ", "line 2"},
		{"empty", "[flow]\nmore = \"\"", `line 2: the text "flow.more" is empty`},
		{"not a value", "[flow]\nmore = \"{{if .X}}\"", `line 2: the text "flow.more"`},
		{"there already", "[flow]\nlost = \"Lost\"", `line 2: the text "flow.lost" appears twice`},
		{"plural without other", "[flow.more]\none = \"x\"", `line 1: the text "flow.more" is empty`},
		{"a number", "[flow]\nmore = 1", "unsupported"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := load(changed(t, map[string]*fstest.MapFile{"text/en/theirs.toml": file(test.content)}), Options{})
			if err == nil {
				t.Fatal("it was loaded")
			}
			if !strings.Contains(err.Error(), "text/en/theirs.toml") || !strings.Contains(err.Error(), test.said) {
				t.Errorf("the error is %q, want it to name the file and %q", err, test.said)
			}
		})
	}
}
