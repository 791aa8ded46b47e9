package templates

import (
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

func TestIsolated(t *testing.T) {
	for text, want := range map[string]string{
		"":            "",
		"Zoë (2)":     "Zoë (2)",
		"李雷":          "李雷",
		"דנה":         "\u2068דנה\u2069",
		"Dana דנה 2":  "\u2068Dana דנה 2\u2069",
		"محمد (phone": "\u2068محمد (phone\u2069",
	} {
		if got := isolated(text); got != want {
			t.Errorf("%q becomes %+q, want %+q", text, got, want)
		}
	}
}

// rightToLeft is a name that pulls what follows it to its other side.
const rightToLeft = "דנה (2"

// byStrangers are the fields of views that hold what people, or their browsers,
// wrote. What other fields hold is put together from texts of ours.
var byStrangers = []string{
	"Name", "DisplayName", "Email", "Groups", "Browser", "Account", "Issuer", "Remaining", "Names", "Details", "Where",
	"Called", "Typed", "Current", "What", "Host",
}

// TestW02NamesReorderNothing gives every name on a page letters that are read
// from right to left, which must not move the words beside it.
func TestW02NamesReorderNothing(t *testing.T) {
	set := newSet(t)
	ours := []string{"Way", "App", "Language"} // their names are ours or the operator's
	for page, view := range fullViews() {
		for _, language := range set.Languages() {
			t.Run(page+"/"+language.Tag, func(t *testing.T) {
				view := filledWhere(view, rightToLeft, func(of reflect.Type, field string) bool {
					return slices.Contains(byStrangers, field) && !slices.Contains(ours, of.Name())
				})
				doc := parsed(t, render(t, set, page, inLanguageOf(view, language.Tag)))
				for _, element := range doc.all("") {
					if direction, _ := attribute(element, "dir"); element.Data == "bdi" || direction == "auto" {
						continue
					}
					expectIsolated(t, element)
				}
			})
		}
	}
}

var isolates = regexp.MustCompile("\u2068[^\u2069]*\u2069")

// expectIsolated looks at the text and the attributes of an element, but not at
// what is inside other elements.
func expectIsolated(t *testing.T, element *html.Node) {
	t.Helper()
	check := func(text string) {
		if strings.Contains(isolates.ReplaceAllString(text, ""), rightToLeft) {
			t.Errorf("a name isn't isolated in <%s>: %q", element.Data, text)
		}
	}
	for child := element.FirstChild; child != nil; child = child.NextSibling {
		if child.Type == html.TextNode {
			check(child.Data)
		}
	}
	for _, attribute := range element.Attr {
		if attribute.Key == "title" || attribute.Key == "alt" || attribute.Key == "placeholder" || strings.HasPrefix(attribute.Key, "aria-") {
			check(attribute.Val)
		}
	}
}
