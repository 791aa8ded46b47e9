package gate

import (
	"net/http"
	"slices"
	"strings"

	"github.com/portcullis-mfa/portcullis/gate/canonical"
)

// ErrTargetMethod says that a method is not written in capital letters, as all
// registered ones are (RFC 9110 §9.1). Methods are case-sensitive, but FastCGI
// transports and many apps take "post" for POST.
const ErrTargetMethod canonical.TargetError = "method that is not in capital letters"

// checkMethod refuses what some app would read as another method: everything
// but capital letters, digits, hyphens and underscores, which suffice for all
// methods of the registry.
func checkMethod(method string) error {
	for i := range len(method) {
		switch c := method[i]; {
		case 'A' <= c && c <= 'Z', '0' <= c && c <= '9', c == '-', c == '_':
		default:
			return ErrTargetMethod
		}
	}
	if method == "" {
		return ErrTargetMethod
	}
	return nil
}

// maxOverrides bounds how many methods one request may name beside its own.
const maxOverrides = 4

// overrides returns the methods, other than its own, that an app might take for
// the method of a request: it lets clients that can send no other than POST
// name another in a header or in the query. For the body of a form see
// screenForm.
func overrides(r *http.Request) ([]string, error) {
	var named []string
	for name, values := range r.Header {
		if !strings.Contains(name, "ethod") && !strings.Contains(name, "erb") {
			continue // names are in canonical form
		}
		if strings.HasPrefix(name, "Access-Control-") {
			continue
		}
		anyMethod := canonical.FoldsToAny(name, overrideHeaders)
		for _, value := range values {
			for method := range strings.SplitSeq(value, ",") {
				named = appendOverride(named, method, anyMethod)
			}
		}
	}
	named = overridesInQuery(named, r)
	named = slices.DeleteFunc(named, func(method string) bool { return method == r.Method })
	if len(named) > maxOverrides {
		return nil, errAmbiguous
	}
	return named, nil
}

var (
	// overrideHeaders are headers, folded, that say nothing but the method.
	overrideHeaders = []string{
		"x-http-method-override", "x-http-method", "x-method-override", "x-method", "x-http-verb-override",
		"http-method-override", "method-override", "x-original-method", "x-forwarded-method", "x-tunnel-method",
		"x-tunneled-method",
	}
	// overrideFields are such fields in a query, folded, beside those called like
	// a header (ASP.NET's): Symfony's, Rails', and WordPress's _method.
	overrideFields = []string{"-method", "--method", "-http-method", "http-method", "-httpmethod", "httpmethod"}
	// knownMethods are the methods that a header of another purpose names if it
	// is about the method at all (RFC 9110, RFC 5789, RFC 4918, RFC 3253, RFC
	// 4791, RFC 5842).
	knownMethods = []string{
		"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "CONNECT", "QUERY", "PURGE",
		"PROPFIND", "PROPPATCH", "MKCOL", "COPY", "MOVE", "LOCK", "UNLOCK", "SEARCH", "REPORT", "MKCALENDAR",
		"BIND", "REBIND", "UNBIND", "LINK", "UNLINK",
	}
)

// overridesInQuery adds what the query names. Restlet's tunnel takes "method",
// of a POST alone; elsewhere that is a word like any other.
func overridesInQuery(named []string, r *http.Request) []string {
	for pair := range strings.FieldsFuncSeq(r.URL.RawQuery, isQuerySeparator) {
		key, value, _ := strings.Cut(pair, "=")
		if namesMethod(key, r.Method == http.MethodPost) {
			named = appendOverride(named, decodeField(value), !canonical.FoldsTo(decodeField(key), "method"))
		}
	}
	return named
}

// namesMethod reports whether a field of a query or a form, whose name comes as
// it was sent, names a method to some app. PHP reads _method[] as _method.
func namesMethod(key string, posted bool) bool {
	key = strings.Trim(decodeField(key), " ")
	key, _, _ = strings.Cut(key, "[")
	return canonical.FoldsToAny(key, overrideFields) || canonical.FoldsToAny(key, overrideHeaders) || posted && canonical.FoldsTo(key, "method")
}

func decodeField(text string) string {
	return strings.ReplaceAll(canonical.PercentDecode(text), "+", " ")
}

func isQuerySeparator(c rune) bool { return c == '&' || c == ';' }

// appendOverride adds a method as an app would read it, unless it is none.
func appendOverride(named []string, value string, anyMethod bool) []string {
	method := strings.ToUpper(strings.TrimSpace(value))
	if len(named) > maxOverrides || checkMethod(method) != nil || slices.Contains(named, method) {
		return named
	}
	if !anyMethod && !slices.Contains(knownMethods, method) {
		return named
	}
	return append(named, method)
}

// impliedMethods returns the methods that a request amounts to, beside its own,
// at its own target: an app answers HEAD by what it does on GET (RFC 9110
// §9.3.2), COPY reads and MOVE takes away, too (RFC 4918 §9.8, §9.9).
func (g *Gate) impliedMethods(method string) []string {
	switch method {
	case http.MethodHead:
		if !g.HeadApart {
			return readingMethods
		}
	case "COPY":
		return readingMethods
	case "MOVE":
		return movingMethods
	}
	return nil
}

var (
	readingMethods = []string{http.MethodGet}
	movingMethods  = []string{http.MethodGet, http.MethodDelete}
)

// handshake is what an extended CONNECT looked like before it was given the
// form of HTTP/1.1.
type handshake struct {
	upgrade, connection, key, protocol []string
}

// The names of the headers that tell a WebSocket's handshake over HTTP/1.1 from
// one over HTTP/2 and 3.
const (
	upgradeHeader    = "Upgrade"
	connectionHeader = "Connection"
	keyHeader        = "Sec-Websocket-Key"
	protocolHeader   = ":protocol"
)

// asUpgrade gives an extended CONNECT the form in which the app gets it (RFC
// 6455 §4.1): rules must decide on that. The proxy, which makes the change,
// needs the request as it came, so undo gives it back.
func asUpgrade(r *http.Request) (undo func()) {
	h := r.Header
	came := handshake{h[upgradeHeader], h[connectionHeader], h[keyHeader], h[protocolHeader]}
	r.Method = http.MethodGet
	h[upgradeHeader], h[connectionHeader] = []string{"websocket"}, []string{"Upgrade"}
	h[keyHeader] = []string{"AAAAAAAAAAAAAAAAAAAAAA=="} // the proxy makes one
	delete(h, protocolHeader)
	return func() {
		r.Method = http.MethodConnect
		restoreHeader(h, upgradeHeader, came.upgrade)
		restoreHeader(h, connectionHeader, came.connection)
		restoreHeader(h, keyHeader, came.key)
		restoreHeader(h, protocolHeader, came.protocol)
	}
}

func restoreHeader(h http.Header, name string, lines []string) {
	if lines == nil {
		delete(h, name)
		return
	}
	h[name] = lines
}
