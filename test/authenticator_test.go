package test

import (
	"context"
	"crypto/ecdsa"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/boombuler/barcode/qr"
	"github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/serviceworker"
	"github.com/chromedp/chromedp"

	phoneapp "github.com/portcullis-mfa/portcullis/authenticator"
	"github.com/portcullis-mfa/portcullis/factors/push/message"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/test/harness"
)

// The screens of the authenticator, in Chromium, against a stand-in for the API that
// checks every signature. With it each state can be had at once.

const phoneSecret = "JBSWY3DPEHPK3PXPJBSWY3DPEHPK3PXP"

// standIn is the API with one account.
type standIn struct {
	t *testing.T

	mu        sync.Mutex
	confirmed bool              // the digits were typed
	removed   bool              // the phone was
	down      bool              // nothing is answered
	ahead     time.Duration     // of the server's clock
	data      string            // identifies the server's data
	key       *ecdsa.PublicKey  // of the phone
	requests  map[string][]byte // what is displayed of open ones, by id
	wrong     int
	answers   []message.AnswerClaims
	changed   chan struct{}
}

func newStandIn(t *testing.T) (*standIn, string) {
	t.Helper()
	s := &standIn{t: t, data: "one", requests: make(map[string][]byte), changed: make(chan struct{}, 16)}
	pages, err := templates.New(templates.Options{})
	if err != nil {
		t.Fatal(err)
	}
	app, err := phoneapp.NewApp(phoneapp.AppSettings{Pages: pages, API: s, Brand: "Example Corp", Contact: "the help desk"})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if s.isDown() {
			panic(http.ErrAbortHandler)
		}
		app.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	return s, server.URL
}

func (s *standIn) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(io.LimitReader(r.Body, message.MaxSize))
	if err != nil {
		return
	}
	name := strings.TrimPrefix(r.URL.Path, "/api/")
	if name == "nonce" {
		s.reply(w, map[string]any{"nonce": "n", "time": time.Now().Add(s.clock()).Unix(), "data": s.stored(), "vapid": message.Encode(append([]byte{4}, make([]byte, 64)...))})
		return
	}
	signed, err := message.Parse(body)
	if err != nil || string(signed.Type) != name {
		s.t.Errorf("%s: %v", name, err)
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	s.serve(w, r, signed)
}

func (s *standIn) clock() time.Duration {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.ahead
}

func (s *standIn) stored() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.data
}

func (s *standIn) isDown() bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.down
}

