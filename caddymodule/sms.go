package caddymodule

import (
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2/caddyconfig/caddyfile"

	"github.com/portcullis-mfa/portcullis/factors/otpmessage"
	"github.com/portcullis-mfa/portcullis/notify/sms"
)

// SMS lets people use codes by text message as their second factor. NIST restricts
// this factor (SP 800-63B-4 §3.1.3.3): text messages can be read on the way, and a
// number can be taken over by whoever persuades the phone company.
type SMS struct {
	// Gateway is the HTTP service that accepts the messages. Required, unless
	// twilio is set.
	Gateway *SMSGateway `json:"gateway,omitempty"`
	// Twilio are the settings for Twilio's API, or for a service with the same API.
	// Default: none.
	Twilio *Twilio `json:"twilio,omitempty"`
	// Regions are the countries whose mobile numbers people may use, as ISO 3166
	// codes such as DE. Numbers without a country code are read as numbers of the
	// first. Required.
	Regions []string `json:"regions,omitempty"`
	// From is the value of {from} in the gateway's body. Default: empty.
	From string `json:"from,omitempty"`
	// Limit is how many messages may be sent in an hour, to all people together. 30 % of
	// them are reserved for known browsers. Default: 100.
	Limit int `json:"limit,omitempty"`

	Platforms
}

// SMSGateway describes an HTTP service that accepts text messages.
type SMSGateway struct {
	// URL is where requests go: https, or http on this machine. Required.
	URL string `json:"url,omitempty"`
	// Method is POST or PUT. Default: POST.
	Method string `json:"method,omitempty"`
	// Headers are sent with each request. Content-Type is required, and says how
	// values in the body are escaped. To keep secrets out of the configuration, use
	// placeholders such as {env.SMS_TOKEN} or {file./etc/portcullis/sms}.
	Headers map[string]string `json:"headers,omitempty"`
	// Body is the body of each request, with {to}, {text} and, if the gateway needs
	// them, {from} and {id}, which differs from message to message. Required.
	Body string `json:"body,omitempty"`
	// Accepted are the statuses by which the gateway accepts a message. Default:
	// 200 to 299.
	Accepted []int `json:"accepted,omitempty"`
	// Answer is a regular expression that the answer's body must match, too.
	// Default: none.
	Answer string `json:"answer,omitempty"`
}

// Twilio is an account with Twilio.
type Twilio struct {
	// Account is the account's SID. Required.
	Account string `json:"account,omitempty"`
	// Token is the account's auth token. Required.
	Token string `json:"token,omitempty"`
	// From is a number, a sender's name, or the SID of a messaging service.
	// Required.
	From string `json:"from,omitempty"`
}

// longestDomain is the longest host that fits into the last line of a message.
const longestDomain = 130

// resolve completes and checks the settings, and returns the gateway for them.
func (s *SMS) resolve(portalHost string) (*sms.Gateway, error) {
	if err := s.checkServices(); err != nil {
		return nil, err
	}
	if len(portalHost) > longestDomain {
		return nil, fmt.Errorf("the portal's host has more than %d characters, and leaves no room for a code in a text message", longestDomain)
	}
	if err := otpmessage.CheckRegions(s.Regions); err != nil {
		return nil, fmt.Errorf("regions: %w", err)
	}
	if s.Limit == 0 {
		s.Limit = 100
	}
	if s.Limit < 0 {
		return nil, fmt.Errorf("limit %d: write how many messages may be sent in an hour, such as 100", s.Limit)
	}
	if err := s.Platforms.check(); err != nil {
		return nil, err
	}
	if s.Twilio != nil {
		return s.Twilio.resolve()
	}
	from, err := expand("from", s.From)
	if err != nil {
		return nil, err
	}
	return s.Gateway.resolve(from)
}

func (t *Twilio) resolve() (*sms.Gateway, error) {
	var account, token, from string
	for setting, field := range map[string]struct {
		written string
		to      *string
	}{"account": {t.Account, &account}, "token": {t.Token, &token}, "from": {t.From, &from}} {
		var err error
		if *field.to, err = expand(setting, field.written); err != nil {
			return nil, err
		}
		if *field.to == "" {
			return nil, fmt.Errorf("twilio: %s is missing: write account, token and from", setting)
		}
	}
	return sms.New(sms.Twilio(account, token, from))
}

// inBody finds the placeholders of a body that Caddy knows.
var inBody = regexp.MustCompile(`\{((?:env|file)\.[^{}]+)\}`)

func (g *SMSGateway) resolve(from string) (*sms.Gateway, error) {
	config := sms.Config{
		Method: g.Method, Header: make(http.Header), Body: g.Body, Values: make(map[string]string), From: from, Accepted: g.Accepted,
	}
	var err error
	if config.URL, err = expand("gateway", g.URL); err != nil {
		return nil, err
	}
	if err := checkGateway(config.URL); err != nil {
		return nil, err
	}
	if config.Method == "" {
		config.Method = http.MethodPost
	}
	for name, written := range g.Headers {
		value, err := expand("header "+name, written)
		if err != nil {
			return nil, err
		}
		config.Header.Set(name, value)
	}
	for _, found := range inBody.FindAllStringSubmatch(g.Body, -1) {
		if config.Values[found[1]], err = expand("body", found[0]); err != nil {
			return nil, err
		}
	}
	if g.Answer != "" {
		if config.Answer, err = regexp.Compile(g.Answer); err != nil {
			return nil, fmt.Errorf("answer: this isn't a regular expression (RE2): %w", err)
		}
	}
	for _, status := range g.Accepted {
		if status < 200 || status > 299 {
			return nil, fmt.Errorf("accepted %d: write statuses from 200 to 299", status)
		}
	}
	return sms.New(config)
}

