package pagetag

import (
	"bytes"
	"strings"
)

// found is what is known of the place for the tag.
type found int

const (
	// unclear: more of the page has to be seen.
	unclear found = iota
	// here: the tag belongs there.
	here
	// nowhere: it isn't a whole page of HTML.
	nowhere
)

// place finds where the tag belongs in the beginning of a page: right behind
// <head>, or where a head begins that isn't written (HTML Standard §13.1.2.4). A
// page begins with its doctype, <html> or <head>; anything else is taken for a
// piece of one.
func place(page []byte) (at int, f found) {
	at, f = afterMark(page)
	isPage := false
	for f == here {
		at += len(page[at:]) - len(bytes.TrimLeft(page[at:], "\t\n\f\r "))
		rest := page[at:]
		switch head := begins(rest, "<head"); {
		case head == here:
			end, f := endOfTag(rest)
			return at + end, f
		case head == unclear, mayBecome(rest, "<!--", "<!doctype"):
			return 0, unclear
		}
		skipped, f := skip(rest)
		switch {
		case f == unclear:
			return 0, unclear
		case f == nowhere && isPage:
			return at, here
		case f == nowhere:
			return 0, nowhere
		}
		isPage = isPage || !isComment(rest)
		at += skipped
	}
	return 0, f
}

// afterMark returns where a page begins behind its byte order mark. In UTF-16 the
// tag would be garbage.
func afterMark(page []byte) (at int, f found) {
	const utf8Mark = "\xef\xbb\xbf"
	switch {
	case bytes.HasPrefix(page, []byte("\xfe\xff")), bytes.HasPrefix(page, []byte("\xff\xfe")):
		return 0, nowhere
	case bytes.HasPrefix(page, []byte(utf8Mark)):
		return len(utf8Mark), here
	case len(page) < len(utf8Mark):
		return 0, unclear
	}
	return 0, here
}

// skip returns how long the comment, the doctype or the tag <html> is with which
// something begins; nowhere: it begins with nothing of these.
func skip(rest []byte) (length int, f found) {
	switch {
	case bytes.HasPrefix(rest, []byte("<!--")):
		return endOfComment(rest)
	case bytes.HasPrefix(rest, []byte("<!")), bytes.HasPrefix(rest, []byte("<?")):
		end := bytes.IndexByte(rest, '>')
		if end < 0 {
			return 0, unclear
		}
		return end + 1, here
	}
	if f := begins(rest, "<html"); f != here {
		return 0, f
	}
	return endOfTag(rest)
}

// isComment reports whether what skip skips says nothing of what follows.
func isComment(rest []byte) bool {
	return (bytes.HasPrefix(rest, []byte("<!")) || bytes.HasPrefix(rest, []byte("<?"))) && !hasPrefixFold(rest, "<!doctype")
}

// begins reports whether rest begins with a tag of that name, as far as that can
// be told.
func begins(rest []byte, tag string) found {
	switch {
	case mayBecome(rest, tag):
		return unclear
	case !hasPrefixFold(rest, tag):
		return nowhere
	case len(rest) == len(tag):
		return unclear
	}
	if strings.IndexByte("\t\n\f\r />", rest[len(tag)]) < 0 {
		return nowhere
	}
	return here
}

// mayBecome reports whether rest is shorter than one of the texts and is its
// beginning.
func mayBecome(rest []byte, texts ...string) bool {
	for _, text := range texts {
		if len(rest) < len(text) && strings.EqualFold(string(rest), text[:len(rest)]) {
			return true
		}
	}
	return false
}

// endOfComment returns how long a comment is (HTML Standard §13.2.5.43 to 51):
// <!--> is one, and --!> ends one too.
func endOfComment(rest []byte) (length int, f found) {
	length = -1
	for _, ending := range []string{"-->", "--!>"} {
		if at := bytes.Index(rest[2:], []byte(ending)); at >= 0 && (length < 0 || 2+at+len(ending) < length) {
			length = 2 + at + len(ending)
		}
	}
	if bytes.HasPrefix(rest, []byte("<!--->")) {
		length = len("<!--->")
	}
	if length < 0 {
		return 0, unclear
	}
	return length, here
}

// endOfTag returns how long the tag is with which something begins. What is quoted
// behind an equals sign doesn't end it.
func endOfTag(rest []byte) (length int, f found) {
	value := false // an attribute's value comes next
	for i := 0; i < len(rest); i++ {
		switch c := rest[i]; {
		case c == '>':
			return i + 1, here
		case c == '=':
			value = true
		case value && (c == '"' || c == '\''):
			end := bytes.IndexByte(rest[i+1:], c)
			if end < 0 {
				return 0, unclear
			}
			i += 1 + end
			value = false
		case strings.IndexByte("\t\n\f\r ", c) < 0:
			value = false
		}
	}
	return 0, unclear
}

func hasPrefixFold(text []byte, prefix string) bool {
	return len(text) >= len(prefix) && strings.EqualFold(string(text[:len(prefix)]), prefix)
}

// indexFold returns where the text, which is in small letters, stands first in any
// case; -1: nowhere.
func indexFold(in []byte, text string) int { return bytes.Index(bytes.ToLower(in), []byte(text)) }