func (s *standIn) serve(w http.ResponseWriter, r *http.Request, signed message.Signed) {
	if signed.Type == message.Listen {
		s.reply(w, nil)
		_ = http.NewResponseController(w).Flush()
		select {
		case <-s.changed:
			_, _ = io.WriteString(w, "changed\n")
		case <-r.Context().Done():
		case <-time.After(10 * time.Second):
		}
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if signed.Type == message.Pair {
		s.key = signed.Key
	}
	if s.key == nil || !signed.IsBy(s.key) {
		s.t.Errorf("%s: wrong signature", signed.Type)
	}
	if s.removed {
		w.WriteHeader(http.StatusGone)
		return
	}
	switch signed.Type {
	case message.Pair:
		s.pair(w, signed)
	case message.Paired:
		if !s.confirmed {
			s.reply(w, map[string]any{"state": "claimed"})
			return
		}
		s.reply(w, map[string]any{"state": "confirmed", "totp": "otpauth://totp/Example:alice?secret=" + phoneSecret + "&issuer=Example&algorithm=SHA1&digits=6&period=30"})
	case message.Ready:
		var claims message.ReadyClaims
		s.read(signed, &claims)
		if want := harness.TOTP(s.t, phoneSecret, time.Now()); claims.Code != want {
			s.t.Errorf("the code is %s, want %s", claims.Code, want)
		}
		s.reply(w, map[string]any{"state": "settled"})
	case message.List:
		shown := []any{}
		for id, display := range s.requests {
			shown = append(shown, map[string]any{"id": id, "display": message.Encode(display)})
		}
		s.reply(w, map[string]any{"account": "alice", "requests": shown})
	case message.Answer:
		s.answer(w, signed)
	default:
		s.reply(w, map[string]any{})
	}
}

func (s *standIn) pair(w http.ResponseWriter, signed message.Signed) {
	var claims message.PairClaims
	s.read(signed, &claims)
	if claims.Code != "ABCDEFGH" && claims.Token != "token" {
		w.WriteHeader(http.StatusGone)
		return
	}
	s.reply(w, map[string]any{"state": "claimed", "pairing": "pairing", "account": "alice", "until": time.Now().Add(time.Minute).Unix()})
}

func (s *standIn) answer(w http.ResponseWriter, signed message.Signed) {
	var claims message.AnswerClaims
	s.read(signed, &claims)
	s.answers = append(s.answers, claims)
	display := s.requests[claims.Request]
	sum := sha256.Sum256(display)
	if display != nil && claims.Shown != message.Encode(sum[:]) {
		s.t.Error("the phone signed another request than it was sent")
	}
	state := map[message.Decision]string{message.Allow: "allowed", message.Deny: "denied", message.Report: "reported"}[claims.Decision]
	switch {
	case display == nil && claims.Decision != message.Report:
		w.WriteHeader(http.StatusConflict)
		state = "expired"
	case claims.Decision == message.Allow && claims.Number != "123456" && s.wrong == 0:
		s.wrong++
		state = "open"
	case claims.Decision == message.Allow && claims.Number != "123456":
		state = "denied"
	}
	if state != "open" {
		delete(s.requests, claims.Request)
	}
	s.reply(w, map[string]any{"state": state})
}

func (s *standIn) read(signed message.Signed, claims any) {
	if err := signed.Read(claims); err != nil {
		s.t.Errorf("%s: %v", signed.Type, err)
	}
}

func (s *standIn) reply(w http.ResponseWriter, answer any) {
	w.Header().Set("Content-Type", "application/json")
	if answer == nil {
		return
	}
	if err := json.NewEncoder(w).Encode(answer); err != nil {
		s.t.Errorf("answering: %v", err)
	}
}

// ask opens a request, which lives for two minutes.
func (s *standIn) ask(id string) {
	display, err := json.Marshal(map[string]any{
		"v": 1, "id": id, "account": "alice", "app": "wiki.example.com", "browser": "Firefox", "system": "Windows",
		"address": "203.0.113.7", "place": "Oslo, Norway", "known": false, "digits": 6,
		"at": time.Now().Unix(), "expires": time.Now().Add(2 * time.Minute).Unix(),
	})
	if err != nil {
		s.t.Fatal(err)
	}
	s.set(func() {
		s.wrong = 0
		s.requests[id] = display
	})
	s.changed <- struct{}{}
}

func (s *standIn) set(change func()) {
	s.mu.Lock()
	defer s.mu.Unlock()
	change()
}

// digits are those that the phone has to show.
func (s *standIn) digits() string {
	s.mu.Lock()
	defer s.mu.Unlock()
	thumbprint, err := message.Thumbprint(s.key)
	if err != nil {
		s.t.Fatal(err)
	}
	sum := sha256.Sum256([]byte("portcullis-pair-v1\npairing" + thumbprint))
	digits := fmt.Sprintf("%06d", binary.BigEndian.Uint64(sum[:8])%1000000)
	return digits[:3] + " " + digits[3:]
}

// phoneScreen is a phone with the app.
type phoneScreen struct {
	*visitor
	api *standIn
	at  string
}

func TestAuthenticatorScreens(t *testing.T) {
	t.Parallel()
	api, at := newStandIn(t)
	tab := harness.NewBrowser(t, &harness.Server{}, harness.BrowserOptions{Mobile: true, Whole: true})
	// Nobody looks at what the console says of a server that is down.
	phone := &phoneScreen{&visitor{Browser: tab, t: t, width: 390, height: 844}, api, at}
	phone.Navigate(at)
	phone.AwaitH1("Your accounts")
	phone.AwaitText("No account has been added")
	phone.inspect("phone-empty")
	phone.scans(t)
	phone.pair(t)
	phone.inspect("phone-accounts")
	phone.answersRequests(t)
	phone.isNotified(t)
	phone.tellsOfClock(t)
	phone.worksOffline(t)
	phone.survivesARestore(t)
	phone.hearsOfRemoval(t)
	phone.explainsInstallation(t)
}

func (p *phoneScreen) pair(t *testing.T) {
	p.Click("Enter a code")
	p.AwaitH1("Enter a code")
	p.FillSelector("#code", "wrong")
	p.Click("Continue")
	p.AwaitText("This code has expired or isn't right.")
	p.inspect("phone-add-refused")
	p.FillSelector("#code", "abcd-efgh")
	p.FillSelector("#name", "Blue phone")
	p.Click("Continue")
	p.AwaitH1("Type these digits on your computer")
	p.AwaitText(p.api.digits())
	p.inspect("phone-digits")
	p.Reload()
	p.AwaitText(p.api.digits())
	p.api.set(func() { p.api.confirmed = true })
	p.AwaitH1("Account added")
	p.inspect("phone-added")
	p.Click("Done")
	p.AwaitH1("Your accounts")
	p.awaitCode(t)
}

// awaitCode waits for the code that another program makes of the secret.
func (p *phoneScreen) awaitCode(t *testing.T) {
	harness.Eventually(t, time.Minute, "the code of the moment", func() bool {
		code := harness.TOTP(t, phoneSecret, time.Now())
		return strings.Contains(p.Text(), code[:3]+" "+code[3:])
	})
}

func (p *phoneScreen) answersRequests(t *testing.T) {
	p.api.ask("r1")
	p.AwaitH1("Are you signing in?")
	p.AwaitText("Nobody from IT will ever ask you to allow this.")
	p.AwaitText("Firefox, Windows")
	p.inspect("phone-request")
	p.Click("Allow")
	p.AwaitText("The number has 6 digits.")
	p.FillSelector("#number", "654321")
	p.Click("Allow")
	p.AwaitText("That isn't the number on your screen.")
	p.inspect("phone-request-wrong")
	p.FillSelector("#number", "123 456")
	p.Click("Allow")
	p.AwaitH1("Allowed")
	p.inspect("phone-allowed")
	p.Click("Done")
	p.AwaitText("You have just allowed a sign-in to")
	p.Reload()
	p.AwaitText("You have just allowed a sign-in to")
	p.inspect("phone-taken-back")
	p.Click("I didn't ask for this")
	p.AwaitH1("Thank you for telling us")
	p.inspect("phone-reported")
	p.Click("Done")
	for id, tt := range map[string]struct{ press, shown string }{
		"r2": {"Deny", "Denied"}, "r3": {"I didn't ask for this", "Thank you for telling us"},
	} {
		p.AwaitH1("Your accounts")
		p.api.ask(id)
		p.AwaitH1("Are you signing in?")
		p.Click(tt.press)
		p.AwaitH1(tt.shown)
		p.inspect("phone-" + tt.press)
		p.Click("Done")
	}
	p.AwaitH1("Your accounts")
	p.api.ask("r4")
	p.AwaitH1("Are you signing in?")
	p.api.set(func() { clear(p.api.requests) })
	p.FillSelector("#number", "123456")
	p.Click("Allow")
	p.AwaitH1("Time is up")
	p.inspect("phone-expired")
	p.Click("Done")
	p.Navigate(p.at + "/#r=r4")
	p.AwaitText("That request has been answered or has expired.")
	p.inspect("phone-stale")
}

func (p *phoneScreen) tellsOfClock(t *testing.T) {
	p.api.set(func() { p.api.ahead = 5 * time.Minute })
	p.Reload()
	p.AwaitText("about 5 min slow")
	p.inspect("phone-clock")
	p.api.set(func() { p.api.ahead = 0 })
}

func (p *phoneScreen) worksOffline(t *testing.T) {
	p.eventually("the worker", `String(navigator.serviceWorker.controller !== null)`, "true")
	p.api.set(func() { p.api.down = true })
	p.Reload()
	p.AwaitText("The server can't be reached right now. Codes still work.")
	p.awaitCode(t)
	p.inspect("phone-offline")
	p.api.set(func() { p.api.down = false })
	p.Reload()
	p.AwaitH1("Your accounts")
}

// survivesARestore keeps its keys when the server doesn't know it, but has other data than
// before: another restore may bring the phone back.
func (p *phoneScreen) survivesARestore(t *testing.T) {
	p.api.set(func() { p.api.removed, p.api.data = true, "two" })
	p.Reload()
	p.AwaitText("The server doesn't know this phone anymore.")
	p.inspect("phone-unknown")
	p.expectKept(t, `[["active",false,false]]`)
	p.api.set(func() { p.api.removed, p.api.data = false, "one" })
	p.Reload()
	p.AwaitH1("Your accounts")
	p.eventually("the account to be known again", `String(!document.body.textContent.includes("doesn't know"))`, "true")
}

func (p *phoneScreen) hearsOfRemoval(t *testing.T) {
	p.api.set(func() { p.api.removed = true })
	p.Reload()
	p.AwaitText("This phone was removed from \u2068alice\u2069.")
	p.inspect("phone-removed")
	p.expectKept(t, `[["removed",true,true]]`)
	p.Click("OK")
	p.AwaitText("No account has been added")
}

// expectKept compares each account's state, and whether its keys are gone.
func (p *phoneScreen) expectKept(t *testing.T, want string) {
	t.Helper()
	keys := p.promised(`new Promise(resolve => {
		const opening = indexedDB.open("portcullis");
		opening.onsuccess = () => {
			const all = opening.result.transaction("accounts").objectStore("accounts").getAll();
			all.onsuccess = () => resolve(JSON.stringify(all.result.map(a => [a.state, !a.key, !a.totp])));
		};
	})`)
	if keys != want {
		t.Errorf("the phone keeps %s, want %s", keys, want)
	}
}

// explainsInstallation opens a pairing's link in Safari on an iPhone, in German.
func (p *phoneScreen) explainsInstallation(t *testing.T) {
	iPhone := p.another(harness.BrowserOptions{Mobile: true})
	iPhone.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, emulation.SetUserAgentOverride, emulation.SetUserAgentOverrideParams{
			UserAgent:      "Mozilla/5.0 (iPhone; CPU iPhone OS 18_5 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.5 Mobile/15E148 Safari/604.1",
			AcceptLanguage: "de-DE",
		})
		return err
	}))
	iPhone.Navigate(p.at + "/#p=token")
	iPhone.AwaitH1("Legen Sie diese App auf den Home-Bildschirm")
	if at := iPhone.URL(); at.Fragment != "" {
		t.Errorf("the address still holds the token: %s", at)
	}
	iPhone.inspect("phone-install-de")
	iPhone.Click("Zurück")
	iPhone.AwaitH1("Ihre Konten")
}

