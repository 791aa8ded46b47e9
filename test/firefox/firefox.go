// Package firefox drives Firefox for tests by Marionette, its own remote protocol: it
// reaches notifications, which are outside of all pages.
package firefox

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// Browser is a headless Firefox with an empty profile. Its methods are for one goroutine,
// and fail the test where something goes wrong.
type Browser struct {
	t      testing.TB
	conn   net.Conn
	reader *bufio.Reader
	asked  int
}

const patience = time.Minute

// Start starts Firefox with preferences of about:config. It ends with the test.
func Start(t testing.TB, preferences map[string]any) *Browser {
	t.Helper()
	harness.Need(t, "firefox-esr")
	profile := t.TempDir()
	port := freePort(t)
	var lines strings.Builder
	all := map[string]any{
		"marionette.port": port, "remote.prefs.recommended": false, "dom.disable_open_click_delay": 60000, "app.update.enabled": false, "browser.shell.checkDefaultBrowser": false, "datareporting.policy.dataSubmissionEnabled": false,
		"toolkit.telemetry.reportingpolicy.firstRun": false, "browser.aboutwelcome.enabled": false, "network.captive-portal-service.enabled": false,
		"network.connectivity-service.enabled": false, "services.settings.server": "data:,#remote-settings-dummy/v1", "extensions.systemAddon.update.enabled": false,
	}
	for name, value := range preferences {
		all[name] = value
	}
	for name, value := range all {
		written, err := json.Marshal(value)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&lines, "user_pref(%q, %s);\n", name, written)
	}
	if err := os.WriteFile(filepath.Join(profile, "user.js"), []byte(lines.String()), 0o600); err != nil {
		t.Fatal(err)
	}
	command := exec.Command("firefox-esr", "--headless", "--marionette", "--remote-allow-system-access", "--profile", profile, "--no-remote", "about:blank")
	command.Env = []string{"HOME=" + t.TempDir(), "PATH=" + os.Getenv("PATH"), "MOZ_DISABLE_CONTENT_SANDBOX=1"}
	if err := command.Start(); err != nil {
		t.Fatalf("starting Firefox: %v", err)
	}
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	b := &Browser{t: t}
	b.connect(port)
	return b
}

func freePort(t testing.TB) int {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	return listener.Addr().(*net.TCPAddr).Port
}

func (b *Browser) connect(port int) {
	b.t.Helper()
	harness.Eventually(b.t, 2*patience, "Firefox to start", func() bool {
		var err error
		b.conn, err = net.Dial("tcp", "127.0.0.1:"+strconv.Itoa(port))
		return err == nil
	})
	b.t.Cleanup(func() { _ = b.conn.Close() })
	b.reader = bufio.NewReader(b.conn)
	if _, err := b.receive(); err != nil {
		b.t.Fatalf("Firefox's greeting: %v", err)
	}
	b.Do("WebDriver:NewSession", map[string]any{})
}

// receive reads a message: its length, a colon, and JSON.
func (b *Browser) receive() ([]byte, error) {
	_ = b.conn.SetReadDeadline(time.Now().Add(2 * patience))
	length, err := b.reader.ReadString(':')
	if err != nil {
		return nil, err
	}
	n, err := strconv.Atoi(strings.TrimSuffix(length, ":"))
	if err != nil {
		return nil, err
	}
	message := make([]byte, n)
	_, err = io.ReadFull(b.reader, message)
	return message, err
}

// try has Firefox run a command, and returns its result.
func (b *Browser) try(command string, parameters any) (json.RawMessage, error) {
	b.asked++
	message, err := json.Marshal([]any{0, b.asked, command, parameters})
	if err != nil {
		return nil, err
	}
	if _, err := fmt.Fprintf(b.conn, "%d:%s", len(message), message); err != nil {
		return nil, err
	}
	raw, err := b.receive()
	if err != nil {
		return nil, err
	}
	var answer []json.RawMessage
	if err := json.Unmarshal(raw, &answer); err != nil || len(answer) != 4 {
		return nil, fmt.Errorf("%s: %w", raw, err)
	}
	if failure := string(answer[2]); failure != "null" {
		return nil, fmt.Errorf("%s: %s", command, failure)
	}
	return answer[3], nil
}

