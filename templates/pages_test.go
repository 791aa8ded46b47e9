package templates

import (
	"fmt"
	"io/fs"
	"maps"
	"net/http"
	"net/http/httptest"
	"path"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/net/html"
)

// eachPage runs the test on every page in every language, with all fields
// filled and with none.
func eachPage(t *testing.T, test func(t *testing.T, page, rendered string)) {
	t.Helper()
	set := newSet(t)
	for kind, views := range map[string]map[string]any{"full": fullViews(), "minimal": minimalViews(t)} {
		for page, view := range views {
			for _, language := range set.Languages() {
				t.Run(page+"/"+kind+"/"+language.Tag, func(t *testing.T) {
					test(t, page, render(t, set, page, inLanguageOf(view, language.Tag)))
				})
			}
		}
	}
}

func TestEachPageIsThere(t *testing.T) {
	set := newSet(t)
	for _, page := range []string{
		"sign_in", "password", "challenge_totp", "challenge_fido", "challenge_backup_code", "account", "enrol_totp", "enrol_fido",
		"enrol_backup_code", "home", "sign_out", "signed_out", "signed_in", "send_again", "leave_frame",
		"refused", "problem",
	} {
		if !set.Has(page) {
			t.Errorf("there is no page %q", page)
		}
		if _, sampled := fullViews()[page]; !sampled {
			t.Errorf("the tests hold no view of %q", page)
		}
	}
	for page := range set.pages[English] {
		if _, sampled := fullViews()[page]; !sampled {
			t.Errorf("the tests hold no view of %q", page)
		}
	}
	if set.Has("layout") || set.Has("") {
		t.Error("a page that doesn't exist is there")
	}
}

func TestEachPageIsWellFormed(t *testing.T) {
	eachPage(t, func(t *testing.T, page, rendered string) {
		if size := len(rendered); size >= 60<<10 {
			t.Errorf("the page has %d bytes, want fewer than 60 KiB", size)
		}
		if strings.Contains(rendered, "ZgotmplZ") {
			t.Error("html/template refused a value of ours")
		}
		doc := parsed(t, rendered)
		if headings := doc.all("h1"); len(headings) != 1 || text(headings[0]) == "" {
			t.Errorf("the page has %d h1, want one with text", len(headings))
		}
		if titles := doc.all("title"); len(titles) == 0 || text(titles[0]) == "" {
			t.Error("the page has no title")
		}
		if language, _ := attribute(doc.all("html")[0], "lang"); language != path.Base(t.Name()) {
			t.Errorf("the language is %q", language)
		}
		metas := make(map[string]string)
		for _, meta := range doc.all("meta") {
			name, _ := attribute(meta, "name")
			metas[name], _ = attribute(meta, "content")
		}
		if metas["robots"] != "noindex" || metas["color-scheme"] != "light dark" || !strings.Contains(metas["viewport"], "width=device-width") {
			t.Errorf("the metas are %v", metas)
		}
	})
}

func TestNothingIsInline(t *testing.T) {
	eachPage(t, func(t *testing.T, page, rendered string) {
		doc := parsed(t, rendered)
		if len(doc.all("style"))+len(doc.all("base"))+len(doc.all("iframe")) > 0 {
			t.Error("the page has an element that its policy forbids")
		}
		for _, script := range doc.all("script") {
			source, _ := attribute(script, "src")
			kind, _ := attribute(script, "type")
			if source == "" || script.FirstChild != nil || kind != "module" {
				t.Errorf("a script isn't a module in a file of its own: %v", script.Attr)
			}
		}
		for _, element := range doc.all("") {
			for _, attribute := range element.Attr {
				if attribute.Key == "style" || strings.HasPrefix(attribute.Key, "on") {
					t.Errorf("<%s> has the attribute %s", element.Data, attribute.Key)
				}
			}
		}
	})
}

