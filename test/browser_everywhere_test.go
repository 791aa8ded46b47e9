package test

import (
	"encoding/json"
	"maps"
	"net/url"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/BurntSushi/toml"
	"github.com/chromedp/chromedp"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// TestBrowserEverywhere holds each page to what holds for every page: what
// assistive tools are told, the order of Tab, nothing that jumps, the weight,
// and both languages.
func TestBrowserEverywhere(t *testing.T) {
	t.Parallel()
	s := startOwnSuite(t)
	places := everyPlace(t, s)
	t.Run("in English", func(t *testing.T) {
		for _, p := range places {
			p.visitor.expectLight(t, p)
			p.visitor.expectAccessible(t, p, "en")
			p.visitor.expectTabOrder(t, p)
		}
	})
	t.Run("in German, on a phone", func(t *testing.T) {
		english := englishTexts(t)
		inGerman := map[*visitor]bool{}
		for _, p := range places {
			if !inGerman[p.visitor] {
				p.visitor.chooseGerman(t, p)
				inGerman[p.visitor] = true
			}
			p.visitor.Navigate(p.address)
			p.visitor.expectGerman(t, p, english)
			p.visitor.expectFits(t, p)
			p.visitor.expectReachable()
			p.visitor.expectAccessible(t, p, "de")
			if p.visitor.Evaluate(`String(document.querySelector("table.list") !== null)`) == "true" { // cards, on a phone
				p.visitor.inspect("120-de" + p.name)
			}
		}
	})
	t.Run("going on in German", func(t *testing.T) { testGoingOnInGerman(t, s) })
	t.Run("more time", func(t *testing.T) { testMoreTime(t, s) })
	t.Run("more time, without JavaScript", func(t *testing.T) { testMoreTimePlainly(t, s) })
}

// place is a page that a browser can open by its address.
type place struct {
	name, address string
	visitor       *visitor
}

// everyPlace brings browsers to where each page can be had by its address.
func everyPlace(t *testing.T, s *suite) []place {
	t.Helper()
	ann := s.Administrator("ann")
	member := hands{visitor: s.settled(t, ann, harness.BrowserOptions{})}
	var places []place
	for _, path := range []string{
		"/", "/account", authenticators, authenticators + "/add", backupCodes, backupCodes + "/add", "/account/password",
		appPasswords, signOns, activity, "/account/not-me", "/help/totp", "/help/backup_code", "/help/password", "/sign-out",
	} {
		places = append(places, place{strings.ReplaceAll(path, "/", "-"), s.At("login", path), member.visitor})
	}
	here := func(h hands, name string) { places = append(places, place{name, h.URL().String(), h.visitor}) }
	member.Navigate(s.At("login", authenticators))
	member.press("Rename Authenticator app")
	member.write("name", "iPhone 27")
	member.press("Save")
	for _, act := range []string{"Rename", "Remove"} {
		member.press(act + " iPhone 27")
		here(member, strings.ToLower(act))
		member.press("Go back without changing anything")
	}
	member.press("Add an authenticator app")
	s.Canary(strings.ReplaceAll(member.Evaluate(`document.getElementById("key").textContent`), " ", ""))
	here(member, "enrol-totp")
	member.Navigate(s.At("login", backupCodes))
	member.press("Make new backup codes")
	s.Canary(backupCode.FindAllString(member.Text(), -1)...)
	here(member, "enrol-codes")

	stranger := hands{visitor: s.browser(t, harness.BrowserOptions{})}
	stranger.Navigate(s.At("app", "/"))
	here(stranger, "sign-in")
	stranger.name(ann)
	here(stranger, "code")
	stranger.press("Use a backup code")
	here(stranger, "backup-code")
	stranger.press("I can't use this")
	here(stranger, "lost")
	for _, path := range []string{"/flow?id=gone", "/sign-in?request=damaged"} {
		places = append(places, place{strings.NewReplacer("/", "", "?", "-", "=", "-").Replace(path), s.At("login", path), stranger.visitor})
	}
	return append(places, atAccessCode(t, s, ann), atNewPassword(t, s))
}

func atAccessCode(t *testing.T, s *suite, p *scene.Person) place {
	t.Helper()
	h := hands{visitor: s.browser(t, harness.BrowserOptions{})}
	h.Navigate(s.At("app", "/"))
	h.name(p)
	h.press("I can't use this")
	h.tick("lose-0")
	h.tick("lose-1")
	h.press("Replace it")
	h.AwaitH1("Enter the code from your administrator")
	return place{"access-code", h.URL().String(), h.visitor}
}

func atNewPassword(t *testing.T, s *suite) place {
	t.Helper()
	bo := s.Invited("bo")
	h := hands{visitor: s.settled(t, bo, harness.BrowserOptions{})}
	h.Navigate(s.At("login", "/account/not-me"))
	h.press("End everything")
	h.enter(bo, s.At("login", "/"))
	h.AwaitH1("Choose a new password")
	return place{"new-password", h.URL().String(), h.visitor}
}

// mostBytes is what a page may weigh with all that it loads.
const mostBytes = 60_000

// expectLight opens a place with an empty cache, and fails where it is heavy
// or jumps while it is drawn.
func (v *visitor) expectLight(t *testing.T, p place) {
	t.Helper()
	if bytes := v.Weigh(p.address); bytes > mostBytes || bytes < 1000 {
		t.Errorf("%s weighs %d bytes", p.name, bytes)
	}
	if shift, moved := v.Shift(); shift > 0.001 {
		t.Errorf("%s jumps by %g: %q", p.name, shift, moved)
	}
}

// expectAccessible holds what assistive tools are told of the page.
func (v *visitor) expectAccessible(t *testing.T, p place, language string) {
	t.Helper()
	if got := v.Evaluate(`document.documentElement.lang`); got != language {
		t.Errorf("%s is in %q", p.name, got)
	}
	count, level, leads := map[string]int{}, 0, map[string]string{}
	for _, e := range v.Accessibility() {
		count[e.Role]++
		switch e.Role {
		case "heading":
			now, _ := strconv.Atoi(e.Properties["level"])
			if now > level+1 {
				t.Errorf("%s: the heading %q of level %d follows level %d", p.name, e.Name, now, level)
			}
			level = now
		case "textbox", "checkbox", "meter", "img", "image", "navigation":
			if e.Name == "" {
				t.Errorf("%s: a %s has no name", p.name, e.Role)
			}
		case "link", "button", "DisclosureTriangle":
			target, known := leads[e.Name]
			if e.Name == "" || known && (e.Role != "link" || target != e.Properties["url"]) {
				t.Errorf("%s: a %s has the name %q, which tells it from no other", p.name, e.Role, e.Name)
			}
			leads[e.Name] = e.Properties["url"]
		}
		if live := e.Properties["live"]; live == "assertive" || e.Role == "status" && live != "polite" {
			t.Errorf("%s: a %s is announced %q", p.name, e.Role, live)
		}
	}
	if count["main"] != 1 || count["heading"] == 0 {
		t.Errorf("%s has %d main landmarks and %d headings", p.name, count["main"], count["heading"])
	}
}

// jsStops counts what Tab has to reach, and notes in which order it does.
const jsStops = `(() => {
	const stops = [...document.querySelectorAll("a[href], button, input:not([type=hidden]), summary")]
		.filter(e => !e.disabled && e.checkVisibility({visibilityProperty: true}));
	window.harnessOrder = [];
	document.addEventListener("focusin", e => {
		const stop = stops.indexOf(e.target);
		if (window.harnessOrder.at(-1) !== stop) { // a window that is focused again tells of the same stop
			window.harnessOrder.push(stop);
		}
	});
	document.activeElement.blur();
	return String(stops.length);
})()`

// expectTabOrder presses Tab once around the page, and fails unless each link,
// button and input has its turn, in their order.
func (v *visitor) expectTabOrder(t *testing.T, p place) {
	t.Helper()
	count, err := strconv.Atoi(v.Evaluate(jsStops))
	if err != nil || count == 0 {
		t.Fatalf("%s has nothing for Tab to stop at: %v", p.name, err)
	}
	v.Press(strings.Repeat(harness.KeyTab, 2*count))
	var order []int
	if err := json.Unmarshal([]byte(v.Evaluate(`JSON.stringify(harnessOrder)`)), &order); err != nil {
		t.Fatalf("reading where Tab led on %s: %v", p.name, err)
	}
	reached := map[int]bool{}
	for i, stop := range order {
		reached[stop] = true
		if i > 0 && stop != (order[i-1]+1)%count {
			t.Errorf("%s: Tab goes through its %d stops as %v", p.name, count, order)
			return
		}
	}
	if len(reached) != count {
		t.Errorf("%s: Tab reaches %d of %d stops: %v", p.name, len(reached), count, order)
	}
}

// chooseGerman presses the button of the other language, on a phone from now
// on, and comes back to the same page.
func (v *visitor) chooseGerman(t *testing.T, p place) {
	t.Helper()
	v.width, v.height = 390, 844
	v.do(chromedp.EmulateViewport(v.width, v.height))
	v.Navigate(p.address)
	if lang := v.Evaluate(`document.querySelector(".languages button").lang`); lang != "de" {
		t.Errorf("the button of the other language is in %q", lang)
	}
	v.ClickThrough("Deutsch")
	v.expectAt(p.address)
}

// testGoingOnInGerman chooses German at the sign-in form, and finds it
// everywhere after that, at the gates too.
func testGoingOnInGerman(t *testing.T, s *suite) {
	eva := s.Invited("eva")
	h := hands{visitor: s.browser(t, harness.BrowserOptions{})}
	h.Navigate(s.At("app", "/"))
	h.AwaitH1("Sign in")
	h.press("Deutsch")
	h.AwaitH1("Anmelden")
	h.AwaitText("um app.localhost zu öffnen")
	h.write("name", "eva")
	h.write("password", "wrong")
	h.press("Anmelden")
	h.AwaitText("Name und Passwort passen nicht zusammen.")
	h.write("password", eva.Password)
	h.press("Anmelden")
	h.AwaitH1("Code aus Ihrer App eingeben")
	h.send(eva.Code())
	h.expectAt(s.At("app", "/"))
	h.Navigate(s.At("app", "/.mfa/sign-out"))
	h.AwaitH1("Abmelden")
	h.Navigate(s.At("login", "/account"))
	h.AwaitH1("Ihr Konto")
	h.press("English")
	h.AwaitH1("Your account")
}

// jsTexts is what a page says anywhere: its texts, and what is read out or
// shown by scripts.
const jsTexts = `(() => {
	const texts = [document.title];
	const here = e => e.closest("[lang]") === document.documentElement;
	const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
	while (walker.nextNode()) if (here(walker.currentNode.parentElement)) texts.push(walker.currentNode.textContent);
	for (const e of document.querySelectorAll("*"))
		for (const a of e.attributes)
			if (/^(aria-label|alt|title|placeholder|data-(?!copy$|reveal$).*)$/.test(a.name)) texts.push(a.value);
	return JSON.stringify(texts.map(t => t.replace(/\s+/g, " ").trim()).filter(t => t));
})()`

// expectGerman fails where a page says something in English.
func (v *visitor) expectGerman(t *testing.T, p place, english map[string]bool) {
	t.Helper()
	var texts []string
	if err := json.Unmarshal([]byte(v.Evaluate(jsTexts)), &texts); err != nil {
		t.Fatalf("reading the texts of %s: %v", p.name, err)
	}
	for _, text := range texts {
		for piece := range english {
			long := strings.Contains(piece, " ") && utf8.RuneCountInString(piece) > 8
			if text == piece || long && strings.Contains(text, piece) {
				t.Errorf("%s says %q in German, which has %q", p.name, text, piece)
			}
		}
	}
}

// placeholder parts a text of a catalogue, as does what sets a part of it off.
var placeholder = regexp.MustCompile(`\{\{[^}]*\}\}|\*\*`)

// englishTexts are the pieces of the English catalogue, but for single words
// that are the same in German.
func englishTexts(t *testing.T) map[string]bool {
	t.Helper()
	pieces := catalogue(t, "en")
	for piece := range catalogue(t, "de") {
		if !strings.Contains(piece, " ") {
			delete(pieces, piece)
		}
	}
	if len(pieces) < 100 {
		t.Fatalf("the English catalogue has %d texts", len(pieces))
	}
	return pieces
}

func catalogue(t *testing.T, language string) map[string]bool {
	t.Helper()
	files, err := filepath.Glob("../templates/files/text/" + language + "/*.toml")
	if err != nil || len(files) == 0 {
		t.Fatalf("finding the catalogue in %q: %v", language, err)
	}
	pieces := map[string]bool{}
	for _, file := range files {
		var texts map[string]any
		if _, err := toml.DecodeFile(file, &texts); err != nil {
			t.Fatalf("reading %s: %v", file, err)
		}
		collectPieces(texts, pieces)
	}
	return pieces
}

func collectPieces(texts map[string]any, pieces map[string]bool) {
	for value := range maps.Values(texts) {
		switch value := value.(type) {
		case map[string]any:
			collectPieces(value, pieces)
		case string:
			for _, piece := range placeholder.Split(value, -1) {
				if piece = strings.TrimSpace(piece); len(piece) > 2 {
					pieces[piece] = true
				}
			}
		}
	}
}

// expectFits fails where something reaches beyond the screen, or is cut off.
func (v *visitor) expectFits(t *testing.T, p place) {
	t.Helper()
	wrong := v.Evaluate(`[...document.querySelectorAll("body *")]
		.filter(e => e.checkVisibility({visibilityProperty: true}) && !e.closest("svg, .visually-hidden, thead"))
		.filter(e => {
			const box = e.getBoundingClientRect(), style = getComputedStyle(e);
			const cut = style.overflowX !== "visible" && e.scrollWidth > e.clientWidth + 1 && e.tagName !== "INPUT";
			return box.width > 0 && (box.left < -0.5 || box.right > innerWidth + 0.5 || cut);
		})
		.map(e => e.outerHTML.slice(0, 200)).join("\n")`)
	if wrong != "" {
		t.Errorf("%s doesn't fit a phone: %s", p.name, wrong)
	}
}

// testMoreTime waits, by the page's own clock, until a sign-in is about to run
// out, and asks for more time with something typed.
func testMoreTime(t *testing.T, s *suite) {
	h := hands{visitor: s.browser(t, harness.BrowserOptions{})}
	h.HoldClock()
	h.toSecondStep(t, s, "cyd")
	button := `document.querySelector(".more-time button")`
	h.eventually("the button to be hidden", `String(`+button+`.checkVisibility({visibilityProperty: true}))`, "false")
	seconds, err := strconv.Atoi(h.Evaluate(`document.querySelector(".more-time").dataset.moreTime`))
	if err != nil || seconds < 14*60 {
		t.Fatalf("the page has %d seconds: %v", seconds, err)
	}
	before := time.Duration(seconds)*time.Second - 2*time.Minute
	h.Pass(before - 20*time.Second)
	h.expectHint("")
	h.Pass(25 * time.Second)
	h.AwaitText("left on this page.")
	h.eventually("the button", `String(`+button+`.checkVisibility({visibilityProperty: true}))`, "true")
	h.inspect("110-more-time")

	h.write("code", "123")
	posts := s.posts("/flow/more-time")
	h.Click("More time")
	h.AwaitText("You have more time.")
	s.expectOneMorePost(t, "/flow/more-time", posts)
	h.expectCursor("code")
	if typed := h.Evaluate(`document.getElementById("code").value`); typed != "123" {
		t.Errorf("%q is left of what was typed", typed)
	}
	h.Pass(before - 20*time.Second)
	h.expectHint("You have more time.")
	h.Pass(3 * time.Minute)
	h.AwaitText("Your time is up. Start over.")
}

// expectHint fails unless the page says that of the time.
func (h hands) expectHint(want string) {
	h.t.Helper()
	if said := h.Evaluate(`document.querySelector(".more-time [role=status]").innerText`); said != want {
		h.t.Errorf("the page says %q of the time, want %q", said, want)
	}
}

// toSecondStep shows the password of somebody new.
func (h hands) toSecondStep(t *testing.T, s *suite, name string) {
	t.Helper()
	p := s.Invited(name)
	h.Navigate(s.At("app", "/"))
	h.name(p)
	h.AwaitH1("Enter the code from your app")
}

// testMoreTimePlainly finds the button without scripts, and comes back to the
// same page by it.
func testMoreTimePlainly(t *testing.T, s *suite) {
	h := hands{visitor: s.browser(t, harness.BrowserOptions{NoJavaScript: true})}
	h.toSecondStep(t, s, "dee")
	at := h.URL()
	h.press("More time")
	h.AwaitH1("Enter the code from your app")
	h.AwaitURL("the same page", func(u *url.URL) bool { return u.Path == at.Path && slices.Equal(u.Query()["id"], at.Query()["id"]) })
}
