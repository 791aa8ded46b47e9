package gate

import (
	"errors"
	"fmt"
	"net/http"
	"strings"

	"github.com/portcullis-mfa/portcullis/gate/canonical"
)

// place brings all that rules look at into one form and finds the site that a
// request belongs to. What is behind it sees that form alone.
func (g *Gate) place(r *request) error {
	sentHost, sentURI := r.Host, r.RequestURI
	if err := checkMethod(r.Method); err != nil {
		return err
	}
	var err error
	if r.readings, err = canonical.TargetAndReadings(r.Request); err != nil {
		return err
	}
	if err := g.placeHost(r); err != nil {
		return err
	}
	if err := g.placeDestination(r); err != nil {
		return err
	}
	return g.agree(r.Request, r.Host != sentHost || r.RequestURI != sentURI)
}

// placeHost finds the site, and makes its name and port the only ones that the
// request bears. HTTP/2 may bring a Host beside the authority that it was sent
// to (RFC 9113 §8.3.1).
func (g *Gate) placeHost(r *request) error {
	name, port, err := canonical.Host(r.Host)
	if err != nil {
		return err
	}
	for _, sent := range r.Header["Host"] {
		if otherName, otherPort, err := canonical.Host(sent); err != nil || otherName != name || otherPort != port {
			return canonical.ErrHostTwice
		}
	}
	delete(r.Header, "Host")
	origin, ok := g.Origin(name, port)
	if !ok {
		return errors.New("the host isn't one of this site's")
	}
	_, r.Host, _ = strings.Cut(origin, "://")
	r.host, r.origin = name, origin
	return nil
}

// agree has what keeps a request elsewhere keep this form of it.
func (g *Gate) agree(r *http.Request, changed bool) error {
	if g.Agree == nil {
		return nil
	}
	if err := g.Agree(r, changed); err != nil {
		return fmt.Errorf("%w: %w", errAmbiguous, err)
	}
	return nil
}
