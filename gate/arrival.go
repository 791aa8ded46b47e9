package gate

import (
	"context"
	"crypto/tls"
	"net/http"
	"net/url"
	"time"
)

// arrival is a request as it was when it was let in. The handlers behind the gate
// change theirs, and it may have to be decided on once more while they do.
type arrival struct {
	at time.Time
	target
	uri, protocol, from string
	major, minor        int8 // version of HTTP
	forceQuery          bool
	length              int64    // of the body
	encodings           []string // of the transfer
	tls                 *tls.ConnectionState
	context             context.Context
	header              []headerLine
	room                [24]headerLine // for header
}

type headerLine struct{ name, value string }

// note remembers a request. It copies strings alone, so that it allocates
// nothing for a request of usual size.
func (a *arrival) note(r *http.Request, at time.Time) {
	a.at, a.target, a.forceQuery = at, targetOf(r), r.URL.ForceQuery
	a.major, a.minor, a.protocol = int8(r.ProtoMajor), int8(r.ProtoMinor), r.Proto
	a.uri, a.from, a.length, a.encodings, a.tls = r.RequestURI, r.RemoteAddr, r.ContentLength, r.TransferEncoding, r.TLS
	a.context, a.header = r.Context(), a.room[:0]
	for name, values := range r.Header {
		for _, value := range values {
			a.header = append(a.header, headerLine{name, value})
		}
	}
}

// request returns it once more, without its body, in a context that knows where
// it came in.
func (a *arrival) request(ctx context.Context) *http.Request {
	for _, key := range []any{http.LocalAddrContextKey, http.ServerContextKey} {
		ctx = context.WithValue(ctx, key, a.context.Value(key))
	}
	r := &http.Request{
		URL: &url.URL{ForceQuery: a.forceQuery}, RequestURI: a.uri, RemoteAddr: a.from, TLS: a.tls,
		Proto: a.protocol, ProtoMajor: int(a.major), ProtoMinor: int(a.minor),
		Header: make(http.Header, len(a.header)), Body: http.NoBody, ContentLength: a.length, TransferEncoding: a.encodings,
	}
	a.putInto(r)
	for _, line := range a.header {
		r.Header[line.name] = append(r.Header[line.name], line.value)
	}
	return r.WithContext(ctx)
}

// recall returns a request that was let in, as it came.
func (r *request) recall(ctx context.Context) *request {
	return &request{
		Request: r.arrival.request(ctx), gate: r.gate, host: r.host, origin: r.origin, cookies: r.cookies, handed: r.handed,
		rule: r.rule, also: r.also, past: true,
	}
}