// isNotified has Chromium deliver a push, as its push service would.
func (p *phoneScreen) isNotified(t *testing.T) {
	p.eventually("the worker", `String(navigator.serviceWorker.controller !== null)`, "true")
	origin, err := url.Parse(p.at)
	if err != nil {
		t.Fatal(err)
	}
	p.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.CallBrowser(ctx, browser.SetPermission, browser.SetPermissionParams{
			Permission: &browser.PermissionDescriptor{Name: "notifications"}, Setting: browser.PermissionSettingGranted, Origin: origin.String(),
		})
		return err
	}))
	id := p.worker(t)
	// A permission takes a moment to reach the worker.
	harness.Eventually(t, time.Minute, "the notification", func() bool {
		p.deliver(id, `{"web_push":8030,"notification":{"title":"Are you signing in?","body":"wiki.example.com","navigate":"`+p.at+`/#r=r9"}}`)
		return p.promised(`navigator.serviceWorker.ready.then(r => r.getNotifications()).then(all => all.map(n => n.title + " " + n.data).join())`) == "Are you signing in? /#r=r9"
	})
}

// worker returns the id of the page's worker.
func (p *phoneScreen) worker(t *testing.T) (id serviceworker.RegistrationID) {
	t.Helper()
	p.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		registrations := chromedp.Events(ctx, serviceworker.WorkerRegistrationUpdated)
		if _, err := chromedp.Call(ctx, serviceworker.Enable, cdp.Empty{}); err != nil {
			return err
		}
		for event, err := range registrations {
			if err != nil {
				return err
			}
			for _, registration := range event.Registrations {
				if registration.ScopeURL == p.at+"/" && !registration.IsDeleted {
					id = registration.RegistrationID
					return nil
				}
			}
		}
		return errors.New("there is no worker")
	}))
	return id
}

