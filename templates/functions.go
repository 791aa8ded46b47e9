package templates

import (
	"fmt"
	"html/template"
	"math"
	"net/mail"
	"strings"
	"time"
)

// functions is what the files can call besides html/template's own.
var functions = template.FuncMap{
	"authenticatorLink": authenticatorLink,
	"contactLink":       contactLink,
	"seconds":           seconds,
	"timestamp":         timestamp,
	"waiting":           waiting,
}

// authenticatorLink lets an otpauth URI of our own making be a link, which
// html/template would refuse for its scheme. Anything else is an error.
func authenticatorLink(uri string) (template.URL, error) {
	if !strings.HasPrefix(uri, "otpauth://") {
		return "", fmt.Errorf("an authenticator's link must begin with otpauth://")
	}
	return template.URL(uri), nil
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

// seconds rounds up, so that nobody is told to come back too early.
func seconds(d time.Duration) int {
	return int(math.Ceil(d.Seconds()))
}

// timestamp is how points in time are shown, in the zone that t carries.
func timestamp(t time.Time) string {
	return t.Format("2006-01-02 15:04:05 MST")
}

// waiting puts a duration into words, rounded up: seconds below a minute, then
// minutes, then hours and minutes.
func waiting(d time.Duration) string {
	whole := seconds(d)
	if whole < 60 {
		return counted(max(whole, 0), "second")
	}
	minutes := (whole + 59) / 60
	if minutes < 60 {
		return counted(minutes, "minute")
	}
	words := counted(minutes/60, "hour")
	if rest := minutes % 60; rest > 0 {
		words += " " + counted(rest, "minute")
	}
	return words
}

func counted(n int, unit string) string {
	if n == 1 {
		return "1 " + unit
	}
	return fmt.Sprintf("%d %ss", n, unit)
}
