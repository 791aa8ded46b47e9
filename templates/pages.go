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
	"undo":        UndoView{},
	"forgotten":   ForgottenView{},
	"signed_in":   SignedInView{},
	"signed_out":  SignedOutView{},
	"send_again":  SendAgainView{},
	"leave_frame": LeaveFrameView{},
	"refused":     RefusedView{},
	"problem":     ProblemView{},

	"account_overview":            OverviewView{},
	"account_kind":                KindView{},
	"account_codes":               KindView{},
	"account_add":                 AddView{},
	"account_rename":              RenameView{},
	"account_remove":              RemoveView{},
	"account_password":            ChangePasswordView{},
	"account_sign_ons":            SignOnsView{},
	"account_devices":             DevicesView{},
	"device_confirm":              DeviceConfirmView{},
	"device_code":                 DeviceCodeView{},
	"device_add":                  AddDeviceView{},
	"device_token":                DeviceTokenView{},
	"account_revoke":              RevokeView{},
	"account_app_passwords":       AppPasswordsView{},
	"account_app_password_add":    AddAppPasswordView{},
	"account_app_password_made":   MadeAppPasswordView{},
	"account_app_password_revoke": RevokeAppPasswordView{},
	"account_activity":            ActivityView{},
	"account_disown":              DisownView{},
	"lost":                        LostView{},
	"access_code":                 AccessCodeView{},
	"new_password":                NewPasswordView{},

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

// loadPages parses every page, puts all of them into one set of templates, and
// makes a copy of that for each language which has the functions of that
// language. The result is by language and page.
func loadPages(from sources, catalogues []*catalogue, b brand) (map[string]map[string]*template.Template, error) {
	functions := functionsOf(catalogues[0], b)
	common := template.New("").Funcs(functions)
	for _, name := range shared {
		if err := parseFile(from, common, name, catalogues[0]); err != nil {
			return nil, err
		}
	}
	all := newLinker(common, from.place(shared[0]), functions)
	places := make(map[string]string) // of the pages
	for _, name := range from.glob("pages/*.html") {
		page := strings.TrimSuffix(path.Base(name), ".html")
		places[page] = from.place(name)
		if emptyView(page) == nil {
			return nil, fmt.Errorf("loading %s: there is no page %q", from.place(name), page)
		}
		parsed := template.New("").Funcs(functions)
		if err := parseFile(from, parsed, name, catalogues[0]); err != nil {
			return nil, err
		}
		if err := all.add(page, parsed); err != nil {
			return nil, fmt.Errorf("loading %s: %w", from.place(name), err)
		}
	}
	for page := range emptyViews {
		if _, there := places[page]; !there {
			return nil, fmt.Errorf("loading pages/%s.html: %w", page, fs.ErrNotExist)
		}
	}
	pages := make(map[string]map[string]*template.Template)
	for _, c := range catalogues {
		var err error
		if pages[c.tag], err = inLanguage(all, places, c, b); err != nil {
			return nil, err
		}
	}
	return pages, nil
}

// parseFile adds a file to the templates, under the name that errors call it
// by. The texts that it names must be there.
func parseFile(from sources, to *template.Template, name string, english *catalogue) error {
	content, err := from.template(name)
	if err != nil {
		return err
	}
	parsed, err := to.New(from.place(name)).Parse(content)
	if err == nil {
		err = checkTexts(parsed, english)
	}
	if err != nil {
		return fmt.Errorf("loading %s: %w", from.place(name), err)
	}
	return nil
}

// inLanguage returns the pages in that language, each tried on an empty view:
// escaping is decided at the first execution and can fail there.
func inLanguage(all *linker, places map[string]string, c *catalogue, b brand) (map[string]*template.Template, error) {
	copied, err := all.linked.Clone()
	if err != nil {
		return nil, fmt.Errorf("copying the pages for the language %q: %w", c.tag, err)
	}
	copied.Funcs(functionsOf(c, b))
	pages := make(map[string]*template.Template, len(places))
	for page, place := range places {
		pages[page] = copied.Lookup(all.nameOf(page))
		if err := pages[page].Execute(io.Discard, emptyView(page)); err != nil {
			return nil, fmt.Errorf("loading %s in the language %q: %w", place, c.tag, err)
		}
	}
	return pages, nil
}
