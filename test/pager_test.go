package test

import (
	"encoding/json"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/pager"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// A factor that only tests know is added to the server by one line, with a package
// and two templates of its own: see test/pager.

// pagerSuite is a server to which the factor was added, with somebody who has a
// pager.
type pagerSuite struct {
	*suite
	ada *scene.Person
}

func startPagers(t *testing.T) *pagerSuite {
	t.Helper()
	s := &pagerSuite{suite: &suite{Scene: scene.Start(t, scene.Options{Settled: 2, Added: "pager/testdata/server"})}}
	s.App.Answer(harness.Answer{
		Header: map[string][]string{"Content-Type": {"text/html"}},
		Body:   `<!doctype html><html lang="en"><title>App</title><link rel="icon" href="data:,"><main><h1>The app</h1></main></html>`,
	})
	s.ada = s.Administrator("ada")
	return s
}

// sent are the questions about which messages left, by their references.
func (s *pagerSuite) sent(t *testing.T) []string {
	t.Helper()
	var refs []string
	text, err := s.AdminDo(http.MethodGet, "/pagers", "")
	if err == nil {
		err = json.Unmarshal(text, &refs)
	}
	if err != nil {
		t.Fatalf("asking what was sent: %v", err)
	}
	return refs
}

// newest is the question about which the newest message left.
func (s *pagerSuite) newest(t *testing.T) string {
	t.Helper()
	refs := s.sent(t)
	if len(refs) == 0 {
		t.Fatal("nothing was sent")
	}
	return refs[len(refs)-1]
}

// says has the owner say something at the pager, to the newest question.
func (s *pagerSuite) says(t *testing.T, message string) {
	t.Helper()
	body, err := json.Marshal(map[string]string{"Ref": s.newest(t), "Message": message})
	if err != nil {
		t.Fatal(err)
	}
	if reply, err := s.AdminDo(http.MethodPost, "/pagers", string(body)); err != nil || string(reply) != "thanks" {
		t.Fatalf("the pager is told %q, %v", reply, err)
	}
}

// progress asks as the page's script does.
func (s *pagerSuite) progress(t *testing.T, browser *harness.Client, page *harness.Page) string {
	t.Helper()
	polls := elements(t, page, "div", "data-wait")
	if len(polls) != 1 {
		t.Fatalf("the page polls %q: %s", polls, page.Text())
	}
	answer := send(t, browser, harness.Request{
		URL: s.At("login", polls[0]), Mode: harness.Fetch, From: page.URL.String(), Header: http.Header{"Accept": {"application/json"}},
	})
	var said struct{ Progress string }
	if err := json.Unmarshal([]byte(answer.Body), &said); err != nil || answer.Status != http.StatusOK {
		t.Fatalf("polling: %d %s", answer.Status, answer.Body)
	}
	return said.Progress
}

// expectProgress polls twice: polling changes nothing.
func (s *pagerSuite) expectProgress(t *testing.T, browser *harness.Client, page *harness.Page, want string) {
	t.Helper()
	for range 2 {
		if got := s.progress(t, browser, page); got != want {
			t.Errorf("the question is %q, want %q", got, want)
		}
	}
}

// arrived is where redirects ended.
func arrived(hops []*harness.Page) *harness.Page { return hops[len(hops)-1] }

// TestFactorAddedByOneLine takes the factor through enrolment, sign-in,
// limits and loss, by forms alone as where scripts are off.
func TestFactorAddedByOneLine(t *testing.T) {
	t.Parallel()
	s := startPagers(t)
	t.Run("enrolment in two steps", s.testEnrolment)
	t.Run("an answer at the pager", s.testAnswer)
	t.Run("a code, and messages sent again", s.testAgain)
	t.Run("U06 another browser", s.testAnotherBrowser)
	t.Run("in a browser", s.testBrowser)
	t.Run("F02 limits, and a loss", s.testLoss)
}

func (s *pagerSuite) testEnrolment(t *testing.T) {
	browser := s.ada.Browser
	page := browser.Visit(s.At("login", "/account/pager"))
	says(t, page, http.StatusOK, "Pagers", "Add a pager")
	add := func() *harness.Page {
		return arrived(browser.Follow(browser.PostForm(s.At("login", "/account/pager/add"), nil)))
	}
	if page = add(); strings.Contains(page.Text(), "fresh check") {
		// The binary took longer to build than ada's last check counts.
		s.ada.ShowCode(browser, page, s.ada.Code())
		page = add()
	}
	page = arrived(browser.Follow(browser.Submit(page.Form("number"), map[string]string{"number": "555-1"})))
	says(t, page, http.StatusOK, "We sent a code to 555-1.")
	before := len(s.sent(t))
	page = browser.Visit(page.URL.String()) // a reload
	says(t, page, http.StatusOK, "We sent a code to 555-1.")
	if len(s.sent(t)) != before {
		t.Error("the reload sent a message")
	}
	wrong := browser.Submit(page.Form("code"), map[string]string{"code": "12345678"})
	says(t, wrong, http.StatusUnprocessableEntity, "That's not what the pager says.")
	page = arrived(browser.Follow(browser.Submit(page.Form("code"), map[string]string{"code": pager.Code(s.newest(t))})))
	says(t, page, http.StatusOK, "Added.", "Pager")
}

// asked shows ada's password in a new browser, and returns the page that asks for
// the pager.
func (s *pagerSuite) asked(t *testing.T) (*harness.Client, *harness.Page) {
	t.Helper()
	browser := s.Client()
	page := s.ada.ShowPassword(browser, browser.Visit(s.At("app", "/")))
	says(t, page, http.StatusOK, "Answer on your pager", "I've answered", "You can send it 2 more times.")
	return browser, page
}

// collect presses the button by which people collect an answer without scripts.
func (s *pagerSuite) collect(browser *harness.Client, page *harness.Page) *harness.Page {
	return browser.PostForm(s.At("login", "/flow/challenge"), url.Values{
		"flow": {page.Form("code").Value("flow")}, "factor": {"pager"}, "collect": {"yes"},
	})
}

func (s *pagerSuite) testAnswer(t *testing.T) {
	before := len(s.sent(t))
	browser, page := s.asked(t)
	for range 3 {
		page = browser.Visit(page.URL.String())
	}
	if sent := len(s.sent(t)) - before; sent != 1 {
		t.Errorf("%d messages were sent", sent)
	}
	s.expectProgress(t, browser, page, "waiting")
	page = arrived(browser.Follow(s.collect(browser, page)))
	says(t, page, http.StatusOK, "Nobody has answered yet.")
	s.says(t, "yes")
	s.expectProgress(t, browser, page, "settled")
	page = arrived(browser.Follow(s.collect(browser, page)))
	says(t, page, http.StatusOK, "The app")

	// Denied at the pager: nobody gets in, and the next message leaves by a button.
	browser, page = s.asked(t)
	s.says(t, "no")
	s.expectProgress(t, browser, page, "settled")
	before = len(s.sent(t))
	denied := s.collect(browser, page)
	says(t, denied, http.StatusUnprocessableEntity, "That's not what the pager says.", "Send it")
	page = browser.Visit(page.URL.String())
	if len(s.sent(t)) != before {
		t.Error("a reload asked again")
	}
	page = arrived(browser.Follow(browser.PostForm(s.At("login", "/flow/send"), url.Values{"flow": {page.URL.Query().Get("id")}, "factor": {"pager"}})))
	says(t, page, http.StatusOK, "Sent.", "I've answered")
	s.says(t, "yes")
	says(t, arrived(browser.Follow(s.collect(browser, page))), http.StatusOK, "The app")
}

func (s *pagerSuite) testAgain(t *testing.T) {
	browser, page := s.asked(t)
	form := url.Values{"flow": {page.URL.Query().Get("id")}, "factor": {"pager"}}
	ref := s.newest(t)
	left := []string{"You can send it 1 more time.", "Continue"}
	for _, want := range left {
		harness.Eventually(t, 30*time.Second, "another message", func() bool {
			answer := browser.PostForm(s.At("login", "/flow/send"), form)
			if answer.Status == http.StatusTooManyRequests {
				if answer.Header.Get("Retry-After") == "" || !strings.Contains(answer.Text(), "We sent one a moment ago.") {
					t.Errorf("too soon: %v %s", answer.Header, answer.Text())
				}
				return false
			}
			says(t, arrived(browser.Follow(answer)), http.StatusOK, "Sent.", want)
			return true
		})
	}
	refused := browser.PostForm(s.At("login", "/flow/send"), form)
	says(t, refused, http.StatusUnprocessableEntity, "We can't send any more messages.")
	if s.newest(t) != ref {
		t.Error("another question was asked")
	}
	page = arrived(browser.Follow(browser.Submit(page.Form("code"), map[string]string{"code": pager.Code(ref)})))
	says(t, page, http.StatusOK, "The app")
}

func (s *pagerSuite) testAnotherBrowser(t *testing.T) {
	_, page := s.asked(t)
	s.says(t, "yes")
	stranger := s.Client()
	s.expectProgress(t, stranger, page, "over")
	answer := stranger.PostForm(s.At("login", "/flow/challenge"), url.Values{
		"flow": {page.Form("code").Value("flow")}, "factor": {"pager"}, "collect": {"yes"},
	})
	says(t, answer, http.StatusGone, "This page has expired")
}

func (s *pagerSuite) testBrowser(t *testing.T) {
	v := visit(t, s.Server, harness.BrowserOptions{})
	v.Navigate(s.At("app", "/"))
	v.showPassword(s.ada)
	v.AwaitH1("Answer on your pager")
	v.AwaitText("Waiting for your answer on the other device.")
	v.Reload()
	v.AwaitText("Waiting for your answer on the other device.")
	s.says(t, "yes")
	v.AwaitH1("The app") // without a click

	// A sign-in that leads to an account page, by the code.
	other := v.another(harness.BrowserOptions{})
	other.Navigate(s.At("login", "/account/pager"))
	other.showPassword(s.ada)
	other.AwaitH1("Answer on your pager")
	other.Fill("one-time-code", pager.Code(s.newest(t)))
	other.ClickThrough("Continue")
	other.AwaitH1("Pagers")
}

func (s *pagerSuite) testLoss(t *testing.T) {
	for i := range 6 {
		browser, page := s.asked(t)
		answer := browser.Submit(page.Form("code"), map[string]string{"code": "12345678"})
		if slowed := answer.Status == http.StatusTooManyRequests; slowed != (i == 5) {
			t.Errorf("guess %d: %d %s", i+1, answer.Status, answer.Text())
		}
	}
	browser, page := s.asked(t)
	page = browser.Click(page.Link("I can't use this"))
	says(t, page, http.StatusOK, "You can't use your pager")
	page = arrived(browser.Follow(browser.Submit(page.Form("lose"), nil)))
	page = s.ada.ShowCode(browser, page, s.ada.Code())
	says(t, page, http.StatusOK, "Set up your pager")
	page = arrived(browser.Follow(browser.Submit(page.Form("number"), map[string]string{"number": "555-2"})))
	page = arrived(browser.Follow(browser.Submit(page.Form("code"), map[string]string{"code": pager.Code(s.newest(t))})))
	says(t, page, http.StatusOK, "The app")
}