// TestTextBrowsersSeeNothingHidden holds that the HTML contains nothing that waits for a
// script to show it: text browsers show it right away.
func TestTextBrowsersSeeNothingHidden(t *testing.T) {
	eachPage(t, func(t *testing.T, page, rendered string) {
		for _, element := range parsedWithoutScripts(t, rendered).all("") {
			_, hidden := attribute(element, "hidden")
			isSeen := text(element) != "" || element.Data == "input" || element.Data == "button"
			if hidden && isSeen || element.Data == "template" {
				t.Errorf("text browsers show the <%s> with %v: put it into a script of the type text/html", element.Data, element.Attr)
			}
		}
	})
}

func TestReferencesLeadSomewhere(t *testing.T) {
	eachPage(t, func(t *testing.T, page, rendered string) {
		doc := parsed(t, rendered)
		seen := make(map[string]bool)
		for _, element := range doc.all("") {
			if id, given := attribute(element, "id"); given && seen[id] {
				t.Errorf("the id %q is there twice", id)
			} else if given {
				seen[id] = true
			}
		}
		for _, element := range doc.all("") {
			for _, name := range []string{"for", "aria-describedby", "data-reveal", "data-copy"} {
				value, _ := attribute(element, name)
				for _, id := range strings.Fields(value) {
					if !seen[id] {
						t.Errorf("%s=%q of <%s> names nothing on the page", name, id, element.Data)
					}
				}
			}
			if href, _ := attribute(element, "href"); strings.HasPrefix(href, "#") && !seen[href[1:]] {
				t.Errorf("<%s href=%q> leads nowhere", element.Data, href)
			}
		}
	})
}

func TestInputsAreLabelled(t *testing.T) {
	eachPage(t, func(t *testing.T, page, rendered string) {
		doc := parsed(t, rendered)
		labelled := make(map[string]bool)
		for _, label := range doc.all("label") {
			id, _ := attribute(label, "for")
			labelled[id] = text(label) != ""
		}
		for _, input := range doc.all("input") {
			kind, _ := attribute(input, "type")
			id, _ := attribute(input, "id")
			if _, hidden := attribute(input, "hidden"); !hidden && kind != "hidden" && !labelled[id] {
				t.Errorf("the input %v has no label", input.Attr)
			}
		}
		for _, button := range doc.all("button") {
			if kind, _ := attribute(button, "type"); kind == "" || text(button) == "" {
				t.Errorf("a button has the type %q and the text %q", kind, text(button))
			}
		}
	})
}

func TestIconsStandBesideWords(t *testing.T) {
	eachPage(t, func(t *testing.T, page, rendered string) {
		doc := parsed(t, rendered)
		for _, use := range doc.all("use") {
			icon := use.Parent
			if hidden, _ := attribute(icon, "aria-hidden"); hidden != "true" {
				t.Error("an icon isn't hidden from assistive tools")
			}
			if text(icon.Parent) == "" {
				t.Errorf("the icon in <%s> stands beside no word", icon.Parent.Data)
			}
		}
	})
}

// forbiddenWords are those that pages.md keeps from people.
var forbiddenWords = regexp.MustCompile(`(?i)\b(factor|credential|ceremony|assertion|token|session|invalid)s?\b|\b(faktor|sitzung)(en)?\b|ungültig|!`)

func TestWordsForPeople(t *testing.T) {
	eachPage(t, func(t *testing.T, page, rendered string) {
		doc := parsed(t, rendered)
		for _, part := range []*html.Node{doc.all("title")[0], doc.all("body")[0]} {
			if word := forbiddenWords.FindString(text(part)); word != "" {
				t.Errorf("the page says %q", word)
			}
		}
	})
}

