package templates

import (
	"html/template"
	"time"
)

// PushChallenge is the content of the page on which a request waits for a phone.
type PushChallenge struct {
	// Number is what has to be typed on the phone; empty: nothing is asked yet.
	Number string
	// Link opens the request in the app, and QR is its picture.
	Link string
	QR   template.HTML
	// Code is what is typed into the app in place of the link.
	Code string
	// Authenticator is the address of the app.
	Authenticator string
	Phones        int // how many phones can answer
	Minutes       int // how long a request waits
}

// PushEnrolment is the content of the page on which a phone is paired.
type PushEnrolment struct {
	// Stage is offered, claimed, confirmed or settled.
	Stage string
	// Authenticator is the address of the app.
	Authenticator string
	// Link begins the pairing in the app, and QR is its picture, for as long as LinkLeft;
	// empty: that time is over, but the Code still works.
	Link     string
	QR       template.HTML
	LinkLeft time.Duration
	// Code is what is typed in place of the link, in groups.
	Code string
	// Phone is the name that the phone that used the code gave itself.
	Phone string
	// Contested says that another phone used the same code.
	Contested bool
	// Left is how often the phone's six digits can be typed.
	Left int
}
