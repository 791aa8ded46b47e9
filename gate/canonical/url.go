package canonical

import (
	"net/http"
	"net/url"
	"strings"
)

// TargetError says why the target of a request is refused. It is the client's
// fault and is answered with 400; the text holds nothing of the request.
type TargetError string

// The reasons why a target is refused.
const (
	// ErrTargetForm: neither a path nor an http(s) URL with a host. That is
	// "*", an opaque URL, or a host that is not the one of the request.
	ErrTargetForm TargetError = "neither a path nor an http URL"
	// ErrTargetConnect: CONNECT, other than for a WebSocket (RFC 8441, RFC 9220).
	ErrTargetConnect TargetError = "CONNECT that opens no WebSocket"
	// ErrTargetUserinfo: a user name or a password in the URL.
	ErrTargetUserinfo TargetError = "user name in the URL"
	// ErrTargetFragment: a fragment, which no client may send (RFC 9112 §3.2).
	ErrTargetFragment TargetError = "fragment"
	// ErrTargetLength: a path longer than 8 KiB.
	ErrTargetLength TargetError = "overlong path"
	// ErrTargetEncoding: a percent sign without two hexadecimal digits, such
	// as the %uXXXX of IIS.
	ErrTargetEncoding TargetError = "malformed percent-encoding"
	// ErrTargetNesting: still percent-encoded after two decodings.
	ErrTargetNesting TargetError = "percent-encoded more than twice"
	// ErrTargetUTF8: UTF-8 that is longer than needed (RFC 3629 §10), in
	// which lax decoders find dots and slashes.
	ErrTargetUTF8 TargetError = "overlong UTF-8"
	// ErrTargetControl: a control character, or a space in the query.
	ErrTargetControl TargetError = "control character"
	// ErrTargetDots: a segment that some app would take for "." or "..".
	ErrTargetDots TargetError = "dot segment"
	// ErrTargetAmbiguous: more readings than are asked about.
	ErrTargetAmbiguous TargetError = "path that can be read in too many ways"
)

// Error returns the reason.
func (e TargetError) Error() string { return "request target: " + string(e) }

// maxPathBytes bounds the work that a stranger can cause with one path. RFC
// 9110 §4.1 asks for URIs of 8000 octets at least.
const maxPathBytes = 8 << 10

// Target brings the target of r into the one form in which it is decided
// on and forwarded, or returns the TargetError for which it is refused.
//
// Afterwards r.URL holds a path and a query only; the path begins with a
// slash, holds no dot segment and no control character however an app reads
// it, and escapes what needs it and nothing else: unreserved characters are
// written plainly and hexadecimal digits in upper case (RFC 3986 §6.2.2), so
// /%61dmin is /admin, while %2F stays apart from a slash. Path, RawPath and
// r.RequestURI agree. A canonical target is left as it is, without allocating
// where its path is plain.
func Target(r *http.Request) error {
	_, err := TargetAndReadings(r)
	return err
}

// TargetAndReadings is Target, and returns the Readings, which it has to know
// anyway.
func TargetAndReadings(r *http.Request) (readings []string, err error) {
	if err := checkForm(r); err != nil {
		return nil, err
	}
	u := r.URL
	if u.Path == "" {
		u.Path, u.RawPath = "/", ""
	}
	readings, err = canonicalisePath(u)
	if err != nil {
		return nil, err
	}
	u.Scheme, u.Host = "", ""
	setRequestURI(r)
	return readings, nil
}

// checkForm refuses targets that are not a path on the request's own host (RFC
// 9112 §3.2) and queries that could not be written on a request line.
func checkForm(r *http.Request) error {
	u := r.URL
	switch {
	case r.Method == http.MethodConnect && !opensWebSocket(r):
		return ErrTargetConnect
	case u == nil, u.Opaque != "", u.OmitHost:
		return ErrTargetForm
	case u.User != nil:
		return ErrTargetUserinfo
	case u.Fragment != "", u.RawFragment != "":
		return ErrTargetFragment
	case u.Scheme != "" && u.Scheme != "http" && u.Scheme != "https":
		return ErrTargetForm
	case (u.Scheme == "") != (u.Host == ""), u.Host != "" && u.Host != r.Host:
		// HTTP/1 takes r.Host from the URL. HTTP/2 does not, so there the two
		// may name different sites.
		return ErrTargetForm
	}
	return checkQuery(u.RawQuery)
}