func TestWhatFormsPost(t *testing.T) {
	const moreTime, language = "/flow/more-time flow", "/language language=de to"
	want := map[string][]string{
		"sign_in":               {"/sign-in name password request shared=yes", "/sign-in/passkey credential request shared= state", language},
		"password":              {"/flow/password flow password", moreTime, language},
		"challenge_totp":        {"/flow/challenge code factor=totp flow passkeys= remember=yes", moreTime, language},
		"challenge_email":       {"/flow/challenge code factor=email flow passkeys= remember=yes", "/flow/send factor=email flow", moreTime, language},
		"challenge_sms":         {"/flow/challenge code factor=sms flow passkeys= remember=yes", "/flow/send factor=sms flow", moreTime, language},
		"enrol_email":           {"/flow/enrol code factor=email flow", "/flow/send factor=email flow", "/flow/enrol address factor=email flow", moreTime, language},
		"enrol_sms":             {"/flow/enrol code factor=sms flow", "/flow/send factor=sms flow", "/flow/enrol address factor=sms flow", moreTime, language},
		"challenge_push":        {"/flow/challenge collect factor=push flow remember=yes", "/flow/send factor=push flow", moreTime, language},
		"enrol_push":            {"/flow/enrol digits factor=push flow", moreTime, language},
		"challenge_backup_code": {"/flow/challenge code factor=backup_code flow passkeys= remember=yes", moreTime, language},
		"challenge_fido":        {"/flow/challenge credential factor=fido flow remember=yes", moreTime, language},
		"account":               {"/flow/account display_name flow name password", moreTime, language},
		"enrol_totp":            {"/flow/enrol code factor=totp flow name", moreTime, language},
		"enrol_fido":            {"/flow/enrol credential factor=fido flow name", moreTime, language},
		"enrol_backup_code":     {"/flow/enrol factor=backup_code flow saved=yes", moreTime, language},
		"account_kind":          {"/account/totp/add", language},
		"account_codes":         {"/account/totp/add", language},
		"account_add":           {"/account/totp/add request", language},
		"account_rename":        {"/account/totp/rename id name", language},
		"account_remove":        {"/account/totp/remove id", language},
		"account_remove_all":    {"/account/totp/remove-all", language},
		"passkey_offer":         {"/account/passkey-offer answer=not_now answer=set_up request to", language},
		"account_password":      {"/account/password current password revoke", language},
		"account_sign_ons":      {"/account/sign-ons/end id", "/account/sign-ons/end-others", "/browsers/forget id", language},
		"account_disown":        {"/account/not-me", language},
		"account_revoke":        {"/account/devices/revoke id", language},
		"device_confirm":        {"/account/devices/confirm request user", language},
		"device_code":           {"/account/devices/code code", language},
		"lost":                  {"/flow/lost factor=totp flow lose lose", moreTime, language},
		"access_code":           {"/flow/access-code code flow", moreTime, language},
		"new_password":          {"/flow/new-password flow password", moreTime, language},
		"sign_out":              {"/.mfa/sign-out", language},
		"forgotten":             {"/forgotten name", language},
		"undo":                  {"/not-me name token", language},

		"account_app_password_add":    {"/account/app-passwords/add host name", language},
		"account_app_password_revoke": {"/account/app-passwords/revoke id", language},
	}
	set := newSet(t)
	for page, forms := range want {
		t.Run(page, func(t *testing.T) {
			if got := formsOf(t, parsed(t, render(t, set, page, fullViews()[page]))); !slices.Equal(got, forms) {
				t.Errorf("the forms are %q, want %q", got, forms)
			}
		})
	}
	for page, view := range minimalViews(t) {
		for _, form := range formsOf(t, parsed(t, render(t, set, page, view))) {
			if strings.HasPrefix(form, "/language") || strings.HasPrefix(form, "/flow/more-time") {
				t.Errorf("%s has the form %q though nothing leads anywhere", page, form)
			}
		}
	}
	for page, view := range fullViews() {
		if got := formsOf(t, parsed(t, render(t, set, page, view))); want[page] == nil && !slices.Equal(got, []string{language}) {
			t.Errorf("%s has the forms %q", page, got)
		}
	}
}

// formsOf returns where each form is posted to, and what is.
func formsOf(t *testing.T, doc document) (forms []string) {
	t.Helper()
	for _, form := range doc.all("form") {
		action, _ := attribute(form, "action")
		if method, _ := attribute(form, "method"); method != "post" {
			t.Errorf("the form of %s goes by %q", action, method)
		}
		forms = append(forms, strings.Join(append([]string{action}, posted(form)...), " "))
	}
	return forms
}

