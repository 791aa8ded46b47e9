package templates

import (
	"bytes"
	"reflect"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"golang.org/x/net/html"
)

const qrSample = `<svg viewBox="0 0 1 1"><path d="M0 0h1v1h-1z"/></svg>`

var frame = Frame{
	Brand: "Example Corp", Contact: "Help desk", Assets: "/assets/abc", Language: English,
	Languages: []Language{{"en", "English"}, {"de", "Deutsch"}}, Here: "/sign-in",
}

var moreTime = MoreTime{Seconds: 900, Flow: "f1"}

// fullViews returns a view of every page with every field filled.
func fullViews() map[string]any {
	since := time.Date(2025, 6, 19, 11, 52, 45, 0, time.UTC)
	others := []Choice{{Kind: "fido", Text: "Use your security key", URL: "/flow/other"}, {Standby: true, Kind: "backup_code", Text: "Use a backup code", URL: "/flow/code"}}
	problem := Message{Text: "That didn't work."}
	onCode := Message{Field: "code", Text: "That code didn't work."}
	return withAccount(map[string]any{
		"sign_in":  SignInView{Frame: frame, Host: "wiki.example.com", Request: "r1", Name: "alice", Shared: true, Error: problem, Current: "bob", Passkey: true, Unknown: "AAEC"},
		"password": PasswordView{Frame: frame, MoreTime: moreTime, Flow: "f1", Host: "wiki.example.com", Name: "alice", Error: problem, StartOver: "/sign-in"},
		"challenge_totp": ChallengeView{Frame: frame, MoreTime: moreTime, Lost: "/flow/lost", Flow: "f1", Host: "wiki.example.com", Name: "alice", Error: onCode,
			Ceremony: TOTPChallenge{Digits: 8, Period: 60}, Others: others, Remember: "30 days", Remembering: true, StepUp: true, StartOver: "/sign-in"},
		"challenge_email": ChallengeView{Frame: frame, MoreTime: moreTime, Lost: "/flow/lost", Flow: "f1", Host: "wiki.example.com", Name: "alice", Error: onCode,
			Ceremony: MessageCode{Address: "a…e@e….com", Sent: true, Digits: 8, Minutes: 10}, Asked: Asked{Sending: &Sending{Flow: "f1", Factor: "email", After: 20 * time.Second, Left: 2}, Said: "We sent it again."},
			Others: others, Remember: "30 days", Remembering: true, StepUp: true, StartOver: "/sign-in"},
		"challenge_push": ChallengeView{Frame: frame, MoreTime: moreTime, Lost: "/flow/lost", Flow: "f1", Host: "wiki.example.com", Name: "alice", Error: problem,
			Ceremony: PushChallenge{Number: "123456", QR: qrSample, Link: "https://phone.example.com/#r=x", Code: "7K2M9Q", Authenticator: "https://phone.example.com", Phones: 1, Minutes: 2},
			Asked:    Asked{Said: "Nobody has answered yet.", Waiting: &Waiting{Poll: "/flow/wait", Page: "/flow", Left: 2 * time.Minute}, Sending: &Sending{Flow: "f1", Factor: "push", Left: 2}},
			Others:   others, Remember: "30 days", Remembering: true, StepUp: true, StartOver: "/sign-in"},
		"enrol_push": EnrolView{Frame: frame, Help: "/help/push", Cancel: "/account/push", MoreTime: moreTime, Others: others, Flow: "f1", Step: Step{2, 3}, Name: "alice", Error: onCode,
			Ceremony: PushEnrolment{Stage: "claimed", Phone: "Blue phone", Contested: true, Left: 2, Authenticator: "https://phone.example.com"}},
		"enrol_email": EnrolView{Frame: frame, Called: "a…e@e….com", Help: "/help/email", Cancel: "/account/email", MoreTime: moreTime, Others: others, Flow: "f1", Step: Step{2, 3}, Name: "alice", Error: onCode,
			Ceremony: MessageEnrolment{Sent: &MessageCode{Address: "alice@example.com", Sent: true, Digits: 8, Minutes: 10}}, Asked: Asked{Sending: &Sending{Flow: "f1", Factor: "email", Left: 2}}},
		"challenge_sms": ChallengeView{Frame: frame, MoreTime: moreTime, Lost: "/flow/lost", Flow: "f1", Host: "wiki.example.com", Name: "alice", Error: onCode,
			Ceremony: MessageCode{Address: "…67", Sent: true, Digits: 8, Minutes: 10}, Asked: Asked{Sending: &Sending{Flow: "f1", Factor: "sms", After: 20 * time.Second, Left: 2}, Said: "We sent it again."},
			Others: others, Remember: "30 days", Remembering: true, StepUp: true, StartOver: "/sign-in"},
		"enrol_sms": EnrolView{Frame: frame, Called: "…67", Help: "/help/sms", Cancel: "/account/sms", MoreTime: moreTime, Others: others, Flow: "f1", Step: Step{2, 3}, Name: "alice", Error: onCode,
			Ceremony: MessageEnrolment{Sent: &MessageCode{Address: "+491701234567", Sent: true, Digits: 8, Minutes: 10}}, Asked: Asked{Sending: &Sending{Flow: "f1", Factor: "sms", Left: 2}}},
		"challenge_backup_code": ChallengeView{Frame: frame, MoreTime: moreTime, Lost: "/flow/lost", Flow: "f1", Host: "wiki.example.com", Name: "alice", Error: onCode,
			Others: others, Remember: "30 days", Remembering: true, StepUp: true, StartOver: "/sign-in"},
		"challenge_fido": ChallengeView{Frame: frame, MoreTime: moreTime, Help: "/help/fido", Note: "Your new key counts here from tomorrow.", Lost: "/flow/lost", Flow: "f1", Host: "wiki.example.com", Name: "alice", Error: Message{Field: "credential", Text: "That key didn't work."},
			Ceremony: FIDOCeremony{Options: `{"challenge":"AA","rpId":"login.example.com"}`}, Others: others, Remember: "30 days", Remembering: true, StepUp: true, StartOver: "/sign-in"},
		"account": AccountView{Frame: frame, MoreTime: moreTime, Flow: "f1", Step: Step{1, 3}, Name: "alice", DisplayName: "Alice Young", MinLength: 8,
			Errors: []Message{problem, {Field: "name", Text: "That name is taken."}, {Field: "password", Text: "Too short."}}, First: true},
		"enrol_totp": EnrolView{Frame: frame, Called: "Work phone", Help: "/help/totp", Cancel: "/account/totp", MoreTime: moreTime, Others: others, Flow: "f1", Step: Step{2, 3}, Name: "alice", Error: onCode, Ceremony: TOTPEnrolment{
			QR: qrSample, Key: "JBSW Y3DP", URI: "otpauth://totp/Example:alice?secret=JBSWY3DP", Issuer: "Example", Account: "alice", Digits: 6, Period: 30}},
		"enrol_backup_code": EnrolView{Frame: frame, MoreTime: moreTime, Others: others, Flow: "f1", Step: Step{3, 3}, Name: "alice", Error: Message{Field: "saved", Text: "Save them first."},
			Ceremony: BackupCodes{Codes: []string{"k7mq-2v9x-tw4h", "p3nd-8zrc-j6yk"}}, Download: "/flow/file?id=x"},
		"enrol_fido": EnrolView{Frame: frame, Called: "Blue key", Help: "/help/fido", MoreTime: moreTime, Others: others, Flow: "f1", Step: Step{2, 3}, Name: "alice", Error: Message{Field: "credential", Text: "That key didn't work.", Unknown: "AAEC"},
			Ceremony: FIDOCeremony{Options: `{"challenge":"AA","rp":{"id":"login.example.com"}}`}},
		"home": HomeView{Frame: frame, Done: "Your account is ready.", Name: "alice", DisplayName: "Alice Young",
			Apps: []App{{Name: "wiki.example.com", URL: "https://wiki.example.com"}}, Since: since, Until: since.Add(12 * time.Hour)},
		"forgotten":   ForgottenView{Frame: frame, Name: "alice", Error: Message{Field: "name", Text: "Enter a name."}},
		"undo":        UndoView{Frame: frame, Token: "t1", Name: "alice", Error: Message{Field: "name", Text: "That isn't the name."}, Credential: true},
		"sign_out":    SignOutView{Frame: frame, Name: "alice", Action: "/.mfa/sign-out"},
		"signed_out":  SignedOutView{Frame: frame, SignIn: "/sign-in", ByDevice: true},
		"signed_in":   SignedInView{Frame: frame, Host: "wiki.example.com"},
		"send_again":  SendAgainView{Frame: frame, Host: "wiki.example.com", StepUp: true, SignIn: "/.mfa/sign-in"},
		"leave_frame": LeaveFrameView{Frame: frame, Host: "wiki.example.com", StepUp: true, SignIn: "/.mfa/sign-in"},
		"refused":     RefusedView{Frame: frame, Name: "alice", What: "git.example.com/admin", Switch: "/switch", Home: "/", Reference: "7F3K-92QD"},
		"problem": ProblemView{Frame: frame, Status: 429, Title: "Too many attempts", Text: "Use your security key, or wait.", Action: "Try again",
			ActionURL: "/", WholeWindow: true, RetryAfter: 4 * time.Minute, Reference: "7F3K-92QD"},
	})
}

