package sms_test

import (
	"context"
	"encoding/json"
	"encoding/xml"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/notify"
	"github.com/portcullis-mfa/portcullis/notify/sms"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/test/smsgateway"
)

const (
	secret = "the gateway's token"
	number = "+491701234567"
	text   = "12345678 is your code for \"Müller & Söhne\".\n\n@login.example.com #12345678"
)

func configOf(s *smsgateway.Server) sms.Config {
	return sms.Config{
		URL: s.URL, Method: http.MethodPost, Body: `{"to": "{to}", "text": "{text}"}`,
		Header: http.Header{"Authorization": {"Bearer " + secret}, "Content-Type": {"application/json; charset=utf-8"}},
	}
}

func send(t *testing.T, ctx context.Context, c sms.Config) (string, error) {
	t.Helper()
	gateway, err := sms.New(c)
	if err != nil {
		t.Fatal(err)
	}
	return gateway.Send(ctx, sms.Message{ID: "0123456789abcdef", To: number, Text: text})
}

func TestSend(t *testing.T) {
	server := smsgateway.Start(t, secret)
	config := configOf(server)
	config.Answer = regexp.MustCompile(`"status":"queued"`)
	if answer, err := send(t, t.Context(), config); err != nil || answer != "202" {
		t.Fatalf("the answer is %q, %v", answer, err)
	}
	if inbox := server.Inbox(); len(inbox) != 1 || inbox[0] != (smsgateway.Message{To: number, Text: text}) {
		t.Errorf("the inbox is %+v", inbox)
	}
}

// TestX08GatewaysThatFail wants each failure told apart, and told without the
// number, the code or the token, though the gateway echoes them all.
func TestX08GatewaysThatFail(t *testing.T) {
	other := smsgateway.Start(t, secret)
	tests := map[string]struct {
		failure smsgateway.Failure
		change  func(*sms.Config)
		want    notify.Failure
	}{
		"too many":             {failure: smsgateway.Failure{Status: 429}, want: notify.Failure{Code: "gateway", Status: "429", Once: true}},
		"out of order":         {failure: smsgateway.Failure{Status: 503}, want: notify.Failure{Code: "gateway", Status: "503", Once: true}},
		"refused":              {failure: smsgateway.Failure{Status: 400}, want: notify.Failure{Code: "gateway", Status: "400", Permanent: true}},
		"a redirect":           {failure: smsgateway.Failure{Status: 307, Location: other.URL}, want: notify.Failure{Code: "redirect", Status: "307", Permanent: true}},
		"another status":       {change: func(c *sms.Config) { c.Accepted = []int{200} }, want: notify.Failure{Code: "gateway", Status: "202", Permanent: true}},
		"another answer":       {change: func(c *sms.Config) { c.Answer = regexp.MustCompile("^sent") }, want: notify.Failure{Code: "gateway", Status: "202", Permanent: true}},
		"an endless answer":    {failure: smsgateway.Failure{Status: 200, Body: strings.Repeat("x", 1<<20) + "sent"}, change: func(c *sms.Config) { c.Answer = regexp.MustCompile("sent") }, want: notify.Failure{Code: "gateway", Status: "200", Permanent: true}},
		"nobody listens":       {change: func(c *sms.Config) { c.URL = "http://127.0.0.1:1/" + secret }, want: notify.Failure{Code: "connect", Once: true}},
		"gone after it read":   {failure: smsgateway.Failure{Cut: true}, want: notify.Failure{Code: notify.Unknown, Permanent: true}},
		"silent after it read": {failure: smsgateway.Failure{Hang: true}, want: notify.Failure{Code: notify.Unknown, Permanent: true}},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			server := smsgateway.Start(t, secret)
			server.Fail(test.failure)
			config := configOf(server)
			if test.change != nil {
				test.change(&config)
			}
			ctx, cancel := context.WithCancel(t.Context())
			defer cancel()
			if test.failure.Hang {
				time.AfterFunc(200*time.Millisecond, cancel)
			}
			_, err := send(t, ctx, config)
			var got *notify.Failure
			if !errors.As(err, &got) {
				t.Fatalf("the error is %v", err)
			}
			if got.Code != test.want.Code || got.Status != test.want.Status || got.Permanent != test.want.Permanent || got.Once != test.want.Once {
				t.Errorf("the failure is %+v, want %+v", *got, test.want)
			}
			for _, hidden := range []string{number, "12345678", secret, url.PathEscape(secret)} {
				if strings.Contains(err.Error(), hidden) {
					t.Errorf("the error tells %q: %v", hidden, err)
				}
			}
			if name != "nobody listens" && server.Requests() != 1 {
				t.Errorf("the gateway was asked %d times", server.Requests())
			}
		})
	}
	if other.Requests() != 0 {
		t.Error("the redirect was followed")
	}
}

