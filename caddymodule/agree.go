package caddymodule

import (
	"errors"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
)

// agree implements gate.Settings.Agree.
func (g *Gate) agree(r *http.Request, changed bool) error {
	if changed {
		if err := adopt(r); err != nil {
			return err
		}
	}
	return g.approach.Check(r)
}

// adopt makes a form of a request the one that Caddy takes for the original:
// FastCGI apps get it as REQUEST_URI, rules and others by {http.request.orig_uri}
// and what belongs to it, and error routes go back to it.
func adopt(r *http.Request) error {
	replacer, _ := r.Context().Value(caddy.ReplacerCtxKey).(*caddy.Replacer)
	original, ok := r.Context().Value(caddyhttp.OriginalRequestCtxKey).(http.Request)
	if !ok || replacer == nil {
		return nil
	}
	*original.URL = url.URL{
		Path: r.URL.Path, RawPath: r.URL.RawPath, RawQuery: r.URL.RawQuery, ForceQuery: r.URL.ForceQuery,
	}
	// Caddy reads these from a copy of the request that can't be changed.
	uri := r.URL.RequestURI()
	override(replacer, "http.request.orig_uri", original.RequestURI, uri)
	override(replacer, "http.request.orig_method", original.Method, r.Method)
	return adoptCopy(replacer, r, uri)
}

// override gives a placeholder another value than the one that Caddy has for it.
func override(replacer *caddy.Replacer, placeholder, has, want string) {
	if has == want {
		replacer.Delete(placeholder)
	} else {
		replacer.Set(placeholder, want)
	}
}

// errCopied says that placeholders know another request than the one that goes
// on.
var errCopied = errors.New("a handler before mfa passed on a copy of the request, with its address in another form")

// hostVar is, among Caddy's variables of a request, the host that error routes
// go on with where they know another request than the one that was decided on.
const hostVar = "mfa.host"

type placedHost string

// adoptCopy tells placeholders of host and method where they know another
// request than this one: a handler before the gate may pass on a copy of it
// that shares its URL and headers, as Caddy's tracing does.
func adoptCopy(replacer *caddy.Replacer, r *http.Request, uri string) error {
	if known, _ := replacer.GetString("http.request.uri"); known != uri {
		return errCopied
	}
	if known, _ := replacer.GetString("http.request.method"); known != r.Method {
		replacer.Set("http.request.method", r.Method)
	}
	if known, _ := replacer.GetString("http.request.hostport"); known == r.Host {
		return nil
	}
	host, port, err := net.SplitHostPort(r.Host)
	if err != nil {
		host = r.Host
	}
	caddyhttp.SetVar(r.Context(), hostVar, placedHost(r.Host))
	replacer.Set("http.request.hostport", r.Host)
	replacer.Set("http.request.host", host)
	replacer.Set("http.request.port", port)
	labels := strings.Split(host, ".")
	for i, label := range labels {
		replacer.Set("http.request.host.labels."+strconv.Itoa(len(labels)-1-i), label)
	}
	// The host had one label more if it came with the dot of the root.
	replacer.Set("http.request.host.labels."+strconv.Itoa(len(labels)), "")
	return nil
}
