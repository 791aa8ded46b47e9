package templates

import (
	"fmt"
	"html/template"
	"io"
	"io/fs"
	"path"
	"strings"
)

// shared are the files that every page is parsed together with. The first one
// is what a rendered page begins with.
var shared = []string{"layout.html", "partials.html", "partials_account.html", "icons.html"}

// emptyViews holds an empty view of each page, for trying the page when it is
// loaded. Those of factors are told by their names' beginning.
var emptyViews = map[string]any{
	"sign_in":     SignInView{},
	"password":    PasswordView{},
	"account":     AccountView{},
	"home":        HomeView{},
	"sign_out":    SignOutView{},
	"signed_in":   SignedInView{},
	"signed_out":  SignedOutView{},
	"send_again":  SendAgainView{},
	"leave_frame": LeaveFrameView{},
	"refused":     RefusedView{},
	"problem":     ProblemView{},

	"account_overview": OverviewView{},
	"account_kind":     KindView{},
	"account_codes":    KindView{},
	"account_add":      AddView{},
	"account_rename":   RenameView{},
	"account_remove":   RemoveView{},
	"account_password": ChangePasswordView{},
	"account_sign_ons": SignOnsView{},
	"account_devices":  DevicesView{},
	"account_revoke":   RevokeView{},
	"account_activity": ActivityView{},
	"account_disown":   DisownView{},
	"lost":             LostView{},
	"access_code":      AccessCodeView{},
	"new_password":     NewPasswordView{},

	"account_remove_all": RemoveAllView{},
	"passkey_offer":      PasskeyOfferView{},
}

// emptyView returns an empty view of the page; nil: there is no such page.
func emptyView(page string) any {
	switch {
	case strings.HasPrefix(page, "challenge_"):
		return ChallengeView{}
	case strings.HasPrefix(page, "enrol_"):
		return EnrolView{}
	case strings.HasPrefix(page, "help_"):
		return HelpView{}
	}
	return emptyViews[page]
}

// loadPages parses every page, and makes a copy of it for each language that
// has the functions of that language.
func loadPages(from sources, catalogues []*catalogue, b brand) (map[string]map[string]*template.Template, error) {
	base, err := loadShared(from, functionsOf(catalogues[0], b))
	if err != nil {
		return nil, err
	}
	pages := make(map[string]map[string]*template.Template)
	for _, c := range catalogues {
		pages[c.tag] = make(map[string]*template.Template)
	}
	for _, name := range from.glob("pages/*.html") {
		page := strings.TrimSuffix(path.Base(name), ".html")
		parsed, err := parsePage(from, base, name, catalogues[0])
		if err != nil {
			return nil, err
		}
		for _, c := range catalogues {
			if pages[c.tag][page], err = inLanguage(parsed, page, c, b); err != nil {
				return nil, fmt.Errorf("loading %s in the language %q: %w", from.place(name), c.tag, err)
			}
		}
	}
	for page := range emptyViews {
		if pages[English][page] == nil {
			return nil, fmt.Errorf("loading pages/%s.html: %w", page, fs.ErrNotExist)
		}
	}
	return pages, nil
}

func loadShared(from sources, functions template.FuncMap) (*template.Template, error) {
	base := template.New("base").Funcs(functions)
	for _, name := range shared {
		if err := parseFile(from, base, name); err != nil {
			return nil, err
		}
	}
	return base, nil
}

// parseFile adds a file to the templates, under the name that errors call it by.
func parseFile(from sources, to *template.Template, name string) error {
	content, err := from.template(name)
	if err != nil {
		return err
	}
	if _, err := to.New(from.place(name)).Parse(content); err != nil {
		return fmt.Errorf("loading %s: %w", from.place(name), err)
	}
	return nil
}

// parsePage returns the page with what it shares, not yet executed, so that it
// can be copied.
func parsePage(from sources, base *template.Template, name string, english *catalogue) (*template.Template, error) {
	parsed, err := base.Clone()
	if err != nil {
		return nil, fmt.Errorf("loading %s: %w", from.place(name), err)
	}
	if err := parseFile(from, parsed, name); err != nil {
		return nil, err
	}
	if err := checkTexts(parsed, english); err != nil {
		return nil, fmt.Errorf("loading %s: %w", from.place(name), err)
	}
	return parsed.Lookup(from.place(shared[0])), nil
}

// inLanguage returns a copy of the page in that language, tried on an empty
// view: escaping is decided at the first execution and can fail there.
func inLanguage(parsed *template.Template, page string, c *catalogue, b brand) (*template.Template, error) {
	view := emptyView(page)
	if view == nil {
		return nil, fmt.Errorf("there is no page %q", page)
	}
	made, err := parsed.Clone()
	if err != nil {
		return nil, err
	}
	made.Funcs(functionsOf(c, b))
	return made, made.Execute(io.Discard, view)
}
