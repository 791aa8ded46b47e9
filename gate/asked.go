package gate

import (
	"context"
	"net/http"
	"net/url"
	"time"
)

// asked is a request as it was when it was let in. The handlers behind the gate
// change theirs, and it may have to be decided on once more while they do.
type asked struct {
	at      time.Time
	request http.Request // without URL, header and body
	url     url.URL
	header  []headerLine
	room    [24]headerLine // for header
}

type headerLine struct{ name, value string }

// note remembers a request. It copies strings alone, so that it allocates
// nothing for a request of usual size.
func (a *asked) note(r *http.Request, at time.Time) {
	a.at, a.request, a.url = at, *r, *r.URL
	a.request.URL, a.request.Header, a.request.Body, a.request.Trailer = nil, nil, nil, nil
	a.header = a.room[:0]
	for name, values := range r.Header {
		for _, value := range values {
			a.header = append(a.header, headerLine{name, value})
		}
	}
}

// again returns the request once more, in a context that knows where it came in.
func (a *asked) again(ctx context.Context) *http.Request {
	for _, key := range []any{http.LocalAddrContextKey, http.ServerContextKey} {
		ctx = context.WithValue(ctx, key, a.request.Context().Value(key))
	}
	r := a.request.WithContext(ctx)
	u := a.url
	r.URL, r.Body, r.Header = &u, http.NoBody, make(http.Header, len(a.header))
	for _, line := range a.header {
		r.Header[line.name] = append(r.Header[line.name], line.value)
	}
	return r
}

// recall returns a request that was let in, as it came.
func (r *request) recall(ctx context.Context) *request {
	return &request{
		Request: r.asked.again(ctx), gate: r.gate, host: r.host, origin: r.origin, cookies: r.cookies, handed: r.handed,
		rule: r.rule, also: r.also, past: true,
	}
}