// minimalViews returns the empty view of every page.
func minimalViews(t *testing.T) map[string]any {
	t.Helper()
	views := make(map[string]any)
	for page := range fullViews() {
		views[page] = emptyView(page)
	}
	views["enrol_totp"] = EnrolView{Ceremony: TOTPEnrolment{}}
	views["challenge_email"] = ChallengeView{Ceremony: MessageCode{}, Asked: Asked{Sending: &Sending{First: true}}}
	views["enrol_email"] = EnrolView{Ceremony: MessageEnrolment{}}
	views["challenge_push"] = ChallengeView{Ceremony: PushChallenge{}, Asked: Asked{Sending: &Sending{First: true}}}
	views["enrol_push"] = EnrolView{Ceremony: PushEnrolment{Link: "https://phone.example.com/#p=t", QR: qrSample, Code: "ABCD-EFGH"}, Asked: Asked{Waiting: &Waiting{}}}
	views["challenge_sms"] = ChallengeView{Ceremony: MessageCode{}, Asked: Asked{Sending: &Sending{First: true}}}
	views["enrol_sms"] = EnrolView{Ceremony: MessageEnrolment{}}
	return views
}

// inLanguageOf returns a copy of the view for that language.
func inLanguageOf(view any, tag string) any {
	value := reflect.New(reflect.TypeOf(view)).Elem()
	value.Set(reflect.ValueOf(view))
	value.FieldByName("Language").SetString(tag)
	return value.Interface()
}

