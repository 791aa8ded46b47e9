package gate

import (
	"fmt"
	"io"
	"net/http"
	"net/textproto"
	"slices"
	"strings"

	"github.com/portcullis-mfa/portcullis/gate/canonical"
	"github.com/portcullis-mfa/portcullis/session"
)

// AssertionHeader is where an app finds the signed statement of who is there.
const AssertionHeader = "X-Mfa-Assertion"

// HeaderNames are the names of the headers in which an app finds the person.
type HeaderNames struct {
	User, Name, Email, Groups string
}

// DefaultHeaderNames are the names where the operator chose no other.
var DefaultHeaderNames = HeaderNames{
	User: "Remote-User", Name: "Remote-Name", Email: "Remote-Email", Groups: "Remote-Groups",
}

// IdentityHeaders are the headers that only the gate may set. It never changes
// once made, and is safe for concurrent use.
type IdentityHeaders struct {
	values   HeaderValues
	names    HeaderNames // canonical
	stripped []string    // folded
	lengths  [128]bool   // of the stripped names
}

// NewIdentityHeaders returns the headers under the names that the operator
// chose; an empty name stands for the default. The default names and the
// assertion's are stripped from clients in any case. It returns an error for a
// name that is none, that HTTP needs for itself, or that is taken twice.
func NewIdentityHeaders(chosen HeaderNames, values HeaderValues) (*IdentityHeaders, error) {
	headers := &IdentityHeaders{values: values}
	defaults := &DefaultHeaderNames
	fields := []struct {
		name             *string
		chosen, standard string
	}{
		{&headers.names.User, chosen.User, defaults.User},
		{&headers.names.Name, chosen.Name, defaults.Name},
		{&headers.names.Email, chosen.Email, defaults.Email},
		{&headers.names.Groups, chosen.Groups, defaults.Groups},
	}
	taken := map[string]bool{canonical.FoldHeader(AssertionHeader): true, canonical.FoldHeader(ProgramHeader): true}
	for _, field := range fields {
		name := field.chosen
		if name == "" {
			name = field.standard
		}
		if err := checkHeaderName(name); err != nil {
			return nil, err
		}
		if taken[canonical.FoldHeader(name)] {
			return nil, fmt.Errorf("header %q: an app can't tell it from another that the gate sets", name)
		}
		taken[canonical.FoldHeader(name)] = true
		*field.name = http.CanonicalHeaderKey(name)
	}
	for _, field := range fields {
		taken[canonical.FoldHeader(field.standard)] = true
	}
	for name := range taken {
		headers.stripped = append(headers.stripped, name)
		headers.lengths[len(name)] = true
	}
	return headers, nil
}

// reservedHeaders have a meaning to HTTP or to the proxy, so they can't carry a
// person too. They are folded, as are all that begin with reservedPrefixes.
var (
	reservedHeaders = map[string]bool{
		"accept-encoding": true, "alt-svc": true, "connection": true, "content-encoding": true,
		"content-length": true, "content-type": true, "cookie": true, "early-data": true,
		"expect": true, "forwarded": true, "host": true, "http2-settings": true,
		"keep-alive": true, "range": true, "te": true, "trailer": true,
		"transfer-encoding": true, "upgrade": true, "user-agent": true, "via": true,
		"x-forwarded-for": true, "x-forwarded-host": true, "x-forwarded-proto": true,
	}
	reservedPrefixes = []string{"if-", "proxy-", "sec-"}
)

func checkHeaderName(name string) error {
	folded := canonical.FoldHeader(name)
	if name == "" || len(name) >= len(IdentityHeaders{}.lengths) || strings.Trim(folded, "-") == "" {
		return fmt.Errorf("header %q: not a name for a header", name)
	}
	for i := range len(name) {
		if !canonical.IsUnreserved(name[i]) || name[i] == '~' {
			return fmt.Errorf("header %q: letters, digits, hyphens, underscores and dots only", name)
		}
	}
	reserved := reservedHeaders[folded]
	for _, prefix := range reservedPrefixes {
		reserved = reserved || strings.HasPrefix(folded, prefix)
	}
	if reserved {
		return fmt.Errorf("header %q: HTTP needs it for something else", name)
	}
	return nil
}

// Strip removes every header that an app could take for one of ours: CGI and
// what descends from it (PHP, WSGI, Rack, Perl) know headers in upper case with
// an underscore for anything but a letter or digit, so Remote_User, remote.user and
// REMOTE-USER are one. It allocates nothing.
func (headers *IdentityHeaders) Strip(h http.Header) {
	for name := range h {
		if headers.owns(name) {
			delete(h, name)
		}
	}
}

func (headers *IdentityHeaders) owns(name string) bool {
	if len(name) >= len(headers.lengths) || !headers.lengths[len(name)] {
		return false
	}
	return canonical.FoldsToAny(name, headers.stripped)
}

// identityValues are the values of the headers of one request: slices into it
// serve as values, since others on the way to the app change them in place.
type identityValues struct {
	values    [4]string
	program   [1]string
	assertion [1]string
}

