package test

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"net/http"
	"os"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// The suite of X01 and X02: the server is killed again and again while people
// sign in, step up, set up, sign out and guess. Whatever was acknowledged has to
// be there when it is started again, nothing may be half done, and no code may
// open two sessions.

const (
	// fewKills is how often the server is killed, at least, and mostKills how often
	// until each outcome was seen, and in the long form.
	fewKills  = 20
	mostKills = 50
	// mostAnswers is how many answers the server gives before a kill, at most:
	// about as many as people wait for. longestMoment is how much later the
	// kill comes, at most: about as long as one answer takes.
	mostAnswers   = 16
	longestMoment = 10 * time.Millisecond
)

// killCaddyfile has short-lived codes, so that there are enough of them.
var killCaddyfile = strings.Replace(strings.ReplaceAll(waysCaddyfile, "\tlog\n", ""), "\t\tcontact", "\t\ttotp {\n\t\t\tperiod 15s\n\t\t}\n\t\tcontact", 1)

// EnvLong, set to 1, has tests that try moments at random try more of them.
const EnvLong = "PORTCULLIS_LONG"

func TestX01X02Killed(t *testing.T) {
	t.Parallel() // it mostly waits for the disk and for starts
	s := scene.Start(t, scene.Options{Caddyfile: killCaddyfile, TOTP: harness.TOTPOptions{Period: 15 * time.Second}, NoDebugLog: true})
	town := &town{s: s, outcomes: make(map[string]int)}
	town.settle(t, s.Administrator("ada"))
	for _, name := range []string{"bob", "cleo", "dan", "eve"} {
		town.settle(t, s.Invited(name))
	}
	guessing := &guesses{town: town, victim: s.Invited("victor"), browser: s.ClientFrom("127.0.9.1")}
	random := rand.New(rand.NewPCG(1, 57))
	few := fewKills
	if os.Getenv(EnvLong) == "1" {
		few = mostKills
	}
	for round := range mostKills {
		if round >= few && len(town.unseen()) == 0 {
			break
		}
		deeds := append(town.codes(round), town.newcomer(), guessing)
		if d := town.leaver(); d != nil {
			deeds = append(deeds, d)
		}
		atOnce(t, deeds, deed.prepare)
		if t.Failed() {
			t.Fatalf("after kill %d", round)
		}
		done := make(chan struct{})
		town.answers = make(chan struct{}, 100)
		go func() {
			defer close(done)
			atOnce(t, deeds, deed.do)
		}()
		most := mostAnswers
		if round%2 == 0 {
			most = 3 // what is shown is taken first
		}
		town.awaitAnswers(random.IntN(most), done)
		<-time.After(time.Duration(random.Int64N(int64(longestMoment)))) // the moment is what is tried
		s.Kill()
		<-done
		s.Restart()
		atOnce(t, deeds, deed.check)
	}
	town.roundOff(t)
}

// deed is what somebody does while the server dies.
type deed interface {
	fmt.Stringer
	// prepare goes, on a server that lives, as far as to what matters.
	prepare() error
	// do goes on until it is done or the server doesn't answer any more. Its
	// error is what a server must not answer.
	do() error
	// check finds out, on the server that was started again, what became of it.
	check() error
}

func atOnce(t *testing.T, deeds []deed, step func(deed) error) {
	t.Helper()
	var running sync.WaitGroup
	for _, d := range deeds {
		running.Go(func() {
			if err := step(d); err != nil {
				t.Errorf("%v: %v", d, err)
			}
		})
	}
	running.Wait()
}

// awaitAnswers waits until so many answers came, or all deeds are done.
func (w *town) awaitAnswers(count int, done <-chan struct{}) {
	for range count {
		select {
		case <-w.answers:
		case <-done:
			return
		}
	}
}

// submit sends a form while the server may die.
func (w *town) submit(browser *harness.Client, form harness.Form, values map[string]string) (*harness.Page, error) {
	page, err := browser.TrySubmit(form, values)
	w.answered(err)
	return page, err
}