// TestBodies has values that mean something in each type of body come back as they
// were.
func TestBodies(t *testing.T) {
	const nasty = "a\"b\\c&d=e+f<g>h{to}\ni%20"
	bodies := map[string]struct {
		body string
		read func(string) (to, text, password string)
	}{
		"application/json": {`{"to":"{to}","m":{"text":"{text}"},"p":"{env.P}"}`, func(s string) (string, string, string) {
			var v struct {
				To, P string
				M     struct{ Text string }
			}
			_ = json.Unmarshal([]byte(s), &v)
			return v.To, v.M.Text, v.P
		}},
		"application/x-www-form-urlencoded": {"to={to}&text={text}&p={env.P}", func(s string) (string, string, string) {
			v, _ := url.ParseQuery(s)
			return v.Get("to"), v.Get("text"), v.Get("p")
		}},
		"text/xml": {`<m p="{env.P}"><to>{to}</to><text>{text}</text></m>`, func(s string) (string, string, string) {
			var v struct {
				P    string `xml:"p,attr"`
				To   string `xml:"to"`
				Text string `xml:"text"`
			}
			_ = xml.Unmarshal([]byte(s), &v)
			return v.To, v.Text, v.P
		}},
	}
	for kind, test := range bodies {
		t.Run(kind, func(t *testing.T) {
			var got string
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				var b strings.Builder
				_ = r.Write(&b)
				_, got, _ = strings.Cut(b.String(), "\r\n\r\n")
			}))
			defer server.Close()
			gateway, err := sms.New(sms.Config{
				URL: server.URL, Method: http.MethodPost, Body: test.body, Values: map[string]string{"env.P": nasty},
				Header: http.Header{"Content-Type": {kind}},
			})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := gateway.Send(t.Context(), sms.Message{To: number, Text: nasty}); err != nil {
				t.Fatal(err)
			}
			if to, text, password := test.read(got); to != number || text != nasty || password != nasty {
				t.Errorf("read back: %q, %q, %q", to, text, password)
			}
		})
	}
}

// TestTwilio holds the request that Twilio's API expects.
func TestTwilio(t *testing.T) {
	var form url.Values
	var account, token string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		account, token, _ = r.BasicAuth()
		_ = r.ParseForm()
		form = r.PostForm
		w.WriteHeader(http.StatusCreated)
	}))
	defer server.Close()
	for from, field := range map[string]string{"+15005550006": "From", "MG0123": "MessagingServiceSid"} {
		config := sms.Twilio("AC0123", secret, from)
		if config.URL != "https://api.twilio.com/2010-04-01/Accounts/AC0123/Messages.json" {
			t.Errorf("the URL is %s", config.URL)
		}
		config.URL = server.URL
		if _, err := send(t, t.Context(), config); err != nil {
			t.Fatal(err)
		}
		if account != "AC0123" || token != secret || form.Get("To") != number || form.Get("Body") != text || form.Get(field) != from {
			t.Errorf("the request is by %s: %v", account, form)
		}
	}
}