// opensWebSocket reports whether a CONNECT is an extended one for a WebSocket.
// The HTTP/2 server leaves the protocol in a header that no client can write,
// the HTTP/3 server in r.Proto.
func opensWebSocket(r *http.Request) bool {
	switch r.ProtoMajor {
	case 2:
		protocol := r.Header[":protocol"]
		return len(protocol) == 1 && protocol[0] == "websocket"
	case 3:
		return r.Proto == "websocket"
	}
	return false
}

// checkQuery refuses what would end the request line or the query early. A
// space can come in by HTTP/2 and would be forwarded over HTTP/1. Everything
// else in a query is between client and app.
func checkQuery(query string) error {
	for i := range len(query) {
		switch c := query[i]; {
		case c == '#':
			return ErrTargetFragment
		case c <= ' ' || c == 0x7f:
			return ErrTargetControl
		}
	}
	return nil
}

// canonicalisePath brings the path of u into its canonical form, and returns
// its other readings.
func canonicalisePath(u *url.URL) ([]string, error) {
	if len(u.Path) > maxPathBytes || len(u.RawPath) > 3*maxPathBytes {
		return nil, ErrTargetLength
	}
	if u.RawPath == "" && isPlainPath(u.Path) {
		return nil, nil
	}
	if u.Path[0] != '/' {
		return nil, ErrTargetForm
	}
	escaped, err := canonicalEscaping(escapedAsSent(u))
	if err != nil {
		return nil, err
	}
	path := PercentDecode(escaped)
	if err := checkDecodings(path); err != nil {
		return nil, err
	}
	u.Path, u.RawPath = path, ""
	if u.EscapedPath() != escaped {
		u.RawPath = escaped
	}
	return readPath(u)
}

// isPlainPath reports whether path is canonical and leaves no room for
// interpretation: only characters that mean nothing to anybody, no empty
// segment, no segment with a dot at its end. It is the one scan that ordinary
// requests pay for.
func isPlainPath(path string) bool {
	if path == "" || path[0] != '/' {
		return false
	}
	for i := range len(path) {
		if !plainCharacters[path[i]] {
			return false
		}
		if i == 0 || path[i] != '/' {
			continue
		}
		if previous := path[i-1]; previous == '/' || previous == '.' {
			return false
		}
	}
	return path[len(path)-1] != '.'
}

// escapedAsSent returns the path as the client escaped it, as far as u tells:
// a RawPath that says something else than Path is one that nothing forwards.
func escapedAsSent(u *url.URL) string {
	if u.RawPath != "" && PercentDecode(u.RawPath) == u.Path {
		return u.RawPath
	}
	return (&url.URL{Path: u.Path}).EscapedPath()
}

// canonicalEscaping decodes unreserved characters, encodes what must not stand
// in a path, and writes hexadecimal digits in upper case.
func canonicalEscaping(sent string) (string, error) {
	escaped := make([]byte, 0, len(sent)+len(sent)/4)
	for i := 0; i < len(sent); i++ {
		c := sent[i]
		switch {
		case c == '#':
			return "", ErrTargetFragment
		case c == '%':
			decoded, ok := decodeTriplet(sent[i:])
			if !ok {
				return "", ErrTargetEncoding
			}
			if i += 2; unreservedCharacters[decoded] {
				escaped = append(escaped, decoded)
			} else {
				escaped = AppendTriplet(escaped, decoded)
			}
		case literalCharacters[c]:
			escaped = append(escaped, c)
		default:
			escaped = AppendTriplet(escaped, c)
		}
	}
	return string(escaped), nil
}

// checkDecodings checks a path that was decoded once, as it is and decoded
// again. Nothing may be left to decode after that, so every way to decode a
// part of it is covered.
func checkDecodings(once string) error {
	if err := CheckPath(once); err != nil {
		return err
	}
	twice := PercentDecode(once)
	if twice == once {
		return nil
	}
	if err := CheckPath(twice); err != nil {
		return err
	}
	if PercentDecode(twice) != twice {
		return ErrTargetNesting
	}
	return nil
}

// CheckPath returns the TargetError for a path, in any reading of it, that holds
// control characters, overlong UTF-8 or dot segments.
func CheckPath(text string) error {
	start := 0
	for i := range len(text) {
		switch c := text[i]; {
		case c < ' ' || c == 0x7f:
			return ErrTargetControl
		case c >= 0xc0 && isOverlong(text[i:]):
			return ErrTargetUTF8
		case c == '/' || c == '\\':
			if isDotSegment(text[start:i]) {
				return ErrTargetDots
			}
			start = i + 1
		}
	}
	if isDotSegment(text[start:]) {
		return ErrTargetDots
	}
	return nil
}