// follow follows redirects while the server may die.
func (w *town) follow(browser *harness.Client, page *harness.Page) (*harness.Page, error) {
	for {
		next, err := browser.TryNext(page)
		if next == nil {
			return page, err
		}
		w.answered(err)
		page = next
	}
}

func (w *town) answered(err error) {
	if err != nil {
		return
	}
	select {
	case w.answers <- struct{}{}:
	default: // nobody waits: nobody is to be killed at the moment
	}
}

// town is the people, and what has come of their deeds.
type town struct {
	s       *scene.Scene
	coming  *setUp // who is setting up, until they have
	invited int
	answers chan struct{} // one for each answer while the server may die, with room for all

	mu        sync.Mutex
	residents []*resident
	signedIn  []*harness.Client // browsers that have to stay so
	outcomes  map[string]int
	arrived   int
}

// resident is somebody who has set up. The replay browser is a thief's: it
// knows the password, and waits for a code.
type resident struct {
	*scene.Person
	address string // of the thief, so that thieves aren't slowed together
	replay  *harness.Client
	flow    string
}

func (w *town) settle(t *testing.T, p *scene.Person) {
	t.Helper()
	if err := w.admit(p); err != nil {
		t.Fatal(err)
	}
}

// admit makes a resident of somebody whose browser is signed in.
func (w *town) admit(p *scene.Person) error {
	w.mu.Lock()
	w.arrived++
	r := &resident{Person: p, address: fmt.Sprintf("127.0.8.%d", w.arrived)}
	w.mu.Unlock()
	r.replay = w.s.ClientFrom(r.address)
	page, err := showPassword(r.replay, r.Person, w.s.At("login", "/sign-in"))
	if err != nil {
		return err
	}
	r.flow = page.URL.String()
	w.mu.Lock()
	defer w.mu.Unlock()
	w.residents = append(w.residents, r)
	w.signedIn = append(w.signedIn, p.Browser)
	return nil
}

func (w *town) note(outcome string) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.outcomes[outcome]++
}

// stays says that a browser is signed in for good.
func (w *town) stays(browser *harness.Client) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.signedIn = append(w.signedIn, browser)
}

// leaver is the deed of signing out in the browser that has been signed in for
// longest.
func (w *town) leaver() deed {
	if len(w.signedIn) < 2 {
		return nil
	}
	browser := w.signedIn[0]
	w.signedIn = w.signedIn[1:]
	return &leaving{town: w, browser: browser}
}

// codes are the deeds of the next people who have a code to show.
func (w *town) codes(round int) []deed {
	var deeds []deed
	for range len(w.residents) {
		if len(deeds) == 2 {
			break
		}
		r := w.residents[0]
		w.residents = append(w.residents[1:], r)
		d := &showing{town: w, who: r, stepUp: len(deeds) == 0, factor: "totp"}
		var ok bool
		if round%2 == 0 {
			d.code, ok = r.TryCode()
		}
		if !ok {
			d.factor = "backup_code"
			d.code, ok = r.TrySpendBackupCode()
		}
		if ok {
			deeds = append(deeds, d)
		}
	}
	return deeds
}

// roundOff checks that every session that was granted in all this time lives,
// that everybody who set up can sign in, and that there was something to check.
func (w *town) roundOff(t *testing.T) {
	t.Helper()
	for _, browser := range w.signedIn {
		if page := browser.Visit(w.s.At("app", "/")); page.H1() == "" || page.Status != http.StatusOK || !strings.HasPrefix(page.URL.Host, "app.") {
			t.Errorf("a session that was granted is gone: %d %s: %s", page.Status, page.URL, page.Text())
		}
	}
	t.Logf("%d people, %d browsers signed in, %v", len(w.residents), len(w.signedIn), w.outcomes)
	if unseen := w.unseen(); len(unseen) > 0 {
		t.Errorf("no %q in %d kills: the test shows nothing", unseen, mostKills)
	}
}

