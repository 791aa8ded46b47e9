package templates

import (
	"bytes"
	"fmt"
	"html/template"
	"io/fs"
	"strings"
	texttemplate "text/template"
	"time"
)

// Mail is the text of an e-mail, without its sender and recipient.
type Mail struct {
	Subject string
	Text    string
	HTML    string
}

// MailFrame is what every e-mail shows around its own content.
type MailFrame struct {
	Brand   string
	Contact string
	Portal  string // the portal's address
}

// CodeMail is the view of the e-mail "code".
type CodeMail struct {
	MailFrame
	Code string
	Name string // sign-in name
	Host string // the app that is to be opened; empty: the portal itself
	// At is when the code was asked for, and Until is when it expires.
	At, Until time.Time
	Address   string // where it was asked for
	Known     bool   // by a browser that the person used before
	// Adding says that the code checks an address that somebody adds. Whoever reads
	// the mail may not know them.
	Adding bool
}

// Framed returns the view of the mail with its frame.
func (m CodeMail) Framed(f MailFrame) any {
	m.MailFrame = f
	return m
}

// TestMail is the view of the e-mail "test", with which an operator finds out whether
// mail can be sent.
type TestMail struct{ MailFrame }

// Framed returns the view of the mail with its frame.
func (m TestMail) Framed(f MailFrame) any { return TestMail{f} }

// NoticeMail is the view of the e-mail "notice".
type NoticeMail struct {
	MailFrame
	Name string // sign-in name
	What string // in the subject
	// Digest says that the mail sums up a day.
	Digest bool
	Lines  []NoticeLine
	// Last says that what else happens today is in the next digest.
	Last bool
	// Undo is where the recipient says that it wasn't them; empty: there is no such
	// page for this.
	Undo string
}

// NoticeLine is one thing that happened.
type NoticeLine struct {
	What  string
	At    time.Time // in the recipient's zone
	Where string    // or by whom; empty: it isn't known
}

// Framed returns the view of the mail with its frame.
func (m NoticeMail) Framed(f MailFrame) any {
	m.MailFrame = f
	return m
}

// LinkMail is the view of the e-mail "invitation".
type LinkMail struct {
	MailFrame
	Name  string // sign-in name
	Link  string
	Until time.Time
}

// Framed returns the view of the mail with its frame.
func (m LinkMail) Framed(f MailFrame) any {
	m.MailFrame = f
	return m
}

// ResetMail is the view of the e-mail "reset".
type ResetMail struct {
	MailFrame
	Name string // sign-in name
	// At is when somebody asked for a new password, and Address where.
	At      time.Time
	Address string
	// Link leads to the page to choose one; empty: the person has nothing but codes by
	// e-mail to show that it's them, and only an administrator can help.
	Link  string
	Until time.Time // when the link stops working
}

// Framed returns the view of the mail with its frame.
func (m ResetMail) Framed(f MailFrame) any {
	m.MailFrame = f
	return m
}

// emptyMails holds an empty view of each e-mail.
var emptyMails = map[string]any{"notice": NoticeMail{}, "invitation": LinkMail{}, "reset": ResetMail{}, "code": CodeMail{}, "test": TestMail{}}

// mailTemplate writes the parts of an e-mail in one language.
type mailTemplate struct {
	text *texttemplate.Template
	html *template.Template
}

// loadMails parses every e-mail in every language. The result is by language and
// name. The plain part begins with the subject, on a line of its own.
func loadMails(from sources, catalogues []*catalogue, b brand) (map[string]map[string]mailTemplate, error) {
	mails := make(map[string]map[string]mailTemplate, len(catalogues))
	for _, c := range catalogues {
		mails[c.tag] = make(map[string]mailTemplate, len(emptyMails))
		for name, empty := range emptyMails {
			parsed, err := loadMail(from, name, c, b)
			if err == nil {
				_, err = parsed.write(empty)
			}
			if err != nil {
				return nil, fmt.Errorf("loading the e-mail %q in the language %q: %w", name, c.tag, err)
			}
			mails[c.tag][name] = parsed
		}
	}
	return mails, nil
}

func loadMail(from sources, name string, c *catalogue, b brand) (mailTemplate, error) {
	functions, english := functionsOf(c, b), c.english()
	layout, plain, formatted := "mail/layout.html", "mail/"+name+".txt", "mail/"+name+".html"
	content, err := from.template(plain)
	if err != nil {
		return mailTemplate{}, err
	}
	text, err := texttemplate.New(from.place(plain)).Funcs(texttemplate.FuncMap(functions)).Parse(content)
	if err == nil {
		err = checkTree(text.Tree, english)
	}
	if err != nil {
		return mailTemplate{}, fmt.Errorf("loading %s: %w", from.place(plain), err)
	}
	html := template.New("").Funcs(functions)
	if err := parseFile(from, html, layout, english); err != nil {
		return mailTemplate{}, err
	}
	if err := parseFile(from, html, formatted, english); err != nil {
		return mailTemplate{}, err
	}
	return mailTemplate{text, html.Lookup(from.place(layout))}, nil
}

// english is the catalogue that this one falls back to.
func (c *catalogue) english() *catalogue {
	if c.fallback != nil {
		return c.fallback
	}
	return c
}

// write fills in a mail.
func (m mailTemplate) write(view any) (Mail, error) {
	var text, html bytes.Buffer
	if err := m.text.Execute(&text, view); err != nil {
		return Mail{}, err
	}
	if err := m.html.Execute(&html, view); err != nil {
		return Mail{}, err
	}
	subject, body, found := strings.Cut(strings.TrimSpace(text.String()), "\n")
	if !found {
		return Mail{}, fmt.Errorf("its plain part has no text after the subject line: %w", fs.ErrInvalid)
	}
	return Mail{Subject: strings.TrimSpace(subject), Text: strings.TrimSpace(body) + "\n", HTML: html.String()}, nil
}

// Mail writes an e-mail in a language, from the view that belongs to it.
func (s *Set) Mail(name, language string, view any) (Mail, error) {
	parsed, there := s.mails[s.catalogue(language).tag][name]
	if !there {
		return Mail{}, fmt.Errorf("writing an e-mail: there is no %q", name)
	}
	written, err := parsed.write(view)
	if err != nil {
		return Mail{}, fmt.Errorf("writing the e-mail %q: %w", name, err)
	}
	return written, nil
}
