package test

import (
	"context"
	"encoding/json"
	"fmt"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/input"
	"github.com/chromedp/chromedp"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// patience bounds every command to the browser; nothing waits for it to pass.
const patience = 60 * time.Second

// visitor is somebody in front of a browser, whose console has to stay clean.
type visitor struct {
	*harness.Browser
	t             *testing.T
	width, height int64
}

// visit starts a browser of its own, with an empty profile.
func visit(t *testing.T, server *harness.Server, options harness.BrowserOptions) *visitor {
	t.Helper()
	return watched(t, harness.NewBrowser(t, server, options), options)
}

// another is somebody else at another machine.
func (v *visitor) another(options harness.BrowserOptions) *visitor {
	v.t.Helper()
	return watched(v.t, v.Person(options), options)
}

// refusal is how Chromium's console notes the status of a page that refuses
// something, which is as it should be. A 404 isn't among them: no page of ours
// may miss a style sheet, a script or an icon.
var refusal = regexp.MustCompile(`the server responded with a status of (400|403|409|410|422|429) `)

func watched(t *testing.T, b *harness.Browser, options harness.BrowserOptions) *visitor {
	t.Helper()
	v := &visitor{Browser: b, t: t, width: 1280, height: 800}
	if options.Mobile {
		v.width, v.height = 390, 844
	}
	if options.Width != 0 {
		v.width, v.height = options.Width, options.Height
	}
	// Of several tabs only one has the focus, and shows it, unless each is told
	// that it has.
	v.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetFocusEmulationEnabled, emulation.SetFocusEmulationEnabledParams{Enabled: true})
		return err
	}))
	t.Cleanup(func() {
		for _, message := range b.ConsoleErrors() {
			if !refusal.MatchString(message) {
				t.Errorf("the browser's console: %s", message)
			}
		}
	})
	return v
}

// do runs commands that harness.Browser has no method for.
func (v *visitor) do(steps ...chromedp.Action[chromedp.Void]) {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.Context(), patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		v.t.Fatalf("commanding the browser: %v", err)
	}
}

// promised evaluates an expression that yields a promise of text.
func (v *visitor) promised(expression string) string {
	v.t.Helper()
	ctx, cancel := context.WithTimeout(v.Context(), patience)
	defer cancel()
	text, err := chromedp.Run(ctx, chromedp.Evaluate[string](expression, chromedp.EvalAwaitPromise))
	if err != nil {
		v.t.Fatalf("evaluating %.100s: %v", expression, err)
	}
	return text
}

// eventually waits until an expression yields the text.
func (v *visitor) eventually(what, expression, want string) {
	v.t.Helper()
	harness.Eventually(v.t, patience, what, func() bool { return v.Evaluate(expression) == want })
}

// paste inserts text where the cursor is, all at once.
func (v *visitor) paste(text string) {
	v.t.Helper()
	v.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, input.InsertText, input.InsertTextParams{Text: text})
		return err
	}))
}

// doubleClick clicks twice, as fast as the browser takes it, on the button or
// link with the text.
func (v *visitor) doubleClick(text string) {
	v.t.Helper()
	quoted, _ := json.Marshal(text) // a string always encodes
	at := v.Evaluate(`(() => {
		const says = e => (e.innerText || "").replace(/\s+/g, " ").trim() === ` + string(quoted) + `;
		const found = [...document.querySelectorAll("a[href], button, summary, label")].find(e => says(e) && e.checkVisibility() && !e.disabled);
		if (!found) return "";
		found.scrollIntoView({block: "center", behavior: "instant"});
		const box = found.getBoundingClientRect();
		return JSON.stringify({X: box.left + box.width / 2, Y: box.top + box.height / 2});
	})()`)
	var point struct{ X, Y float64 }
	if err := json.Unmarshal([]byte(at), &point); err != nil {
		v.t.Fatalf("%q is not there to click on, at %q", text, v.H1())
	}
	v.do(chromedp.MouseClickXY(point.X, point.Y),
		chromedp.MouseClickXY(point.X, point.Y, func(p *input.DispatchMouseEventParams) { p.ClickCount = 2 }))
}

// expectFocus fails where the cursor isn't in the input, or where the input
// isn't marked as wrong and tied to the text that says why.
func (v *visitor) expectFocus(id, why string) {
	v.t.Helper()
	v.expectCursor(id)
	said := v.Evaluate(`(() => {
		const e = document.activeElement;
		if (e.getAttribute("aria-invalid") !== "true") return "not marked as invalid";
		return (e.getAttribute("aria-describedby") ?? "").split(" ").map(id => document.getElementById(id)?.innerText ?? "").join(" ");
	})()`)
	if !strings.Contains(said, why) {
		v.t.Errorf("the input %q is described by %q, want %q", id, said, why)
	}
	if !strings.HasPrefix(v.Title(), "Error: ") {
		v.t.Errorf("the title %q doesn't tell of the error", v.Title())
	}
}

// expectCursor fails where the focus is elsewhere or not to be seen.
func (v *visitor) expectCursor(id string) {
	v.t.Helper()
	v.eventually(fmt.Sprintf("the focus on %q", id), `document.activeElement.id`, id)
	v.expectRing()
}

// expectRing fails where nothing of 3 pixels shows what has the focus.
func (v *visitor) expectRing() {
	v.t.Helper()
	ring := v.Evaluate(`(() => {
		const style = getComputedStyle(document.activeElement);
		return style.outlineStyle + " " + style.outlineWidth;
	})()`)
	if ring != "solid 3px" {
		v.t.Errorf("the focus on %s shows as %q", v.Evaluate(`document.activeElement.outerHTML`), ring)
	}
}

// showPassword fills in the sign-in form that the browser shows.
func (v *visitor) showPassword(p *scene.Person) {
	v.t.Helper()
	v.AwaitH1("Sign in")
	v.Fill("username", p.Name)
	v.Fill("current-password", p.Password)
	v.ClickThrough("Sign in")
}

// showCode types a code of the person's authenticator, which sends itself.
func (v *visitor) showCode(p *scene.Person) {
	v.t.Helper()
	v.AwaitH1("Enter the code from your app")
	code := p.Code()
	scripted := v.Evaluate(`String(matchMedia("(scripting: none)").matches)`) == "false"
	v.Through(func() {
		v.Fill("one-time-code", code)
		if !scripted {
			v.Press(harness.KeyEnter)
		}
	})
}

// signIn opens a URL and does all that it asks for.
func (v *visitor) signIn(p *scene.Person, address string) {
	v.t.Helper()
	v.Navigate(address)
	v.showPassword(p)
	v.showCode(p)
}

// expectAt fails where the browser isn't at the URL.
func (v *visitor) expectAt(address string) {
	v.t.Helper()
	if at := v.URL().String(); at != address {
		v.t.Fatalf("the browser is at %s, not at %s; it shows %q", at, address, v.Text())
	}
}