// posted returns the names of what a form sends, with the value where it is
// fixed.
func posted(form *html.Node) []string {
	var fields []string
	for input := range form.Descendants() {
		if input.Data != "input" && input.Data != "button" {
			continue
		}
		name, sent := attribute(input, "name")
		value, _ := attribute(input, "value")
		switch name {
		case "factor", "saved", "shared", "remember", "passkeys", "answer", "language":
			name += "=" + value
		}
		if sent {
			fields = append(fields, name)
		}
	}
	slices.Sort(fields)
	return fields
}

func TestFixedNameIsNotPosted(t *testing.T) {
	doc := parsed(t, render(t, newSet(t), "account", AccountView{Name: "alice", NameFixed: true}))
	if fields := posted(doc.all("form")[0]); !slices.Equal(fields, []string{"display_name", "flow", "password"}) {
		t.Errorf("the form posts %v", fields)
	}
	name := doc.byID("name")
	if value, _ := attribute(name, "value"); value != "alice" {
		t.Errorf("the name shown is %q, want alice", value)
	}
	if _, readonly := attribute(name, "readonly"); !readonly {
		t.Error("the name can be changed")
	}
}

func TestAutocomplete(t *testing.T) {
	want := map[string]map[string]string{
		"sign_in":               {"name": "username", "password": "current-password"},
		"password":              {"password": "current-password"},
		"challenge_totp":        {"code": "one-time-code"},
		"challenge_backup_code": {"code": "one-time-code"},
		"challenge_email":       {"code": "one-time-code"},
		"enrol_push":            {"digits": "one-time-code"},
		"challenge_sms":         {"code": "one-time-code"},
		"enrol_email":           {"code": "one-time-code", "address": "email"},
		"enrol_sms":             {"code": "one-time-code", "address": "tel"},
		"account":               {"name": "username", "display_name": "name", "password": "new-password"},
		"enrol_totp":            {"code": "one-time-code"},
	}
	set := newSet(t)
	for page, inputs := range want {
		doc := parsed(t, render(t, set, page, fullViews()[page]))
		for id, value := range inputs {
			if got, _ := attribute(doc.byID(id), "autocomplete"); got != value {
				t.Errorf("%s: autocomplete of %s is %q, want %q", page, id, got, value)
			}
		}
	}
}

func TestErrorsStandWithTheirInput(t *testing.T) {
	const words = "Some words about what happened."
	about := func(field string) Message { return Message{Field: field, Text: words} }
	tests := []struct {
		name, page string
		view       any
		focus      string // the id of the input that has the focus
		described  string // the id of the element with the words
	}{
		{"sign-in, form", "sign_in", SignInView{Error: about("")}, "name", "form-error"},
		{"sign-in, form, name known", "sign_in", SignInView{Name: "alice", Error: about("")}, "password", "form-error"},
		{"sign-in, name", "sign_in", SignInView{Name: "a b", Error: about("name")}, "name", "name-error"},
		{"sign-in, password", "sign_in", SignInView{Name: "alice", Error: about("password")}, "password", "password-error"},
		{"sign-in, a field that isn't there", "sign_in", SignInView{Error: about("code")}, "name", "form-error"},
		{"password, form", "password", PasswordView{Error: about("")}, "password", "form-error"},
		{"password, field", "password", PasswordView{Error: about("password")}, "password", "password-error"},
		{"challenge, form", "challenge_totp", ChallengeView{Error: about("")}, "code", "form-error"},
		{"challenge, field", "challenge_totp", ChallengeView{Error: about("code")}, "code", "code-error"},
		{"backup code, form", "challenge_backup_code", ChallengeView{Error: about("")}, "code", "form-error"},
		{"backup code, field", "challenge_backup_code", ChallengeView{Error: about("code")}, "code", "code-error"},
		{"account, form", "account", AccountView{Errors: []Message{about("")}}, "name", "form-error"},
		{"account, form, name fixed", "account", AccountView{NameFixed: true, Errors: []Message{about("")}}, "display_name", "form-error"},
		{"account, a field that isn't there", "account", AccountView{Errors: []Message{about("email")}}, "name", "form-error"},
		{"account, display name", "account", AccountView{Errors: []Message{about("display_name")}}, "display_name", "display_name-error"},
		{"account, two", "account", AccountView{Errors: []Message{about("password"), about("display_name")}}, "display_name", "display_name-error"},
		{"account, password", "account", AccountView{Errors: []Message{about("password")}}, "password", "password-error"},
		{"enrolment, form", "enrol_totp", EnrolView{Error: about("")}, "code", "form-error"},
		{"enrolment, field", "enrol_totp", EnrolView{Error: about("code")}, "code", "code-error"},
		{"backup codes, form", "enrol_backup_code", EnrolView{Error: about("")}, "saved", "form-error"},
		{"backup codes, field", "enrol_backup_code", EnrolView{Error: about("saved")}, "saved", "saved-error"},
	}
	set := newSet(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			doc := parsed(t, render(t, set, test.page, test.view))
			if title := text(doc.all("title")[0]); !strings.HasPrefix(title, "Error: ") {
				t.Errorf("the title is %q, want it to begin with the error", title)
			}
			if focused := withAttribute(doc, "autofocus"); !slices.Equal(focused, []string{test.focus}) {
				t.Errorf("the focus is on %v, want on %s", focused, test.focus)
			}
			description, _ := attribute(doc.byID(test.focus), "aria-describedby")
			if !slices.Contains(strings.Fields(description), test.described) {
				t.Errorf("the input is described by %q, want by %s", description, test.described)
			}
			if said := doc.byID(test.described); said == nil || !strings.Contains(text(said), words) {
				t.Error("the words are not where the input says that they are")
			}
			_, marked := attribute(doc.byID(test.focus), "aria-invalid")
			if onField := test.described != "form-error"; onField && !marked {
				t.Error("the input isn't marked as wrong")
			}
		})
	}
}