// Do has Firefox run a command of Marionette.
func (b *Browser) Do(command string, parameters any) json.RawMessage {
	b.t.Helper()
	result, err := b.try(command, parameters)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

// Navigate opens a page.
func (b *Browser) Navigate(address string) {
	b.t.Helper()
	b.Do("WebDriver:Navigate", map[string]any{"url": address})
}

// Evaluate runs the body of a function in the page, and returns what it returns as text.
func (b *Browser) Evaluate(script string) string {
	b.t.Helper()
	result, err := b.evaluate(script)
	if err != nil {
		b.t.Fatal(err)
	}
	return result
}

func (b *Browser) evaluate(script string) (string, error) {
	result, err := b.try("WebDriver:ExecuteScript", map[string]any{"script": script, "args": []any{}})
	if err != nil {
		return "", err
	}
	var value struct{ Value any }
	if err := json.Unmarshal(result, &value); err != nil {
		return "", err
	}
	return fmt.Sprint(value.Value), nil
}

// Await waits until a script returns a text.
func (b *Browser) Await(what, script, want string) {
	b.t.Helper()
	got := ""
	defer func() {
		if b.t.Failed() {
			b.t.Logf("Firefox shows %s: %s", got, b.Evaluate(`return document.body.innerText`))
		}
	}()
	harness.Eventually(b.t, patience, what, func() bool {
		result, err := b.evaluate(script)
		if got = result; err != nil {
			got = err.Error()
		}
		return err == nil && result == want
	})
}

// AwaitH1 waits for a page's heading.
func (b *Browser) AwaitH1(text string) {
	b.t.Helper()
	b.Await("the heading "+text, `return document.querySelector("h1")?.textContent ?? ""`, text)
}

// Click clicks a button by its text.
func (b *Browser) Click(text string) {
	b.t.Helper()
	quoted := strconv.Quote(text)
	b.Await("the button "+text, `const found = [...document.querySelectorAll("button")].find(b => b.textContent.trim() === `+quoted+`); found?.click(); return String(Boolean(found))`, "true")
}

// Fill writes into an input.
func (b *Browser) Fill(selector, value string) {
	b.t.Helper()
	b.Evaluate(`document.querySelector(` + strconv.Quote(selector) + `).value = ` + strconv.Quote(value))
}

// InChrome runs a script as Firefox's own windows can, and returns what it returns as text.
func (b *Browser) InChrome(script string) string {
	b.t.Helper()
	b.Do("Marionette:SetContext", map[string]any{"value": "chrome"})
	defer b.Do("Marionette:SetContext", map[string]any{"value": "content"})
	return b.Evaluate(script)
}

// ClickNotification waits for a notification, clicks it until it goes, and returns its
// text: Firefox shows one before it listens to clicks.
func (b *Browser) ClickNotification() (text string) {
	b.t.Helper()
	harness.Eventually(b.t, patience, "a notification that goes when it is clicked", func() bool {
		shown := b.InChrome(`for (const window of Services.wm.getEnumerator("alert:alert")) {
			const box = window.document.getElementById("alertBox");
			if (box) {
				const text = window.document.documentElement.textContent;
				if (box.getAttribute("clicked") !== "true") {
					box.click();
				}
				return text || "a notification";
			}
		}
		return "";`)
		if shown != "" {
			text = shown
		}
		return shown == "" && text != ""
	})
	return text
}

// Switch goes to a tab whose page has a heading.
func (b *Browser) Switch(h1 string) {
	b.t.Helper()
	var seen []string
	defer func() {
		if b.t.Failed() {
			b.t.Logf("Firefox has the tabs %q", seen)
		}
	}()
	harness.Eventually(b.t, patience, "a tab with the heading "+h1, func() bool {
		raw, err := b.try("WebDriver:GetWindowHandles", map[string]any{})
		var handles []string
		if err != nil || json.Unmarshal(raw, &handles) != nil {
			return false
		}
		seen = nil
		for _, handle := range handles {
			if _, err := b.try("WebDriver:SwitchToWindow", map[string]any{"handle": handle, "focus": true}); err != nil {
				continue
			}
			got, err := b.evaluate(`return document.querySelector("h1")?.textContent ?? location.href`)
			if err == nil && got == h1 {
				return true
			}
			seen = append(seen, got)
		}
		return false
	})
}