// embeddedSet is loaded once for all tests: nothing in it changes.
var embeddedSet = sync.OnceValues(func() (*Set, error) { return New(Options{}) })

func newSet(t *testing.T) *Set {
	t.Helper()
	set, err := embeddedSet()
	if err != nil {
		t.Fatal(err)
	}
	return set
}

func render(t *testing.T, set *Set, page string, view any) string {
	t.Helper()
	var out bytes.Buffer
	if err := set.Render(&out, page, view); err != nil {
		t.Fatal(err)
	}
	return out.String()
}

// document is a rendered page as a browser would read it.
type document struct {
	elements []*html.Node
}

// scripted finds what a page puts in place by scripted.js, and by nothing else.
var scripted = regexp.MustCompile(`(?s)<script type="text/html">(.*?)</script>`)

// parsed returns a page as browsers with scripts have it.
func parsed(t *testing.T, page string) document {
	t.Helper()
	return parsedWithoutScripts(t, scripted.ReplaceAllString(page, "$1"))
}

func parsedWithoutScripts(t *testing.T, page string) document {
	t.Helper()
	root, err := html.Parse(strings.NewReader(page))
	if err != nil {
		t.Fatal(err)
	}
	var doc document
	for node := range root.Descendants() {
		if node.Type == html.ElementNode {
			doc.elements = append(doc.elements, node)
		}
	}
	return doc
}

// all returns the elements with that tag; "": every one.
func (d document) all(tag string) []*html.Node {
	var found []*html.Node
	for _, element := range d.elements {
		if tag == "" || element.Data == tag {
			found = append(found, element)
		}
	}
	return found
}

func (d document) byID(id string) *html.Node {
	for _, element := range d.elements {
		if value, _ := attribute(element, "id"); value == id {
			return element
		}
	}
	return nil
}

func attribute(element *html.Node, name string) (value string, found bool) {
	for _, attribute := range element.Attr {
		if attribute.Key == name {
			return attribute.Val, true
		}
	}
	return "", false
}

// text returns the words in the element with single spaces between them.
func text(element *html.Node) string {
	var words strings.Builder
	for node := range element.Descendants() {
		if node.Type == html.TextNode {
			words.WriteString(node.Data)
		}
	}
	return strings.Join(strings.Fields(words.String()), " ")
}
