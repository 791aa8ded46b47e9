package test

import (
	"encoding/json"
	"strings"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// hands work the pages by mouse or by keyboard alone, so that one path can be
// walked in each way.
type hands struct {
	*visitor
	keyboard bool
}

// walks are those in which the main paths are walked.
var walks = []struct {
	name     string
	options  harness.BrowserOptions
	keyboard bool
}{
	{name: "by mouse"},
	{name: "by keyboard alone", keyboard: true},
	{name: "without JavaScript", options: harness.BrowserOptions{NoJavaScript: true}},
}

// inspected inspects a page in the walk by mouse alone: once is enough.
func (h hands) inspected(name string) {
	h.t.Helper()
	if !h.keyboard && h.scripted() {
		h.inspect(name)
	}
}

func (v *visitor) scripted() bool {
	v.t.Helper()
	return v.Evaluate(`String(matchMedia("(scripting: none)").matches)`) == "false"
}

// press presses the link or button with the text, and waits for where it leads.
func (h hands) press(text string) {
	h.t.Helper()
	if !h.keyboard {
		h.ClickThrough(text)
		return
	}
	h.reach(text)
	h.Through(func() { h.Press(harness.KeyEnter) })
}

// open opens what stands on the same page.
func (h hands) open(text string) {
	h.t.Helper()
	if !h.keyboard {
		h.Click(text)
		return
	}
	h.reach(text)
	h.Press(harness.KeyEnter)
}

// reach presses Tab until what has the text has the focus.
func (h hands) reach(text string) {
	h.t.Helper()
	quoted, _ := json.Marshal(text) // a string always encodes
	h.tabUntil(text, `document.activeElement.innerText?.replace(/\s+/g, " ").trim() === `+string(quoted))
}

// tabUntil presses Tab until a condition of the page holds. Each stop on the
// way has to be seen.
func (h hands) tabUntil(what, condition string) {
	h.t.Helper()
	for range 80 {
		if h.Evaluate(`String(`+condition+`)`) == "true" {
			return
		}
		h.Press(harness.KeyTab)
		if h.Evaluate(`String(document.activeElement === document.body)`) != "true" { // past the end
			h.expectRing()
		}
	}
	h.t.Fatalf("Tab doesn't lead to %s", what)
}

// write types into an input in place of what is there.
func (h hands) write(id, text string) {
	h.t.Helper()
	if !h.keyboard {
		h.FillSelector("#"+id, text)
		return
	}
	h.tabUntil(id, `document.activeElement.id === "`+id+`"`)
	h.Evaluate(`(document.activeElement.select(), "")`) // Ctrl+A, on systems that have it
	h.Press(text)
}

// tick ticks a box, and does nothing to one that is ticked.
func (h hands) tick(id string) {
	h.t.Helper()
	if h.Evaluate(`String(document.getElementById("`+id+`").checked)`) == "true" {
		return
	}
	if !h.keyboard {
		h.ClickSelector("#" + id)
		return
	}
	h.tabUntil(id, `document.activeElement.id === "`+id+`"`)
	h.Press(" ")
}

// send types a code, which sends itself where scripts can and nothing else is
// to be chosen.
func (h hands) send(code string) {
	h.t.Helper()
	itself := h.scripted() && h.Evaluate(`String(document.getElementById("code").hasAttribute("data-digits"))`) == "true"
	h.Through(func() {
		h.write("code", code)
		if !itself {
			h.Press(harness.KeyEnter)
		}
	})
}

// name shows the password at the sign-in form.
func (h hands) name(p *scene.Person) {
	h.t.Helper()
	h.AwaitH1("Sign in")
	h.write("name", p.Name)
	h.write("password", p.Password)
	h.press("Sign in")
}

// enter signs in with the password and a code of the authenticator.
func (h hands) enter(p *scene.Person, address string) {
	h.t.Helper()
	h.Navigate(address)
	h.name(p)
	h.AwaitH1("Enter the code from your app")
	h.send(p.Code())
}

// pair sets up the authenticator that the page shows.
func (h hands) pair(p *scene.Person, name string) {
	h.t.Helper()
	h.AwaitH1("Set up your authenticator app")
	if h.Evaluate(`String(document.querySelector(".qr").checkVisibility())`) == "false" { // it stays open after a wrong code
		h.open("View QR code")
	}
	h.eventually("the QR code", `String(document.querySelector(".qr").checkVisibility())`, "true")
	p.Paired(strings.ReplaceAll(h.Evaluate(`document.getElementById("key").innerText`), " ", ""))
	h.write("name", name)
	h.send(p.Code())
}
