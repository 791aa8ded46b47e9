package portal

import (
	"fmt"
	"net/http"
	"strconv"
)

// assertionKeys serves the keys with which apps verify what gates state about
// people. A new key stands there for five minutes before it is used, so an
// app may keep what it read for a minute.
func (p *Portal) assertionKeys(w http.ResponseWriter, r *http.Request) error {
	set, err := p.AssertionKeys()
	if err != nil {
		return fmt.Errorf("writing the keys of assertions: %w", err)
	}
	return publish(w, r, "application/jwk-set+json", set)
}

// relatedOrigins serves the origins that may use the portal's security keys.
func (p *Portal) relatedOrigins(w http.ResponseWriter, r *http.Request) error {
	return publish(w, r, "application/json", p.RelatedOrigins)
}

// publish answers with what is nobody's own.
func publish(w http.ResponseWriter, r *http.Request, contentType string, document []byte) error {
	w.Header().Set("Content-Type", contentType)
	w.Header().Set("Cache-Control", "public, max-age=60")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(document)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(document) // the client went away; there is nobody to tell
	}
	return nil
}
