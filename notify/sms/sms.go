// Package sms hands text messages over to an HTTP gateway that the operator
// describes.
//
// The package must not know what text messages are about, or when to send one again.
package sms

import (
	"bytes"
	"context"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptrace"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/portcullis-mfa/portcullis/notify"
)

const (
	// patience bounds a request, its answer included.
	patience = 10 * time.Second
	// longestAnswer is how much of an answer is read, in bytes.
	longestAnswer = 64 << 10
)

// Config describes a gateway.
type Config struct {
	URL    string
	Method string // POST or PUT
	Header http.Header
	// Body is the template of request bodies, in which {to}, {from}, {text} and {id}
	// stand for values. They are escaped as the Content-Type in Header says.
	Body string
	// Values are those of further placeholders in Body, such as {env.PASSWORD}, by the text
	// between the braces.
	Values map[string]string
	// From is who the messages are from.
	From string
	// Accepted are the statuses by which the gateway accepts a message; empty: every
	// 2xx.
	Accepted []int
	// Answer must match the answer's body as well; nil: any body will do.
	Answer *regexp.Regexp
}

// Twilio describes the gateway of Twilio's API (Messages resource, version
// 2010-04-01) for an account. from is a number, a name, or the SID of a messaging
// service.
func Twilio(account, token, from string) Config {
	sender := "From"
	if strings.HasPrefix(from, "MG") {
		sender = "MessagingServiceSid"
	}
	return Config{
		URL:    "https://api.twilio.com/2010-04-01/Accounts/" + url.PathEscape(account) + "/Messages.json",
		Method: http.MethodPost,
		Header: http.Header{
			"Authorization": {"Basic " + base64.StdEncoding.EncodeToString([]byte(account+":"+token))},
			"Content-Type":  {"application/x-www-form-urlencoded"},
		},
		Body: "To={to}&" + sender + "={from}&Body={text}", From: from, Accepted: []int{http.StatusCreated},
	}
}

// Message is one text message to one number.
type Message struct {
	ID   string
	To   string // in E.164 form
	Text string
}

// Gateway hands text messages over. It is safe for concurrent use.
type Gateway struct {
	config Config
	body   body
	client *http.Client
}

// New returns a Gateway, or an error that says what to write instead.
func New(c Config) (*Gateway, error) {
	parsed, err := parseBody(c.Body, c.Header.Get("Content-Type"), c.Values)
	if err != nil {
		return nil, err
	}
	if c.Method != http.MethodPost && c.Method != http.MethodPut {
		return nil, fmt.Errorf("method %q: write POST or PUT", c.Method)
	}
	if err := checkHeader(c.Header); err != nil {
		return nil, err
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	// An idle connection that the gateway closes has the next request fail without
	// anybody knowing whether the gateway read it.
	transport.DisableKeepAlives = true
	return &Gateway{c, parsed, &http.Client{
		Transport: transport, Timeout: patience,
		// A redirect would have the number, the code and the secrets go elsewhere.
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}}, nil
}

// checkHeader refuses fields that can't be sent, without telling their values.
func checkHeader(header http.Header) error {
	for name, values := range header {
		if name == "Host" || name == "Content-Length" || strings.ContainsFunc(name, func(r rune) bool { return r <= ' ' || r == ':' || r >= 0x7f }) {
			return fmt.Errorf("header %q: this field can't be set: remove it, or correct its name", name)
		}
		if slices.ContainsFunc(values, func(v string) bool { return strings.ContainsAny(v, "\r\n\x00") }) {
			return fmt.Errorf("header %s: its value contains a line break. A file that holds a secret must not end in one", name)
		}
	}
	return nil
}

// Send hands a text message over and returns what the gateway answered, or a
// *notify.Failure.
func (g *Gateway) Send(ctx context.Context, m Message) (answer string, err error) {
	var connected atomic.Bool
	ctx = httptrace.WithClientTrace(ctx, &httptrace.ClientTrace{GotConn: func(httptrace.GotConnInfo) { connected.Store(true) }})
	content := g.body.fill(map[string]string{"to": m.To, "from": g.config.From, "text": m.Text, "id": m.ID})
	request, err := http.NewRequestWithContext(ctx, g.config.Method, g.config.URL, bytes.NewReader(content))
	if err != nil {
		return "", &notify.Failure{Code: "connect", Permanent: true, Err: errors.New("the address of the gateway can't be used")}
	}
	request.Header = g.config.Header.Clone()
	request.GetBody = nil // or the transport could send it twice
	response, err := g.client.Do(request)
	if err != nil {
		return "", unanswered(err, connected.Load())
	}
	defer response.Body.Close()
	read, err := io.ReadAll(io.LimitReader(response.Body, longestAnswer))
	return g.judge(response.StatusCode, read, err)
}

// unanswered is why there is no answer. An error of the client's contains the URL,
// which may contain a secret, so its cause alone is kept.
func unanswered(err error, connected bool) *notify.Failure {
	var asked *url.Error
	if errors.As(err, &asked) {
		err = asked.Err
	}
	if connected { // the message may be on its way
		return &notify.Failure{Code: notify.Unknown, Permanent: true, Err: errors.New("the gateway gave no answer")}
	}
	return &notify.Failure{Code: "connect", Once: true, Err: err}
}

// judge decides what an answer means. What the gateway says may echo the message,
// so none of it is told but the status.
func (g *Gateway) judge(status int, content []byte, broken error) (string, error) {
	failure := &notify.Failure{Code: "gateway", Status: strconv.Itoa(status), Permanent: true}
	accepted := status >= 200 && status <= 299
	if len(g.config.Accepted) > 0 {
		accepted = slices.Contains(g.config.Accepted, status)
	}
	switch {
	case accepted && g.config.Answer == nil, accepted && g.config.Answer.Match(content):
		return failure.Status, nil
	case accepted && broken != nil:
		failure.Code, failure.Err = notify.Unknown, errors.New("the answer was cut off")
	case accepted:
		failure.Err = errors.New("the answer doesn't say that the gateway accepted the message")
	case status >= 300 && status <= 399:
		failure.Code, failure.Err = "redirect", errors.New("the gateway redirects, and redirects aren't followed")
	case status == http.StatusTooManyRequests || status >= 500:
		failure.Permanent, failure.Once = false, true
	}
	return "", failure
}
