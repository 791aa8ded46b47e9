package portal_test

import (
	"bytes"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"

	"golang.org/x/net/html"
)

// wanderer is a browser, with what its tabs show.
type wanderer struct {
	address string
	cookies map[string]*http.Cookie
	who     *resident // who typed their name last
	forms   []form    // those shown lately, the newest page's last
	newest  []form    // of the newest page
	links   []string  // of the newest page
	flow    string    // the newest one's id
}

// keptForms is how many forms of earlier pages other tabs still show.
const keptForms = 12

// page is what a browser got.
type page struct {
	status   int
	location string
	forms    []form
	links    []string
	codes    []string
	text     string
}

// form is a form of a page.
type form struct {
	action   string
	fields   url.Values // as they are without anybody typing
	names    []string
	visible  []string
	offered  url.Values // what its boxes stand for
	key      string     // the authenticator's, of an enrolment
	codes    []string   // the backup codes, of an enrolment
	question string     // for a security key
	owner    string     // id of whose flow it is about; empty: of none
}

// main returns the form that a page is about.
func (p *page) main() (form, bool) {
	for _, f := range p.forms {
		switch f.action {
		case "/language", "/flow/more-time", "/sign-in/passkey":
		default:
			return f, true
		}
	}
	return form{}, false
}

// request is what the browser sends.
func (b *wanderer) request(method, target string, fields url.Values) *http.Request {
	r := httptest.NewRequest(method, "https://login.example.com"+target, strings.NewReader(fields.Encode()))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	r.RemoteAddr = b.address
	for _, c := range b.cookies {
		r.AddCookie(c)
	}
	return r
}

// receive keeps the cookies of an answer, and its forms.
func (b *wanderer) receive(r *http.Response) *page {
	for _, c := range r.Cookies() {
		if b.cookies[c.Name] = c; c.MaxAge < 0 {
			delete(b.cookies, c.Name)
		}
	}
	p := readPage(r)
	if p.status == http.StatusSeeOther {
		if _, id, isFlow := strings.Cut(p.location, "/flow?id="); isFlow {
			b.flow = id
		}
		return p
	}
	b.links = p.links
	return p
}

func readPage(r *http.Response) *page {
	p := &page{status: r.StatusCode, location: r.Header.Get("Location")}
	if !strings.HasPrefix(r.Header.Get("Content-Type"), "text/html") {
		return p
	}
	var body bytes.Buffer
	_, _ = body.ReadFrom(r.Body)
	p.text = body.String()
	root, err := html.Parse(strings.NewReader(p.text))
	if err != nil {
		return p
	}
	key := ""
	for n := range root.Descendants() {
		switch {
		case n.Type != html.ElementNode:
		case n.Data == "form":
			p.forms = append(p.forms, readForm(n))
		case n.Data == "a" && strings.HasPrefix(attribute(n, "href"), "/"):
			p.links = append(p.links, attribute(n, "href"))
		case n.Data == "code" && attribute(n, "id") == "key":
			key = strings.ReplaceAll(n.FirstChild.Data, " ", "")
		case n.Data == "code" && n.Parent.Data == "li":
			p.codes = append(p.codes, n.FirstChild.Data)
		}
	}
	for i := range p.forms {
		p.forms[i].key, p.forms[i].codes = key, p.codes
	}
	return p
}

func readForm(node *html.Node) form {
	f := form{
		action: attribute(node, "action"), fields: make(url.Values), offered: make(url.Values),
		question: attribute(node, "data-options"),
	}
	for n := range node.Descendants() {
		name := attribute(n, "name")
		if n.Type != html.ElementNode || name == "" {
			continue
		}
		f.names = append(f.names, name)
		if attribute(n, "type") != "hidden" {
			f.visible = append(f.visible, name)
		}
		if attribute(n, "type") == "checkbox" || n.Data == "button" {
			f.offered.Add(name, attribute(n, "value"))
			continue
		}
		f.fields.Add(name, attribute(n, "value"))
	}
	return f
}

func attribute(n *html.Node, name string) string {
	for _, a := range n.Attr {
		if a.Key == name {
			return a.Val
		}
	}
	return ""
}

// filled is a form with some of its fields filled in.
func (f form) filled(values map[string]string) url.Values {
	fields := maps.Clone(f.fields)
	for name, value := range values {
		if slices.Contains(f.names, name) {
			fields[name] = []string{value}
		}
	}
	return fields
}