// unseen returns the outcomes that there has to be one of, and hasn't been yet.
func (w *town) unseen() []string {
	w.mu.Lock()
	defer w.mu.Unlock()
	wanted := []string{"code: acknowledged", "code: cut short", "set-up: cut short", "set-up: complete", "sign-out: acknowledged", "guess: counted"}
	return slices.DeleteFunc(wanted, func(outcome string) bool { return w.outcomes[outcome] > 0 })
}

// showing is a deed: somebody shows a code, to sign in or to step up.
type showing struct {
	town    *town
	who     *resident
	stepUp  bool
	factor  string
	code    string
	browser *harness.Client
	form    harness.Form
	flow    string
	before  string // the portal's cookie, before
	// accepted says that the code was taken; followed, that the person went on.
	accepted, followed bool
}

func (d *showing) String() string {
	return fmt.Sprintf("%s shows a %s, stepping up: %t", d.who.Name, d.factor, d.stepUp)
}

func (d *showing) prepare() error {
	s := d.town.s
	d.browser = s.Client()
	begin := s.At("app", "/")
	if d.stepUp {
		begin = s.At("solo", "/")
	}
	page, err := showPassword(d.browser, d.who.Person, begin)
	if err == nil && d.stepUp {
		page, err = d.browser.TryVisit(s.At("app", "/"))
	}
	if err != nil {
		return err
	}
	d.flow = page.URL.String()
	d.before = d.browser.Cookie(s.At("login", "/"), portalCookie)
	d.form, err = codeForm(d.browser, d.flow, d.factor)
	return err
}

func (d *showing) do() error {
	page, err := d.town.submit(d.browser, d.form, map[string]string{"one-time-code": d.code})
	if err != nil {
		return nil
	}
	if page.Status != http.StatusSeeOther {
		return fmt.Errorf("the code led to %d: %s", page.Status, page.Text())
	}
	d.accepted, d.followed = true, true
	if page, err = d.town.follow(d.browser, page); err != nil {
		return nil
	}
	return d.isIn(page)
}

func (d *showing) check() error {
	s := d.town.s
	granted := d.browser.Cookie(s.At("login", "/"), portalCookie) != d.before
	in, err := d.goOn(granted)
	if err != nil {
		return err
	}
	if in {
		d.town.stays(d.browser)
	}
	if d.stepUp {
		if page, err := d.browser.Send(harness.Request{URL: s.At("solo", "/")}); err != nil || page.Status != http.StatusOK {
			return fmt.Errorf("the session from before the step-up: %+v, %v", page, err)
		}
	}
	return d.replay()
}

// goOn does what somebody does whose page didn't come, and reports whether that
// signed them in: the code may count once.
func (d *showing) goOn(granted bool) (bool, error) {
	if granted {
		d.town.note("code: acknowledged")
		page, err := d.browser.TryVisit(d.town.s.At("app", "/"))
		if err != nil {
			return false, err
		}
		return true, d.isIn(page)
	}
	d.town.note("code: cut short")
	page, err := d.browser.TryVisit(d.flow)
	if err != nil {
		return false, err
	}
	_, asks := page.FormWith("one-time-code")
	switch {
	case page.Status == http.StatusGone && d.followed:
		d.town.note("code: spent, no session")
		return false, nil
	case !asks:
		d.town.note("code: spent, and the flow goes on")
		return true, d.isIn(page)
	case d.accepted:
		return false, fmt.Errorf("a code that was accepted is asked for again: %s", page.Text())
	}
	d.town.note("code: not spent")
	form, err := codeForm(d.browser, d.flow, d.factor)
	if err != nil {
		return false, err
	}
	if page, err = d.browser.TrySubmit(form, map[string]string{"one-time-code": d.code}); err == nil {
		page, err = d.browser.TryFollow(page)
	}
	if err != nil {
		return false, err
	}
	return true, d.isIn(page)
}

// replay shows the code once more, in the thief's browser.
func (d *showing) replay() error {
	if _, err := d.town.s.AdminDo(http.MethodPost, "/mfa/users/"+d.who.Name+"/unlock", "{}"); err != nil {
		return err
	}
	form, err := codeForm(d.who.replay, d.who.flow, d.factor)
	if err != nil {
		return err
	}
	page, err := d.who.replay.TrySubmit(form, map[string]string{"one-time-code": d.code})
	if err != nil {
		return err
	}
	if page.Status != http.StatusUnprocessableEntity {
		return fmt.Errorf("a code that was spent is answered by %d to %s: %s", page.Status, page.Location(), page.Text())
	}
	return nil
}