func withAttribute(doc document, name string) (ids []string) {
	for _, element := range doc.all("") {
		if _, there := attribute(element, name); there {
			id, _ := attribute(element, "id")
			ids = append(ids, id)
		}
	}
	return ids
}

func TestWithoutErrorNothingIsMarked(t *testing.T) {
	set := newSet(t)
	for page, view := range minimalViews(t) {
		rendered := render(t, set, page, view)
		if strings.Contains(rendered, "aria-invalid") || strings.Contains(rendered, "Error: ") {
			t.Errorf("%s: an error is marked where there is none", page)
		}
	}
}

func TestTitleIsActionThenBrand(t *testing.T) {
	doc := parsed(t, render(t, newSet(t), "sign_in", SignInView{Frame: frame}))
	if title := text(doc.all("title")[0]); title != "Sign in · Example Corp" {
		t.Errorf("the title is %q", title)
	}
}

// hostile is what somebody may have put into a name, a host or a path.
const hostile = `x**y**<script>alert(1)</script>"onmouseover="alert(2)" '{{.}} {env.X} %s <!-- ]]> </title></textarea>`

// TestMarkupIsShownAsText (W02) fills every string with markup and compares
// the skeleton of the page with that of the same page filled with plain words.
func TestMarkupIsShownAsText(t *testing.T) {
	set := newSet(t)
	for page, view := range fullViews() {
		for _, language := range set.Languages() {
			t.Run(page+"/"+language.Tag, func(t *testing.T) {
				plain := parsed(t, render(t, set, page, inLanguageOf(filled(view, "plain"), language.Tag)))
				attacked := render(t, set, page, inLanguageOf(filled(view, hostile), language.Tag))
				doc := parsed(t, attacked)
				if got, want := skeleton(doc), skeleton(plain); !slices.Equal(got, want) {
					t.Errorf("markup changed the page:\n got %v\nwant %v", got, want)
				}
				if shown := strings.Join(strings.Fields(hostile), " "); !strings.Contains(text(doc.all("body")[0]), shown) {
					t.Error("the markup isn't shown as it was written")
				}
			})
		}
	}
}

// filled returns a copy of the view with every string in it replaced, but for
// what only the server makes.
func filled(view any, with string) any {
	return filledWhere(view, with, func(_ reflect.Type, field string) bool { return field != "URI" })
}

// filledWhere returns a copy of the view with every string replaced in those
// fields of structs that are chosen.
func filledWhere(view any, with string, chosen func(of reflect.Type, field string) bool) any {
	value := reflect.New(reflect.TypeOf(view)).Elem()
	value.Set(reflect.ValueOf(view))
	fill(value, with, true, chosen)
	return value.Interface()
}

