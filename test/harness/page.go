package harness

import (
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"golang.org/x/net/html"
)

// Page is a response that a client got.
type Page struct {
	t        testing.TB
	request  Request
	document *html.Node

	URL    *url.URL
	Proto  string
	Status int
	Header http.Header
	Body   string
}

func newPage(t testing.TB, request Request, response *http.Response, body string) *Page {
	page := &Page{
		t:       t,
		request: request,
		URL:     response.Request.URL,
		Proto:   response.Proto,
		Status:  response.StatusCode,
		Header:  response.Header,
		Body:    body,
	}
	// Only a failing reader makes Parse fail; whatever the text, there is a tree.
	page.document, _ = html.ParseWithOptions(strings.NewReader(body), html.ParseOptionEnableScripting(false))
	return page
}

// Cookies returns the cookies that the response sets, taken by a browser or not.
func (p *Page) Cookies() []*http.Cookie { return (&http.Response{Header: p.Header}).Cookies() }

// Location returns where a redirect leads, resolved; "" where there is none.
func (p *Page) Location() string {
	location := p.Header.Get("Location")
	if location == "" {
		return ""
	}
	target, err := p.URL.Parse(location)
	if err != nil {
		return location
	}
	return target.String()
}

func (p *Page) redirects() bool {
	return slices.Contains([]int{301, 302, 303, 307, 308}, p.Status) && p.Header.Get("Location") != ""
}

// next is the request that the page redirects to, as the Fetch standard, 4.4,
// has it; false where it doesn't.
func (p *Page) next() (Request, bool, error) {
	if !p.redirects() {
		return Request{}, false, nil
	}
	target, err := p.URL.Parse(p.Header.Get("Location"))
	if err != nil {
		return Request{}, false, fmt.Errorf("reading the redirect's target: %w", err)
	}
	if target.Scheme != "http" && target.Scheme != "https" {
		return Request{}, false, fmt.Errorf("no browser follows a redirect to %s", target)
	}
	next := p.request
	next.URL = target.String()
	next.chain = append(slices.Clone(p.request.chain), p.URL)
	if policy := p.Header.Get("Referrer-Policy"); policy != "" {
		next.FromPolicy = policy
	}
	method := p.request.method()
	if p.Status == 303 && method != http.MethodHead || (p.Status == 301 || p.Status == 302) && method == http.MethodPost {
		next.Method, next.Body = http.MethodGet, ""
		next.Header = next.Header.Clone()
		next.Header.Del("Content-Type")
	}
	return next, true, nil
}

// Title returns the text of the page's <title>.
func (p *Page) Title() string { return p.firstText("title") }

// H1 returns the text of the page's first <h1>.
func (p *Page) H1() string { return p.firstText("h1") }

// Text returns what a reader sees, with single spaces: neither scripts nor
// styles nor the head, but what <noscript> holds: a client runs no scripts.
func (p *Page) Text() string {
	for node := range p.document.Descendants() {
		if isElement(node, "body") {
			return textOf(node)
		}
	}
	return ""
}

func (p *Page) firstText(tag string) string {
	for node := range p.document.Descendants() {
		if isElement(node, tag) {
			return textOf(node)
		}
	}
	return ""
}

// Link returns the resolved URL of the first link with the text, and fails
// the test where there is none.
func (p *Page) Link(text string) string {
	p.t.Helper()
	for node := range p.document.Descendants() {
		if isElement(node, "a") && textOf(node) == text {
			target, err := p.URL.Parse(attribute(node, "href"))
			if err != nil {
				p.t.Fatalf("the link %q: %v", text, err)
			}
			return target.String()
		}
	}
	p.t.Fatalf("%s has no link %q; it says: %s", p.URL, text, p.Text())
	return ""
}

// Input is a control of a form.
type Input struct {
	Name         string
	Type         string // of an <input>; else "textarea", "select" or "button"
	Value        string
	Autocomplete string
	Checked      bool
}

// Form is one form of a page.
type Form struct {
	page   *Page
	Action *url.URL
	Method string // "GET" or "POST"
	Inputs []Input
}

// Forms returns the page's forms.
func (p *Page) Forms() []Form {
	var forms []Form
	for node := range p.document.Descendants() {
		if isElement(node, "form") {
			forms = append(forms, p.formOf(node))
		}
	}
	return forms
}

// beside are where the forms lead that stand on many pages, beside the one that
// the page is about.
var beside = []string{"/language", "/flow/more-time", "/sign-in/passkey"}

// Form returns the only form that the page is about, or the only one that has
// inputs of the given names or autocomplete values. It fails the test where
// there is none or more.
func (p *Page) Form(inputs ...string) Form {
	p.t.Helper()
	var found []Form
	for _, form := range p.Forms() {
		if slices.Contains(beside, form.Action.Path) {
			continue
		}
		if !slices.ContainsFunc(inputs, func(name string) bool { return !form.Has(name) }) {
			found = append(found, form)
		}
	}
	if len(found) != 1 {
		p.t.Fatalf("%d %s has %d forms with the inputs %q, not one; it says: %s", p.Status, p.URL, len(found), inputs, p.Text())
	}
	return found[0]
}