// isDotSegment reports whether some app walks up, or stays, at the segment: one
// of dots alone, also with what Tomcat (;x), Windows (spaces, :$DATA) and
// parsers of decoded URLs (? and #) take off its end.
func isDotSegment(segment string) bool {
	if end := strings.IndexAny(segment, ";?#"); end >= 0 {
		segment = segment[:end]
	}
	return strings.Contains(segment, ".") && trimEnding(cutStream(segment)) == ""
}

// isOverlong reports whether text begins with a character in more bytes of
// UTF-8 than it needs. Other bytes that are not UTF-8 may be a name in an old
// app's own encoding.
func isOverlong(text string) bool {
	if len(text) < 2 || text[1]&0xc0 != 0x80 {
		return false
	}
	switch text[0] {
	case 0xc0, 0xc1:
		return true
	case 0xe0:
		return text[1] < 0xa0
	case 0xf0:
		return text[1] < 0x90
	}
	return false
}

// setRequestURI makes r.RequestURI say what r.URL says.
func setRequestURI(r *http.Request) {
	u := r.URL
	escaped := u.RawPath
	if escaped == "" {
		escaped = u.Path
		if !isPlainPath(escaped) {
			escaped = u.EscapedPath()
		}
	}
	rest, ok := strings.CutPrefix(r.RequestURI, escaped)
	if !u.ForceQuery && u.RawQuery == "" {
		if !ok || rest != "" {
			r.RequestURI = escaped
		}
		return
	}
	if !ok || rest == "" || rest[0] != '?' || rest[1:] != u.RawQuery {
		r.RequestURI = escaped + "?" + u.RawQuery
	}
}

// PercentDecode decodes every well-formed triplet once and leaves the others.
func PercentDecode(text string) string { return percentDecodeBut(text, 0) }

// percentDecodeBut is PercentDecode, except that triplets of the character kept stay.
func percentDecodeBut(text string, kept byte) string {
	first := strings.IndexByte(text, '%')
	if first < 0 {
		return text
	}
	decoded := make([]byte, first, len(text))
	copy(decoded, text)
	for i := first; i < len(text); i++ {
		c := text[i]
		if c == '%' {
			if value, ok := decodeTriplet(text[i:]); ok && (kept == 0 || value != kept) {
				c = value
				i += 2
			}
		}
		decoded = append(decoded, c)
	}
	return string(decoded)
}

// decodeTriplet reads the percent-encoded byte at the beginning of text.
func decodeTriplet(text string) (byte, bool) {
	if len(text) < 3 {
		return 0, false
	}
	high, low := hexDigit[text[1]], hexDigit[text[2]]
	return (high-1)<<4 | (low - 1), high != 0 && low != 0
}

// AppendTriplet appends the percent-encoding of a byte.
func AppendTriplet(escaped []byte, c byte) []byte {
	const digits = "0123456789ABCDEF"
	return append(escaped, '%', digits[c>>4], digits[c&0xf])
}

// The classes of characters, by byte.
var (
	// unreservedCharacters need no escaping anywhere (RFC 3986 §2.3).
	unreservedCharacters = characters("-._~", alphanumeric)
	// plainCharacters are written alike in every escaping and read alike by
	// every app. The dollar (streams of NTFS), the semicolon (parameters) and
	// what only some escape are not among them.
	plainCharacters = characters("-._~/@:+,=&", alphanumeric)
	// literalCharacters may stand in a path as they are: those of RFC 3986
	// §3.3, and the brackets, which browsers send.
	literalCharacters = characters("-._~/!$&'()*+,;=:@[]", alphanumeric)
	// hexDigit holds the value of a hexadecimal digit, plus one.
	hexDigit = hexDigits()
)

// IsUnreserved reports whether a character needs no escaping anywhere in a URL
// (RFC 3986 §2.3).
func IsUnreserved(c byte) bool { return unreservedCharacters[c] }

const alphanumeric = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"

func characters(sets ...string) (class [256]bool) {
	for _, set := range sets {
		for i := range len(set) {
			class[set[i]] = true
		}
	}
	return class
}

func hexDigits() (values [256]byte) {
	for i := range byte(10) {
		values['0'+i] = i + 1
	}
	for i := range byte(6) {
		values['a'+i], values['A'+i] = i+11, i+11
	}
	return values
}