func (d *showing) isIn(page *harness.Page) error {
	if page.Status != http.StatusOK || page.URL.String() != d.town.s.At("app", "/") || page.H1() != "Hello "+d.who.Name {
		return fmt.Errorf("not in, but at %d %s: %s", page.Status, page.URL, page.Text())
	}
	return nil
}

// showPassword opens an address and shows name and password.
func showPassword(browser *harness.Client, p *scene.Person, address string) (*harness.Page, error) {
	page, err := browser.TryVisit(address)
	if err != nil {
		return nil, err
	}
	form, ok := page.FormWith("current-password")
	if !ok {
		return nil, fmt.Errorf("no sign-in form at %d %s: %s", page.Status, page.URL, page.Text())
	}
	values := map[string]string{"username": p.Name, "current-password": p.Password}
	page, err = browser.TrySubmit(form, values)
	for range scene.Patience {
		if err != nil || !scene.Busy(page) {
			break
		}
		page, err = browser.TrySubmit(form, values)
	}
	if err == nil {
		page, err = browser.TryFollow(page)
	}
	if err == nil && page.Status != http.StatusOK {
		err = fmt.Errorf("the password led to %d %s: %s", page.Status, page.URL, page.Text())
	}
	return page, err
}

// codeForm is the form that asks for a code of the factor.
func codeForm(browser *harness.Client, flow, factor string) (harness.Form, error) {
	page, err := browser.TryVisit(flow + "&use=" + factor)
	if err != nil {
		return harness.Form{}, err
	}
	form, ok := page.FormWith("one-time-code")
	if !ok || form.Value("factor") != factor {
		return harness.Form{}, fmt.Errorf("no form for a %s at %d %s: %s", factor, page.Status, page.URL, page.Text())
	}
	return form, nil
}

// leaving is a deed: somebody signs out.
type leaving struct {
	town           *town
	browser, thief *harness.Client
	form           harness.Form
	acknowledged   bool
}

func (d *leaving) String() string { return "somebody signs out" }

func (d *leaving) prepare() error {
	for _, host := range []string{"app", "login"} {
		page, err := d.browser.TryVisit(d.town.s.At(host, "/"))
		if err != nil || page.Status != http.StatusOK || page.URL.Path != "/" {
			return fmt.Errorf("not signed in before: %+v, %v", page, err)
		}
	}
	d.thief = d.browser.Clone()
	page, err := d.browser.TryVisit(d.town.s.At("login", "/sign-out"))
	if err != nil {
		return err
	}
	for _, form := range page.Forms() {
		if form.Action.Path == "/sign-out" {
			d.form = form
			return nil
		}
	}
	return fmt.Errorf("no form to sign out by: %s", page.Text())
}

func (d *leaving) do() error {
	page, err := d.town.submit(d.browser, d.form, nil)
	if err == nil && page.Status >= 400 {
		return fmt.Errorf("answered %d: %s", page.Status, page.Text())
	}
	d.acknowledged = err == nil
	return nil
}

func (d *leaving) check() error {
	app, err := d.thief.Send(harness.Request{URL: d.town.s.At("app", "/")})
	if err != nil {
		return err
	}
	portal, err := d.thief.Send(harness.Request{URL: d.town.s.At("login", "/")})
	if err != nil {
		return err
	}
	in := []bool{app.Status == http.StatusOK, portal.Status == http.StatusOK}
	if in[0] != in[1] {
		return fmt.Errorf("half signed out: at the app %t, at the portal %t", in[0], in[1])
	}
	if d.acknowledged {
		d.town.note("sign-out: acknowledged")
		if in[0] {
			return errors.New("signed out, and in again")
		}
	}
	if in[0] {
		d.town.stays(d.thief)
	}
	return nil
}