// Set tells the app who is there, and the name of the access token with which a program
// speaks for them; empty: they speak for themselves. A header is deleted where there is
// nothing to say, never sent empty. into holds the values from then on.
func (headers *IdentityHeaders) Set(h http.Header, who *session.Profile, program string, into *identityValues) {
	into.values = headers.values.of(who)
	names := [4]string{headers.names.User, headers.names.Name, headers.names.Email, headers.names.Groups}
	for i, name := range names {
		if into.values[i] == "" {
			delete(h, name)
		} else {
			h[name] = into.values[i : i+1 : i+1]
		}
	}
	if program != "" {
		into.program[0] = headers.values.encoded(program)
		h[ProgramHeader] = into.program[:]
	}
}

// CleanConnection leaves the client no say in what reaches the app by way of
// its connection to us (RFC 9110 §7.6.1).
//
// A proxy deletes every header that Connection names, and it does so after the
// gate has set ours. So only the options that manage a connection stay there:
// close, keep-alive, te and upgrade; headers that others name are kept, since
// nobody needs the client's help to drop its own. And a proxy that forwards an
// Upgrade hands over the connection, unseen from then on. So no protocol may be
// asked for in which a client would send further requests, with identity
// headers of its own, straight to the app. A server may ignore any Upgrade (RFC
// 9110 §7.8), so such a request goes on without it.
//
// An upgrade that is asked for is left in the form in which the proxy sends it
// on, since rules may look at it: the protocol in small letters, and Upgrade
// alone in Connection. What isn't asked for there as well is no upgrade.
func CleanConnection(h http.Header) {
	delete(h, "Http2-Settings")
	lines, named := h[connectionHeader]
	upgrade, asked := h[upgradeHeader]
	if !named && !asked {
		return
	}
	kept, clean := keptOptions(lines)
	if kept[upgradeOption] && len(upgrade) == 1 && mayUpgrade(upgrade[0]) {
		if protocol := strings.ToLower(textproto.TrimString(upgrade[0])); protocol != upgrade[0] {
			h[upgradeHeader] = []string{protocol}
		}
		if len(lines) != 1 || lines[0] != "Upgrade" {
			h[connectionHeader] = []string{"Upgrade"}
		}
		return
	}
	delete(h, upgradeHeader)
	if named && (!clean || kept[upgradeOption]) {
		kept[upgradeOption] = false
		setConnection(h, kept)
	}
}

// keptOptions returns which options may stay, and whether there are no others.
func keptOptions(lines []string) (kept [len(connectionOptions)]bool, clean bool) {
	clean = true
	for _, line := range lines {
		for token := range strings.SplitSeq(line, ",") {
			option := connectionOption(textproto.TrimString(token))
			if option < 0 {
				clean = false
				continue
			}
			kept[option] = true
		}
	}
	return kept, clean
}

// mayUpgrade reports whether a connection may be handed over for the protocol: a
// single one, such as websocket, tcp or SPDY/3.1, that is no version of HTTP,
// and isn't TLS, in which HTTP would go on (RFC 2817).
func mayUpgrade(protocol string) bool {
	protocol = textproto.TrimString(protocol)
	if protocol == "" || strings.ContainsAny(protocol, ", \t") {
		return false
	}
	name, _, _ := strings.Cut(protocol, "/")
	name, _, _ = strings.Cut(name, "-") // drafts: h2c-14
	return !slices.ContainsFunc(carriers, func(carrier string) bool { return strings.EqualFold(name, carrier) })
}

// carriers are the protocols in which requests of HTTP can be sent.
var carriers = []string{"http", "https", "h2", "h2c", "h3", "h3c", "tls", "ssl"}

// connectionOptions may stay in Connection, by index.
var connectionOptions = [...]string{"close", "keep-alive", "te", "upgrade"}

const upgradeOption = 3

func connectionOption(token string) int {
	for i, option := range connectionOptions {
		if strings.EqualFold(token, option) {
			return i
		}
	}
	return -1
}

func setConnection(h http.Header, kept [len(connectionOptions)]bool) {
	var options []string
	for i, option := range connectionOptions {
		if kept[i] {
			options = append(options, option)
		}
	}
	if len(options) == 0 {
		delete(h, "Connection")
		return
	}
	h["Connection"] = []string{strings.Join(options, ", ")}
}

// StripTrailers makes r a request without trailers, announced or not: an app
// that merges them into its headers would find there who the client says it
// is. Whoever passes a message on may drop them (RFC 9110 §6.5). It must be
// called before anything reads the body.
func StripTrailers(r *http.Request) {
	delete(r.Header, "Trailer")
	r.Trailer = nil
	if r.ProtoMajor == 1 && r.ContentLength < 0 && r.Body != nil && r.Body != http.NoBody {
		// The HTTP/1 server adds trailers, even those not announced, to its
		// request when the body ends, and r may be that request.
		r.Body = &bodyWithoutTrailers{ReadCloser: r.Body, request: r}
	}
}

// bodyWithoutTrailers removes from the request what its body brought.
type bodyWithoutTrailers struct {
	io.ReadCloser
	request *http.Request
}

func (b *bodyWithoutTrailers) Read(p []byte) (int, error) {
	n, err := b.ReadCloser.Read(p)
	if err != nil {
		b.drop()
	}
	return n, err
}

func (b *bodyWithoutTrailers) Close() error {
	err := b.ReadCloser.Close()
	b.drop()
	return err
}

// drop writes only where there is something, since others may be reading the
// request at the same time.
func (b *bodyWithoutTrailers) drop() {
	if b.request.Trailer != nil {
		b.request.Trailer = nil
	}
}