func fill(value reflect.Value, with string, strings bool, chosen func(of reflect.Type, field string) bool) {
	switch value.Kind() {
	case reflect.String:
		if strings && value.Type() == reflect.TypeFor[string]() {
			value.SetString(with)
		}
	case reflect.Interface:
		if !value.IsNil() {
			value.Set(reflect.ValueOf(filledWhere(value.Elem().Interface(), with, chosen)))
		}
	case reflect.Slice:
		copied := reflect.MakeSlice(value.Type(), value.Len(), value.Len())
		reflect.Copy(copied, value)
		value.Set(copied)
		for i := range value.Len() {
			fill(value.Index(i), with, strings, chosen)
		}
	case reflect.Struct:
		if value.Type() == reflect.TypeFor[time.Time]() {
			return
		}
		for i := range value.NumField() {
			fill(value.Field(i), with, chosen(value.Type(), value.Type().Field(i).Name), chosen)
		}
	}
}

func skeleton(doc document) []string {
	var names []string
	for _, element := range doc.all("") {
		name := element.Data
		for _, attribute := range element.Attr {
			name += " " + attribute.Key
		}
		names = append(names, name)
	}
	return names
}

func TestScriptURLsAreRefused(t *testing.T) {
	set := newSet(t)
	for _, url := range []string{"javascript:alert(1)", "data:text/html,x", "vbscript:x", " javascript:alert(1)"} {
		for page, view := range fullViews() {
			for _, element := range parsed(t, render(t, set, page, filled(view, url))).all("") {
				for _, name := range []string{"href", "src", "action"} {
					if value, _ := attribute(element, name); strings.Contains(value, "script:") || strings.HasPrefix(value, "data:") {
						t.Errorf("%s: <%s %s=%q>", page, element.Data, name, value)
					}
				}
			}
		}
	}
}

func TestPagesReferToAssetsThatExist(t *testing.T) {
	set := newSet(t)
	used := make(map[string]bool)
	for page, view := range fullViews() {
		for _, asset := range assetsOf(parsed(t, render(t, set, page, view)), set) {
			used[asset] = true
		}
	}
	for _, match := range assetOfPartial.FindAllStringSubmatch(partials(t), -1) {
		used[match[1]] = true // perhaps only on a page that a factor brings
	}
	for asset := range used {
		w := httptest.NewRecorder()
		set.ServeAsset(w, httptest.NewRequest(http.MethodGet, "/", nil), asset)
		if w.Code != http.StatusOK {
			t.Errorf("%s is answered with %d", asset, w.Code)
		}
	}
	if !used["style.css"] || !used["icon.svg"] {
		t.Errorf("pages use %v only", slices.Sorted(maps.Keys(used)))
	}
	used["session-notice.js"] = true // by pages of apps
	for asset := range set.assets.files {
		if !used[asset] {
			t.Errorf("no page uses %s", asset)
		}
	}
}

// assetOfPartial finds the scripts that partials load.
var assetOfPartial = regexp.MustCompile(`src="{{\.Assets}}/([a-z]+\.js)"`)

