// Package upload bounds the bodies of the requests that Portcullis answers
// itself, in size and in time. What passes a gate is the app's own matter, and
// Caddy's.
//
// The package must not know what a form is for, or how an answer looks.
package upload

import (
	"errors"
	"io"
	"net/http"
	"net/url"
	"os"
	"time"
)

const (
	// MaxForm is how many bytes a form may have.
	MaxForm = 64 << 10
	// FormTime is how long a form may take to arrive whole.
	FormTime = 10 * time.Second
	// IgnoredTime is how long the rest of a body that nobody reads is waited
	// for, so that its client gets the answer and can go on over the same
	// connection.
	IgnoredTime = 5 * time.Second
)

// What can be wrong with a form.
var (
	// ErrTooLarge says that a form has more than MaxForm bytes.
	ErrTooLarge = errors.New("the form is too large")
	// ErrTooSlow says that a form didn't arrive whole within FormTime.
	ErrTooSlow = errors.New("the form took too long to arrive")
	// ErrMalformed says that a form can't be read.
	ErrMalformed = errors.New("the form is malformed")
)

// ReadForm reads the form in a POST's body, which r.PostFormValue returns values
// of from then on. The error is ErrTooLarge, ErrTooSlow or ErrMalformed.
//
// The caller has made sure that it is an application/x-www-form-urlencoded
// one. Others, those with files in particular, are left unread.
func ReadForm(w http.ResponseWriter, r *http.Request) error {
	r.Body = http.MaxBytesReader(w, r.Body, MaxForm)
	setDeadline(w, FormTime)
	err := r.ParseForm()
	if errors.Is(err, os.ErrDeadlineExceeded) {
		// The deadline stays, and with it nothing waits for the rest.
		leaveUnread(r)
		return ErrTooSlow
	}
	if tooLarge := new(http.MaxBytesError); errors.As(err, &tooLarge) {
		Ignore(w, r)
		return ErrTooLarge
	}
	// From here on the server reads the connection to learn when the client
	// hangs up. A deadline would look like that.
	setDeadline(w, 0)
	r.Body = http.NoBody
	if err != nil {
		leaveUnread(r)
		return ErrMalformed
	}
	return nil
}

// ReadBody reads a body of any kind and at most so many bytes. The error is
// ErrTooLarge, ErrTooSlow or ErrMalformed.
func ReadBody(w http.ResponseWriter, r *http.Request, most int64) ([]byte, error) {
	setDeadline(w, FormTime)
	body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, most))
	switch {
	case errors.Is(err, os.ErrDeadlineExceeded):
		leaveUnread(r) // the deadline stays, as in ReadForm
		return nil, ErrTooSlow
	case errors.As(err, new(*http.MaxBytesError)):
		Ignore(w, r)
		return nil, ErrTooLarge
	}
	setDeadline(w, 0)
	leaveUnread(r)
	if err != nil {
		return nil, ErrMalformed
	}
	return body, nil
}

// Ignore is called before a request is answered whose body nobody is going to
// read. It makes r one without a body and without form values. The HTTP/1
// server waits for a part of what isn't read before it sends an answer, and
// without a bound a trickle would hold the connection for as long as it likes.
func Ignore(w http.ResponseWriter, r *http.Request) {
	if r.Body == nil || r.Body == http.NoBody {
		return
	}
	if r.ProtoMajor == 1 && r.ContentLength != 0 {
		setDeadline(w, IgnoredTime)
	}
	leaveUnread(r)
}

// leaveUnread keeps everybody from reading the body later on: asking a request
// for a form value reads it, whatever the method, and puts its files on disk.
func leaveUnread(r *http.Request) {
	r.Body = http.NoBody
	r.PostForm = make(url.Values)
}

// setDeadline bounds reading the body from now on; 0 lifts the bound. It goes by
// the clock that the network goes by. A writer that has no deadlines belongs to
// no connection.
func setDeadline(w http.ResponseWriter, within time.Duration) {
	var deadline time.Time
	if within > 0 {
		deadline = time.Now().Add(within)
	}
	_ = http.NewResponseController(w).SetReadDeadline(deadline)
}