func (p *Page) formOf(node *html.Node) Form {
	form := Form{page: p, Action: p.URL, Method: http.MethodGet}
	if action := attribute(node, "action"); action != "" {
		if target, err := p.URL.Parse(action); err == nil {
			form.Action = target
		}
	}
	if strings.EqualFold(attribute(node, "method"), "post") {
		form.Method = http.MethodPost
	}
	for control := range node.Descendants() {
		if input, ok := inputOf(control); ok {
			form.Inputs = append(form.Inputs, input)
		}
	}
	return form
}

// inputOf reads a control that is not disabled.
func inputOf(node *html.Node) (Input, bool) {
	if node.Type != html.ElementNode || hasAttribute(node, "disabled") {
		return Input{}, false
	}
	input := Input{
		Name:         attribute(node, "name"),
		Type:         node.Data,
		Value:        attribute(node, "value"),
		Autocomplete: attribute(node, "autocomplete"),
		Checked:      hasAttribute(node, "checked"),
	}
	switch node.Data {
	case "input":
		input.Type = "text"
		if kind := attribute(node, "type"); kind != "" {
			input.Type = strings.ToLower(kind)
		}
	case "textarea":
		input.Value = textOf(node)
	case "select":
		input.Value = selected(node)
	case "button":
		if kind := strings.ToLower(attribute(node, "type")); kind == "button" || kind == "reset" {
			return Input{}, false
		}
	default:
		return Input{}, false
	}
	return input, true
}

// selected is the value of a <select>: of the chosen option, or of the first.
func selected(node *html.Node) string {
	var options []*html.Node
	for option := range node.Descendants() {
		if isElement(option, "option") {
			options = append(options, option)
		}
	}
	if len(options) == 0 {
		return ""
	}
	chosen := max(0, slices.IndexFunc(options, func(o *html.Node) bool { return hasAttribute(o, "selected") }))
	if hasAttribute(options[chosen], "value") {
		return attribute(options[chosen], "value")
	}
	return textOf(options[chosen])
}

// Has reports whether the form has an input of the name or autocomplete value.
func (f Form) Has(name string) bool {
	return slices.ContainsFunc(f.Inputs, func(input Input) bool { return input.called(name) })
}

// Value returns what the page put into the input, or "".
func (f Form) Value(name string) string {
	for _, input := range f.Inputs {
		if input.called(name) {
			return input.Value
		}
	}
	return ""
}

func (i Input) called(name string) bool {
	return i.Name == name || slices.Contains(strings.Fields(i.Autocomplete), name)
}

func (i Input) checkable() bool { return i.Type == "checkbox" || i.Type == "radio" }

func (i Input) isButton() bool { return i.Type == "submit" || i.Type == "button" || i.Type == "image" }

// fill returns what the form sends with the given values typed in. A checkbox
// is ticked by its value or "on", and cleared by "".
func (f Form) fill(values map[string]string) (url.Values, error) {
	filled, pressed := url.Values{}, false
	unused := make(map[string]bool, len(values))
	for name := range values {
		unused[name] = true
	}
	for _, input := range f.Inputs {
		for name, value := range values {
			if input.called(name) {
				delete(unused, name)
				input = input.with(value)
			}
		}
		if input.isButton() {
			if pressed {
				continue
			}
			pressed = true
		}
		if input.Name != "" && (!input.checkable() || input.Checked) && (!input.isButton() || input.Value != "") {
			filled.Add(input.Name, input.Value)
		}
	}
	for name := range unused {
		return nil, errors.New("it has no input " + name)
	}
	return filled, nil
}

// with is the input with something typed in.
func (i Input) with(value string) Input {
	if !i.checkable() {
		i.Value = value
		return i
	}
	given := i.Value
	if given == "" {
		given = "on"
	}
	i.Value, i.Checked = given, value == given || value == "on"
	return i
}

func isElement(node *html.Node, tag string) bool {
	return node.Type == html.ElementNode && node.Data == tag
}

func attribute(node *html.Node, name string) string {
	for _, a := range node.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

func hasAttribute(node *html.Node, name string) bool {
	return slices.ContainsFunc(node.Attr, func(a html.Attribute) bool { return a.Key == name })
}

// inline are the elements that don't part words.
var inline = []string{"a", "abbr", "b", "bdi", "code", "em", "i", "kbd", "mark", "s", "small", "span", "strong", "sub", "sup", "time", "u", "wbr"}

// unseen are the elements whose text nobody reads.
var unseen = []string{"script", "style", "template"}

// textOf joins the text below a node, with single spaces.
func textOf(node *html.Node) string {
	var text strings.Builder
	collectText(node, &text)
	return strings.Join(strings.Fields(text.String()), " ")
}

func collectText(node *html.Node, text *strings.Builder) {
	if node.Type == html.TextNode {
		text.WriteString(node.Data)
		return
	}
	if slices.Contains(unseen, node.Data) {
		return
	}
	parts := node.Type == html.ElementNode && !slices.Contains(inline, node.Data)
	if parts {
		text.WriteByte(' ')
	}
	for child := range node.ChildNodes() {
		collectText(child, text)
	}
	if parts {
		text.WriteByte(' ')
	}
}