func partials(t *testing.T) string {
	t.Helper()
	content, err := fs.ReadFile(embeddedFiles(), "partials.html")
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// imported finds the scripts that a script loads.
var imported = regexp.MustCompile(`from "\./([a-z]+\.js)"`)

// assetsOf returns the files that a browser loads with a page.
func assetsOf(doc document, set *Set) []string {
	var names []string
	for _, element := range doc.all("") {
		for _, name := range []string{"href", "src"} {
			value, _ := attribute(element, name)
			asset, ours := strings.CutPrefix(value, frame.Assets+"/")
			if !ours {
				continue
			}
			names = append(names, asset)
			for _, match := range imported.FindAllSubmatch(set.assets.files[asset], -1) {
				names = append(names, string(match[1]))
			}
		}
	}
	slices.Sort(names)
	return slices.Compact(names)
}

// TestOtherWays holds the ways to go on to the model: a backup code is no choice
// but a way out, and where one choice is left there is no menu.
func TestOtherWays(t *testing.T) {
	key := Choice{Kind: "fido", Text: "Use your security key", URL: "/flow?use=fido"}
	codes := Choice{Standby: true, Kind: "backup_code", Text: "Use a backup code", URL: "/flow?use=backup_code"}
	const lost = "/flow/lost"
	tests := []struct {
		name   string
		others []Choice
		lost   string
		menu   []string // what it leads to
		below  []string
	}{
		{"nothing else", nil, "", nil, nil},
		{"a backup code alone", []Choice{codes}, "", nil, []string{codes.URL}},
		{"lost", nil, lost, nil, []string{lost}},
		{"a key and a backup code", []Choice{codes, key}, lost, []string{key.URL}, []string{codes.URL, lost}},
	}
	set := newSet(t)
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			doc := parsed(t, render(t, set, "challenge_totp", ChallengeView{Others: test.others, Lost: test.lost}))
			var menu, below []string
			for _, link := range doc.all("a") {
				href, _ := attribute(link, "href")
				if list := link.Parent.Parent; list.Parent.Data == "section" {
					menu = append(menu, href)
				} else {
					below = append(below, href)
				}
			}
			if !slices.Equal(menu, test.menu) || !slices.Equal(below, test.below) {
				t.Errorf("the menu leads to %q, and below it is %q", menu, below)
			}
			if hasHeading := len(doc.all("h2")) > 0; hasHeading != (test.menu != nil) {
				t.Errorf("there is a heading: %v", hasHeading)
			}
		})
	}
}

// TestMoreTime wants a polite region for what the script says, in the page's
// words, and a button that works without it.
func TestMoreTime(t *testing.T) {
	set := newSet(t)
	for page, view := range fullViews() {
		if !reflect.ValueOf(view).FieldByName("MoreTime").IsValid() {
			continue
		}
		doc := parsed(t, render(t, set, page, inLanguageOf(view, "de")))
		form := doc.all("form")[len(doc.all("form"))-2] // before the languages
		if seconds, _ := attribute(form, "data-more-time"); seconds != "900" {
			t.Errorf("%s: the last form of the card ends in %q seconds", page, seconds)
		}
		for name, want := range map[string]string{
			"data-left": "Auf dieser Seite haben Sie noch {time}.", "data-given": "Sie haben jetzt mehr Zeit.",
		} {
			if got, _ := attribute(form, name); got != want {
				t.Errorf("%s: %s is %q, want %q", page, name, got, want)
			}
		}
		if !slices.ContainsFunc(doc.all("p"), func(p *html.Node) bool {
			role, _ := attribute(p, "role")
			return role == "status" && p.Parent == form
		}) {
			t.Errorf("%s: nothing would be read out", page)
		}
		if text(form) != "Mehr Zeit" {
			t.Errorf("%s: the button says %q", page, text(form))
		}
		if !slices.Contains(assetsOf(doc, set), "moretime.js") {
			t.Errorf("%s doesn't load the script", page)
		}
	}
}

func TestEnrolTOTP(t *testing.T) {
	set := newSet(t)
	doc := parsed(t, render(t, set, "enrol_totp", fullViews()["enrol_totp"]))
	summary := doc.all("summary")
	if len(summary) != 1 || text(summary[0]) != "View QR code" {
		t.Fatal("there is no disclosure that says View QR code")
	}
	if got := text(doc.byID("key")); got != "JBSW Y3DP" {
		t.Errorf("the key shown is %q", got)
	}
	links := 0
	for _, link := range doc.all("a") {
		if href, _ := attribute(link, "href"); href == "otpauth://totp/Example:alice?secret=JBSWY3DP" {
			links++
		}
	}
	if links != 1 {
		t.Errorf("%d links open the authenticator app, want one", links)
	}
	view := EnrolView{Ceremony: TOTPEnrolment{URI: "javascript:alert(1)"}}
	if err := set.Render(httptest.NewRecorder(), "enrol_totp", view); err == nil {
		t.Error("a link that isn't otpauth was let through")
	}
}