// checkGateway refuses an address that messages can't be entrusted to. It may
// contain a secret, so it isn't repeated.
func checkGateway(address string) error {
	u, err := url.Parse(address)
	switch {
	case err != nil || u.Hostname() == "" || u.Fragment != "":
		return errors.New("gateway: this isn't an address: write one such as https://sms.example.com/send")
	case u.User != nil:
		return errors.New("gateway: the address contains a user name: write header Authorization instead")
	case u.Scheme != "https" && (u.Scheme != "http" || !isThisMachine(u.Hostname())):
		return errors.New("gateway: write https://, since codes and numbers are sent there; http:// is for this machine only")
	}
	return nil
}

func (a *App) unmarshalSMS(d *caddyfile.Dispenser) error {
	if a.SMS != nil {
		return givenTwice(d, "sms")
	}
	a.SMS = new(SMS)
	const example = "sms { gateway https://sms.example.com/send { … }; regions DE }, each option on a line of its own"
	return readBlock(d, example, func() error { return a.SMS.unmarshalOption(d) }, func() error {
		if len(a.SMS.Regions) == 0 {
			return errors.New("regions is missing: write the countries whose mobile numbers people may use, as in regions DE AT")
		}
		return a.SMS.checkServices()
	})
}

// checkServices refuses settings with no service to send messages, or with two.
func (s *SMS) checkServices() error {
	if (s.Gateway == nil) == (s.Twilio == nil) {
		return errors.New("write one service that accepts the messages: gateway URL { … } or twilio { … }")
	}
	return nil
}

func (s *SMS) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "gateway":
		return s.unmarshalGateway(d)
	case "twilio":
		return s.unmarshalTwilio(d)
	case "regions":
		if len(s.Regions) > 0 {
			return givenTwice(d, "regions")
		}
		for _, region := range d.RemainingArgs() {
			s.Regions = append(s.Regions, strings.ToUpper(region))
		}
		if err := otpmessage.CheckRegions(s.Regions); err != nil {
			return d.Errf("regions: %v", err)
		}
		return nil
	case "from":
		return oneArgument(d, &s.From)
	case "limit":
		return number(d, &s.Limit, "a number such as 100")
	case "only_on", "not_on":
		return s.unmarshalPlatforms(d)
	}
	return unknownOption(d, "sms", "the options are gateway, twilio, regions, from, limit, only_on and not_on")
}

func (s *SMS) unmarshalGateway(d *caddyfile.Dispenser) error {
	if s.Gateway != nil {
		return givenTwice(d, "gateway")
	}
	g := new(SMSGateway)
	s.Gateway = g
	if err := oneArgument(d, &g.URL); err != nil {
		return err
	}
	for nesting := d.Nesting(); d.NextBlock(nesting); {
		if err := g.unmarshalOption(d); err != nil {
			return err
		}
	}
	return nil
}

func (g *SMSGateway) unmarshalOption(d *caddyfile.Dispenser) error {
	switch d.Val() {
	case "method":
		return oneArgument(d, &g.Method)
	case "header":
		var name, value string
		if !d.Args(&name, &value) || d.NextArg() {
			return d.Err("header takes a name and a value: write header Authorization \"Bearer {env.SMS_TOKEN}\"")
		}
		if g.Headers == nil {
			g.Headers = make(map[string]string)
		}
		g.Headers[name] = value
		return nil
	case "body":
		return oneArgument(d, &g.Body)
	case "accepted":
		if d.CountRemainingArgs() == 0 {
			return d.Err("accepted needs a value: write statuses from 200 to 299, as in accepted 200 202")
		}
		for _, written := range d.RemainingArgs() {
			status, err := strconv.Atoi(written)
			if err != nil || status < 200 || status > 299 {
				return d.Errf("accepted %s: write statuses from 200 to 299", written)
			}
			g.Accepted = append(g.Accepted, status)
		}
		return nil
	case "answer":
		return oneArgument(d, &g.Answer)
	}
	return unknownOption(d, "gateway", "the options are method, header, body, accepted and answer")
}

func (s *SMS) unmarshalTwilio(d *caddyfile.Dispenser) error {
	if s.Twilio != nil {
		return givenTwice(d, "twilio")
	}
	t := new(Twilio)
	s.Twilio = t
	targets := map[string]*string{"account": &t.Account, "token": &t.Token, "from": &t.From}
	option := func() error {
		target, known := targets[d.Val()]
		if !known {
			return unknownOption(d, "twilio", "the options are account, token and from")
		}
		return oneArgument(d, target)
	}
	return readBlock(d, "twilio { account …; token …; from … }, each option on a line of its own", option, func() error {
		for _, setting := range slices.Sorted(maps.Keys(targets)) {
			if *targets[setting] == "" {
				return fmt.Errorf("%s is missing: write account, token and from", setting)
			}
		}
		return nil
	})
}
