package gate

import (
	"bytes"
	"io"
	"net/http"
	"slices"
	"strings"
)

const (
	// screenedAhead is how much of a form is read before anything of it is
	// passed on.
	screenedAhead = 16 << 10
	// longestField bounds what is kept of one name of a field, and longestLine of
	// one line of a part's header.
	longestField = 96
	longestLine  = 512
)

// formMethods are the methods that frameworks let forms have, which browsers
// send with POST or GET alone.
var formMethods = []string{http.MethodPut, http.MethodPatch, http.MethodDelete}

// sendsForm reports whether a request posts what an app may read as a form. Some
// read one from a body of no type.
func sendsForm(r *http.Request) bool {
	if r.Method != http.MethodPost || r.ContentLength == 0 {
		return false
	}
	sent := mediaType(r.Header)
	return sent == "" || sent == "application/x-www-form-urlencoded" || strings.HasPrefix(sent, "multipart/")
}

// barredMethods returns the methods that a form must not give its request, since
// another rule than the one with this index would decide on them.
func (g *Gate) barredMethods(r *http.Request, index int) (barred []string) {
	if !sendsForm(r) {
		return nil
	}
	for _, method := range formMethods {
		if also, err := g.asIf(r, targetOf(r).as(method), g.ruleOf); err != nil || also != index {
			barred = append(barred, method)
		}
	}
	return barred
}

// screenForm has the body of a form end in errAmbiguous where a field would give
// its request one of the barred methods. Of a form that is short enough that is
// known before the app sees anything of it; otherwise the app gets a part.
func screenForm(r *http.Request, barred []string) error {
	body, sent := &screenedBody{ReadCloser: r.Body}, mediaType(r.Header)
	if sent != "application/x-www-form-urlencoded" {
		body.screens = append(body.screens, &partScreen{barred: barred})
	}
	if !strings.HasPrefix(sent, "multipart/") {
		body.screens = append(body.screens, &fieldScreen{barred: barred})
	}
	ahead := int64(screenedAhead)
	switch {
	case r.ContentLength > 0:
		ahead = min(ahead, r.ContentLength)
	case sent == "":
		ahead = 0 // it may be a stream whose sender waits for an answer
	}
	var read bytes.Buffer
	_, body.err = io.CopyN(&read, r.Body, ahead)
	if body.finds(read.Bytes()) {
		return errAmbiguous
	}
	body.ahead = read.Bytes()
	r.Body = body
	return nil
}

// screenedBody is a body that is looked through while it is passed on.
type screenedBody struct {
	io.ReadCloser
	ahead   []byte // read, and not passed on yet
	err     error  // that follows it
	screens []screen
}

// screen looks for a field that names a barred method. It is told each byte in
// its turn, and keeps little of them.
type screen interface {
	finds(c byte) bool
}

func (b *screenedBody) finds(text []byte) bool {
	for _, c := range text {
		for _, s := range b.screens {
			if s.finds(c) {
				return true
			}
		}
	}
	return false
}

// Read implements io.Reader. What a method ends in isn't passed on.
func (b *screenedBody) Read(p []byte) (int, error) {
	if len(b.ahead) > 0 {
		n := copy(p, b.ahead)
		b.ahead = b.ahead[n:]
		return n, nil
	}
	if b.err != nil {
		return 0, b.err
	}
	n, err := b.ReadCloser.Read(p)
	if b.finds(p[:n]) {
		b.err = errAmbiguous
		return 0, errAmbiguous
	}
	return n, err
}

// fieldScreen looks through application/x-www-form-urlencoded.
type fieldScreen struct {
	barred  []string
	text    []byte // of the name, or of the value of a field that names a method
	inValue bool
	skips   bool // the rest of the field
}

func (s *fieldScreen) finds(c byte) bool {
	switch {
	case c == '&' || c == ';':
		s.text, s.inValue, s.skips = s.text[:0], false, false
		return false
	case s.skips:
		return false
	case c == '=' && !s.inValue:
		s.inValue, s.skips = true, !namesMethod(string(s.text), true)
		s.text = s.text[:0]
		return false
	}
	if s.text = append(s.text, c); len(s.text) > longestField {
		s.skips = true
	}
	return s.inValue && isBarred(decodeField(string(s.text)), s.barred)
}

// partScreen looks through multipart/form-data (RFC 7578), whatever its
// boundary: by lines, of which those that begin with two hyphens may begin a
// part.
type partScreen struct {
	barred   []string
	line     []byte
	inHeader bool
	named    bool // the part may be of a field that names a method
	inValue  bool
}

func (s *partScreen) finds(c byte) bool {
	if c != '\n' {
		if len(s.line) <= longestLine {
			s.line = append(s.line, c)
		}
		return s.inValue && isBarred(string(s.line), s.barred)
	}
	line := strings.TrimSuffix(string(s.line), "\r")
	s.line = s.line[:0]
	switch {
	case s.inHeader && line == "":
		s.inHeader, s.inValue = false, s.named
	case s.inHeader:
		s.named = s.named || len(line) > longestLine || strings.Contains(strings.ToLower(line), "method")
	case strings.HasPrefix(line, "--"):
		s.inHeader, s.named, s.inValue = true, false, false
	case line != "":
		s.inValue = false // a value is one line
	}
	return false
}

// isBarred reports whether a value is one of the methods, as apps read it.
func isBarred(value string, barred []string) bool {
	return slices.Contains(barred, strings.ToUpper(strings.TrimSpace(value)))
}