// newcomer is the deed of whoever is setting up at the moment.
func (w *town) newcomer() deed {
	if w.coming == nil {
		w.invited++
		w.coming = &setUp{town: w, person: w.s.Newcomer(fmt.Sprintf("newcomer%d", w.invited), w.s.Client())}
	}
	return w.coming
}

// setUp is a deed that goes on from one kill to the next: somebody sets up by
// an invitation.
type setUp struct {
	town   *town
	person *scene.Person
	page   *harness.Page // where the person is; nil: hasn't begun
	flow   string
	code   string // that the authenticator showed last
	cut    bool   // the server died before the next page came
	// What was acknowledged.
	chosen, enrolled, saved bool
}

func (d *setUp) String() string { return d.person.Name + " sets up" }

func (d *setUp) prepare() error {
	if d.page != nil {
		return nil
	}
	body, err := json.Marshal(map[string]any{"name": d.person.Name})
	if err != nil {
		return err
	}
	answer, err := d.town.s.AdminDo(http.MethodPost, "/mfa/users", string(body))
	if err != nil {
		return err
	}
	var invitation struct{ Link string }
	if err := json.Unmarshal(answer, &invitation); err != nil {
		return err
	}
	_, secret, _ := strings.Cut(invitation.Link, "token=")
	d.town.s.Canary(secret, d.person.Password)
	if d.page, err = d.person.Browser.TryVisit(invitation.Link); err != nil {
		return err
	}
	d.flow = d.page.URL.String()
	if d.town.invited%3 == 0 {
		return nil
	}
	// Hashing the password takes long. With that done, what is written comes at
	// once.
	return d.fillIn()
}

// do fills in one form after the other.
func (d *setUp) do() error {
	for d.page.URL.Path != "/" {
		if err := d.fillIn(); err != nil || d.cut {
			return err
		}
	}
	return nil
}

// fillIn fills in the form of the page and goes to the next.
func (d *setUp) fillIn() error {
	values, acknowledged, err := d.answer()
	if err != nil {
		return err
	}
	d.cut = true
	form, _ := d.page.FormWith("flow")
	next, err := d.town.submit(d.person.Browser, form, values)
	if err != nil {
		return nil
	}
	if next.Status != http.StatusSeeOther {
		return fmt.Errorf("%s led to %d: %s", d.page.H1(), next.Status, next.Text())
	}
	*acknowledged = true
	if next, err = d.town.follow(d.person.Browser, next); err != nil {
		return nil
	}
	d.page, d.cut = next, false
	return nil
}

// answer is what goes into the form of the page, and what is acknowledged when
// it is taken.
func (d *setUp) answer() (values map[string]string, acknowledged *bool, err error) {
	_, account := d.page.FormWith("new-password")
	_, code := d.page.FormWith("one-time-code")
	_, saving := d.page.FormWith("saved")
	switch {
	case account && !d.chosen:
		return map[string]string{"new-password": d.person.Password}, &d.chosen, nil
	case code && !d.enrolled:
		secret := scene.SecretOn(d.page)
		if d.person.Secret != "" && d.person.Secret != secret {
			return nil, nil, errors.New("another key is shown than was shown before")
		}
		d.person.Secret = secret
		d.town.s.Canary(secret)
		// Where it wasn't taken before, the authenticator shows the same code.
		if shown, ok := d.person.TryCode(); ok {
			d.code = shown
		}
		return map[string]string{"one-time-code": d.code}, &d.enrolled, nil
	case saving && !d.saved:
		d.person.BackupCodes = scene.CodesOn(d.page)
		d.town.s.Canary(d.person.BackupCodes...)
		return map[string]string{"saved": "yes"}, &d.saved, nil
	}
	return nil, nil, fmt.Errorf("what was acknowledged (account %t, authenticator %t, backup codes %t) is asked for again, or else: %d %s: %s",
		d.chosen, d.enrolled, d.saved, d.page.Status, d.page.URL, d.page.Text())
}