func TestDigitsFollowTheCeremony(t *testing.T) {
	set := newSet(t)
	tests := []struct {
		page string
		view any
		want string
	}{
		{"challenge_totp", ChallengeView{}, "6"},
		{"challenge_totp", ChallengeView{Ceremony: TOTPChallenge{Digits: 8}}, "8"},
		{"enrol_totp", EnrolView{}, "6"},
		{"enrol_totp", EnrolView{Ceremony: &TOTPEnrolment{Digits: 8}}, "8"},
	}
	for _, test := range tests {
		code := parsed(t, render(t, set, test.page, test.view)).byID("code")
		if got, _ := attribute(code, "data-digits"); got != test.want {
			t.Errorf("%s waits for %s digits, want %s", test.page, got, test.want)
		}
	}
}

// TestCodesWaitForAChoice has a checkbox below the code: it could not be
// ticked if the sixth digit sent the form.
func TestCodesWaitForAChoice(t *testing.T) {
	doc := parsed(t, render(t, newSet(t), "challenge_totp", ChallengeView{Remember: "30 days"}))
	if digits, waits := attribute(doc.byID("code"), "data-digits"); waits {
		t.Errorf("the form is sent after %s digits", digits)
	}
}

func TestTicksAreKept(t *testing.T) {
	set := newSet(t)
	for _, test := range []struct {
		page, id string
		view     func(ticked bool) any
	}{
		{"sign_in", "shared", func(ticked bool) any { return SignInView{Shared: ticked} }},
		{"challenge_totp", "remember", func(ticked bool) any { return ChallengeView{Remember: "30 days", Remembering: ticked} }},
		{"challenge_backup_code", "remember", func(ticked bool) any { return ChallengeView{Remember: "30 days", Remembering: ticked} }},
	} {
		for _, ticked := range []bool{false, true} {
			box := parsed(t, render(t, set, test.page, test.view(ticked))).byID(test.id)
			if _, checked := attribute(box, "checked"); checked != ticked {
				t.Errorf("%s on %s: ticked %t, want %t", test.id, test.page, checked, ticked)
			}
		}
	}
	for _, page := range []string{"challenge_totp", "challenge_backup_code"} {
		if parsed(t, render(t, set, page, ChallengeView{Remembering: true})).byID("remember") != nil {
			t.Errorf("%s offers what it wasn't told to", page)
		}
	}
}

func TestWaitingIsSaidWithoutScripts(t *testing.T) {
	rendered := render(t, newSet(t), "problem", ProblemView{RetryAfter: 3*time.Minute + time.Second, Action: "Try again", ActionURL: "/"})
	doc := parsed(t, rendered)
	if said := text(doc.byID("countdown")); said != "Try again in 4 minutes." {
		t.Errorf("the page says %q", said)
	}
	if left, _ := attribute(doc.byID("countdown"), "data-seconds"); left != "181" {
		t.Errorf("it counts from %s seconds, want 181", left)
	}
}

// TestSendingLeadsOn expects that a page on which nothing but sending leads on has it as
// its one primary button.
func TestSendingLeadsOn(t *testing.T) {
	set := newSet(t)
	waiting, ok := fullViews()["challenge_push"].(ChallengeView)
	if !ok {
		t.Fatal("there is no view of a request to a phone")
	}
	over := waiting
	over.Waiting, over.Ceremony, over.Error = nil, nil, Message{}
	for name, test := range map[string]struct {
		view  ChallengeView
		class string
	}{"waiting": {waiting, "secondary"}, "over": {over, "primary"}} {
		for _, button := range parsed(t, render(t, set, "challenge_push", test.view)).all("button") {
			if class, _ := attribute(button, "class"); text(button) == "Send it again" && class != test.class {
				t.Errorf("%s: the button is %s, want %s", name, class, test.class)
			}
		}
	}
}

func TestStep(t *testing.T) {
	set := newSet(t)
	for step, want := range map[Step]bool{{2, 3}: true, {}: false} {
		rendered := render(t, set, "enrol_totp", EnrolView{Step: step})
		if got := strings.Contains(rendered, fmt.Sprintf("Step %d of %d", step.Number, step.Of)); got != want {
			t.Errorf("%v is shown: %t, want %t", step, got, want)
		}
	}
}
