package portal

import (
	"net/http"
	"strconv"
)

// assertionKeys serves the keys by which apps verify what gates state about
// people. A new key stands there for five minutes before it is used, so an
// app may keep what it read for a minute.
func (p *Portal) assertionKeys(w http.ResponseWriter, r *http.Request) {
	set, err := p.AssertionKeys()
	if err != nil {
		p.fault(w, r, "writing the keys of assertions", err)
		return
	}
	w.Header().Set("Content-Type", "application/jwk-set+json")
	w.Header().Set("Cache-Control", "public, max-age=60")
	w.Header().Set("X-Content-Type-Options", "nosniff")
	w.Header().Set("Content-Length", strconv.Itoa(len(set)))
	if r.Method != http.MethodHead {
		_, _ = w.Write(set) // the client went away; there is nobody to tell
	}
}