func (d *setUp) check() error {
	factors, err := d.registered()
	if err != nil {
		return err
	}
	portal := d.town.s.At("login", "/")
	granted := d.person.Browser.Cookie(portal, portalCookie) != ""
	if d.page.URL.Path != "/" {
		d.town.note("set-up: cut short")
		address := d.flow
		if granted {
			address = portal
		}
		if d.page, err = d.person.Browser.TryVisit(address); err != nil {
			return err
		}
	}
	switch {
	case d.page.Status == http.StatusGone && len(factors) == 3 && !granted:
		// It was finished, and the cookie didn't come.
		d.town.note("set-up: complete, no session")
		d.town.coming = nil
	case d.page.Status == http.StatusOK && d.page.URL.Path == "/":
		if len(factors) != 3 && !granted {
			// The last step was taken, and coming back to it finished it.
			factors, err = d.registered()
		}
		if err != nil || len(factors) != 3 {
			return fmt.Errorf("signed in with the factors %q, %v", factors, err)
		}
		d.town.note("set-up: complete")
		d.town.coming = nil
		return d.town.admit(d.person)
	case d.page.Status != http.StatusOK:
		return fmt.Errorf("after the restart: %d %s: %s", d.page.Status, d.page.URL, d.page.Text())
	}
	return nil
}

// registered returns the person's factors, of which there have to be as many as
// were acknowledged, and never a part of those that come into being together.
func (d *setUp) registered() ([]string, error) {
	answer, err := d.town.s.AdminDo(http.MethodGet, "/mfa/users/"+d.person.Name, "")
	if err != nil {
		return nil, err
	}
	var user struct {
		Status  string
		Factors []string
	}
	if err := json.Unmarshal(answer, &user); err != nil {
		return nil, err
	}
	states := map[string]bool{
		"invited []":                         !d.enrolled,
		"active [password totp]":             !d.saved,
		"active [backup_code password totp]": true,
	}
	slices.Sort(user.Factors)
	if state := fmt.Sprint(user.Status, " ", user.Factors); !states[state] {
		return nil, fmt.Errorf("the account is %s, after these were acknowledged: account %t, authenticator %t, backup codes %t", state, d.chosen, d.enrolled, d.saved)
	}
	return user.Factors, nil
}

// guesses is a deed: somebody who knows the password guesses codes, one with
// each kill, and after some kills until they are slowed.
type guesses struct {
	town    *town
	victim  *scene.Person
	browser *harness.Client
	form    harness.Form
	round   int
	looked  int // guesses that were answered as wrong since the last reset
}

func (d *guesses) String() string { return "somebody guesses" }

func (d *guesses) prepare() error {
	if d.round++; d.form.Action != nil {
		return nil
	}
	page, err := showPassword(d.browser, d.victim, d.town.s.At("login", "/sign-in"))
	if err == nil {
		d.form, err = codeForm(d.browser, page.URL.String(), "totp")
	}
	return err
}

func (d *guesses) do() error {
	_, err := d.guess()
	return err
}

// guess reports whether the guess was looked at. A server that doesn't answer
// is no error.
func (d *guesses) guess() (looked bool, err error) {
	page, err := d.town.submit(d.browser, d.form, map[string]string{"one-time-code": wrongCode})
	switch {
	case err != nil:
		return false, nil
	case page.Status == http.StatusUnprocessableEntity:
		d.looked++
		return true, nil
	case page.Status == http.StatusTooManyRequests:
		return false, nil
	}
	return false, fmt.Errorf("a wrong code is answered by %d: %s", page.Status, page.Text())
}

func (d *guesses) check() error {
	if d.round%4 != 0 {
		return nil
	}
	before := d.looked
	for looked := true; looked && d.looked <= freeGuesses; {
		var err error
		if looked, err = d.guess(); err != nil {
			return err
		}
	}
	if d.looked > freeGuesses {
		return fmt.Errorf("%d guesses were looked at, %d of them since the last start", d.looked, d.looked-before)
	}
	if before > 0 {
		d.town.note("guess: counted")
	}
	d.looked = 0
	_, err := d.town.s.AdminDo(http.MethodPost, "/mfa/users/"+d.victim.Name+"/unlock", "{}")
	return err
}