// deliver hands a message to the worker, as a push service would.
func (p *phoneScreen) deliver(id serviceworker.RegistrationID, message string) {
	p.do(chromedp.Func(func(ctx context.Context, _ *chromedp.Target) error {
		_, err := chromedp.Call(ctx, serviceworker.DeliverPushMessage, serviceworker.DeliverPushMessageParams{
			Origin: p.at, RegistrationID: id, Data: message,
		})
		return err
	}))
}

// scans holds QR codes before the phone's camera: another one, and then one that adds
// an account.
func (p *phoneScreen) scans(t *testing.T) {
	p.holdCamera()
	p.sees(t, "https://wiki.example.com/")
	p.Click("Scan a QR code")
	p.AwaitText("This QR code isn't from your account page.")
	p.inspect("phone-scan")
	p.sees(t, p.at+"/#p=token")
	p.AwaitText("Give this phone a name that you'll recognize in your account.")
	p.inspect("phone-add-linked")
	p.Click("Cancel")
	p.AwaitH1("Your accounts")
}

// holdCamera gives the phone a camera before which QR codes can be held: see sees.
func (p *phoneScreen) holdCamera() {
	p.Evaluate(`(() => {
		const canvas = document.createElement("canvas");
		canvas.width = canvas.height = 480;
		const context = canvas.getContext("2d");
		window.seen = "";
		setInterval(() => {
			context.fillStyle = "#ffffff";
			context.fillRect(0, 0, 480, 480);
			context.fillStyle = "#000000";
			const size = Math.floor(400 / Math.sqrt(window.seen.length));
			[...window.seen].forEach((dark, i) => dark === "1" && context.fillRect(
				40 + i % Math.sqrt(window.seen.length) * size, 40 + Math.floor(i / Math.sqrt(window.seen.length)) * size, size, size));
		}, 50);
		navigator.mediaDevices.getUserMedia = async () => canvas.captureStream();
		return "ready";
	})()`)
}

// sees holds a QR code before the camera.
func (p *phoneScreen) sees(t *testing.T, text string) {
	code, err := qr.Encode(text, qr.M, qr.Auto)
	if err != nil {
		t.Fatal(err)
	}
	var modules strings.Builder
	for y := range code.Bounds().Dy() {
		for x := range code.Bounds().Dx() {
			bit := "0"
			if red, _, _, _ := code.At(x, y).RGBA(); red == 0 {
				bit = "1"
			}
			modules.WriteString(bit)
		}
	}
	p.Evaluate(`(window.seen = "` + modules.String() + `")`)
}
