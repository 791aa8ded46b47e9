// Package earlydata tells which requests came in TLS early data, before the
// handshake proved that their sender is there: a bystander who recorded one
// could send it once more (RFC 8446 §8, RFC 8470).
//
// The package must not know what a request does, or how a refusal looks.
package earlydata

import "net/http"

// header is how a proxy says that a request came to it in early data.
const header = "Early-Data"

// Carried reports whether a request may be a replay: it came before the end of
// its handshake, or a proxy says so. Several values of the header, and invalid
// ones, mean the same as a single 1 (RFC 8470 §5.1).
func Carried(r *http.Request) bool {
	return r.TLS != nil && !r.TLS.HandshakeComplete || len(r.Header[header]) > 0
}