// TestConfigurationsThatAreWrong wants each refused with what to write instead.
func TestConfigurationsThatAreWrong(t *testing.T) {
	for want, change := range map[string]func(*sms.Config){
		"header Content-Type: write": func(c *sms.Config) { c.Header.Del("Content-Type") },
		"write application/json":     func(c *sms.Config) { c.Header.Set("Content-Type", "text/plain") },
		"{text} is missing":          func(c *sms.Config) { c.Body = `{"to": "{to}"}` },
		"this isn't JSON":            func(c *sms.Config) { c.Body = `{"to": {to}, "text": {text}}` },
		"write POST or PUT":          func(c *sms.Config) { c.Method = "GET" },
		"contains a line break":      func(c *sms.Config) { c.Header.Set("Authorization", "Bearer "+secret+"\n") },
		"can't be set":               func(c *sms.Config) { c.Header["A b"] = []string{"c"} },
	} {
		config := configOf(&smsgateway.Server{URL: "https://sms.example.com"})
		change(&config)
		if _, err := sms.New(config); err == nil || !strings.Contains(err.Error(), want) || strings.Contains(err.Error(), secret) {
			t.Errorf("the error is %v, want %s", err, want)
		}
	}
}

func TestFitsOneSegment(t *testing.T) {
	for written, want := range map[string]bool{
		strings.Repeat("a", 160): true, strings.Repeat("a", 161): false, strings.Repeat("ü", 160): true,
		strings.Repeat("€", 80): true, strings.Repeat("€", 81): false, "ç": false, "“": false, "\u2068a\u2069": false, "": true,
	} {
		if got := sms.FitsOneSegment(written); got != want {
			t.Errorf("%q fits: %t", written, got)
		}
	}
}

// kept is a gateway that keeps what it is handed.
type kept struct{ got sms.Message }

func (k *kept) Send(_ context.Context, m sms.Message) (string, error) {
	k.got = m
	return "200", nil
}

// TestWrite has each message be one segment that ends in the line for browsers,
// whatever the brand is called.
func TestWrite(t *testing.T) {
	pages, err := templates.New(templates.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for _, language := range []string{"en", "de"} {
		for _, brand := range []string{"Example Corp", "Пример", strings.Repeat("Long ", 40), "{{.Code}}"} {
			for _, adding := range []bool{false, true} {
				gateway := new(kept)
				writer := &sms.Writer{Pages: pages, Gateway: gateway, Domain: "login.example.com", Frame: templates.MailFrame{Brand: brand}}
				letter := factors.Letter{To: number, Template: "code", Language: language, Content: templates.CodeMail{Code: "12345678", Adding: adding}}
				if _, err := writer.Write(t.Context(), "m1", letter); err != nil {
					t.Fatalf("%s, %s: %v", language, brand, err)
				}
				if got := gateway.got.Text; !sms.FitsOneSegment(got) || !strings.HasSuffix(got, "\n\n@login.example.com #12345678") || !strings.HasPrefix(got, "12345678 ") {
					t.Errorf("%s, %s: the message is %q", language, brand, got)
				}
			}
		}
	}
}

func FuzzBody(f *testing.F) {
	for _, seed := range []string{"{to}", "a\"b", "\xff\x00", "{text}{to}", "\u2028"} {
		f.Add(seed)
	}
	var got struct{ To, Text string }
	server := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		got.To, got.Text = "", ""
		_ = json.NewDecoder(r.Body).Decode(&got)
	}))
	defer server.Close()
	gateway, err := sms.New(configOf(&smsgateway.Server{URL: server.URL}))
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, text string) {
		if _, err := gateway.Send(t.Context(), sms.Message{To: number, Text: text}); err != nil {
			t.Fatal(err)
		}
		if got.To != number || got.Text != strings.ToValidUTF8(text, "\ufffd") {
			t.Logf("%q is read as %q", text, got.Text)
		}
		if got.To != number {
			t.Errorf("%q changes the number to %q", text, got.To)
		}
	})
}
