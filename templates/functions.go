package templates

import (
	"fmt"
	"html/template"
	"math"
	"net/mail"
	"strings"
	"time"
)

// functionsOf returns what the files can call besides html/template's own, in
// one language.
func functionsOf(c *catalogue, b brand) template.FuncMap {
	return template.FuncMap{
		"authenticatorLink": authenticatorLink,
		"contact":           c.contact,
		"brandLogo":         func() string { return b.logo },
		"brandStyle":        func() string { return b.style },
		"inHalves":          inHalves,
		"language":          func() string { return c.tag },
		"moment":            moment,
		"picture":           picture,
		"plural":            c.plural,
		"rich":              c.richPairs,
		"seconds":           seconds,
		"t":                 c.textPairs,
		"timestamp":         timestamp,
		"waiting":           c.waiting,
	}
}

// textPairs is text with the values as pairs of name and value.
func (c *catalogue) textPairs(key string, pairs ...any) (string, error) {
	values, err := valuesOf(pairs)
	if err != nil {
		return "", fmt.Errorf("the text %q: %w", key, err)
	}
	return c.text(key, values)
}

// richPairs is rich with the values as pairs of name and value.
func (c *catalogue) richPairs(key string, pairs ...any) (template.HTML, error) {
	values, err := valuesOf(pairs)
	if err != nil {
		return "", fmt.Errorf("the text %q: %w", key, err)
	}
	return c.rich(key, values)
}

// plural is textPairs of a text that is about a number of things.
func (c *catalogue) plural(key string, count int, pairs ...any) (string, error) {
	values, err := valuesOf(pairs)
	if err != nil {
		return "", fmt.Errorf("the text %q: %w", key, err)
	}
	values["Count"] = count
	return c.text(key, values)
}

func valuesOf(pairs []any) (map[string]any, error) {
	if len(pairs)%2 != 0 {
		return nil, fmt.Errorf("a value without a name, or a name without a value")
	}
	values := make(map[string]any, len(pairs)/2+1)
	for i := 0; i < len(pairs); i += 2 {
		name, ok := pairs[i].(string)
		if !ok {
			return nil, fmt.Errorf("the name of a value is a %T", pairs[i])
		}
		values[name] = pairs[i+1]
	}
	return values, nil
}

// authenticatorLink lets an otpauth URI of our own making be a link, which
// html/template would refuse for its scheme. Anything else is an error.
func authenticatorLink(uri string) (template.URL, error) {
	if !strings.HasPrefix(uri, "otpauth://") {
		return "", fmt.Errorf("an authenticator's link must begin with otpauth://")
	}
	return template.URL(uri), nil
}

// picture lets the data URL of an image be shown, which html/template would refuse
// for its scheme. Anything else is no picture.
func picture(url string) template.URL {
	for _, kind := range []string{"image/png", "image/svg+xml"} {
		if strings.HasPrefix(url, "data:"+kind+";base64,") {
			return template.URL(url)
		}
	}
	return ""
}

// contact returns whom to ask, for use in a sentence: as a link where it leads
// somewhere, and without a contact somebody who exists everywhere.
func (c *catalogue) contact(contact string) (template.HTML, error) {
	name := template.HTMLEscapeString(contact)
	if contact == "" {
		return c.rich("contact.nobody", nil)
	}
	if link := contactLink(contact); link != "" {
		return template.HTML(`<a href="` + template.HTMLEscapeString(link) + `">` + name + `</a>`), nil
	}
	return template.HTML("<strong>" + name + "</strong>"), nil
}

// contactLink returns where a contact leads to: a URL as it is, an e-mail
// address as a mailto link, and nothing for a plain name.
func contactLink(contact string) string {
	if strings.HasPrefix(contact, "https://") || strings.HasPrefix(contact, "http://") {
		return contact
	}
	address, err := mail.ParseAddress(contact)
	if err != nil || address.Address != contact {
		return ""
	}
	return "mailto:" + contact
}

// inHalves sets a space in the middle of a number of more than four digits, which are
// read and typed more easily then.
func inHalves(number string) string {
	if len(number) < 5 {
		return number
	}
	half := (len(number) + 1) / 2
	return number[:half] + " " + number[half:]
}

// seconds rounds up, so that nobody is told to come back too early.
func seconds(d time.Duration) int {
	return int(math.Ceil(d.Seconds()))
}

// timestamp is how points in time are shown, in the zone that t carries.
func timestamp(t time.Time) string {
	return t.Format("2006-01-02 15:04:05 MST")
}

// moment is a point in time as an element that times.js puts into the reader's
// own zone.
func moment(t time.Time) template.HTML {
	return template.HTML(`<time datetime="` + t.Format(time.RFC3339) + `">` + template.HTMLEscapeString(timestamp(t)) + `</time>`)
}

// waiting puts a duration into words, rounded up: seconds below a minute, then
// minutes, then hours and minutes.
func (c *catalogue) waiting(d time.Duration) (string, error) {
	whole := seconds(d)
	if whole < 60 {
		return c.plural("time.seconds", max(whole, 0))
	}
	minutes := (whole + 59) / 60
	if minutes < 60 {
		return c.plural("time.minutes", minutes)
	}
	hours, err := c.plural("time.hours", minutes/60)
	if err != nil || minutes%60 == 0 {
		return hours, err
	}
	rest, err := c.plural("time.minutes", minutes%60)
	return hours + " " + rest, err
}
