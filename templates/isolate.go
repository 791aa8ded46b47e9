package templates

import (
	"strings"

	"golang.org/x/text/unicode/bidi"
)

const (
	firstStrongIsolate    = "\u2068"
	popDirectionalIsolate = "\u2069"
)

// isolated keeps text that is read from right to left from reordering the words
// around it (Unicode Standard Annex #9, section 2.7). HTML has <bdi> for that;
// this is for texts that may be shown where no markup is, as in a title.
func isolated(text string) string {
	if !strings.ContainsFunc(text, isRightToLeft) {
		return text
	}
	return firstStrongIsolate + text + popDirectionalIsolate
}

func isRightToLeft(r rune) bool {
	properties, _ := bidi.LookupRune(r)
	class := properties.Class()
	return class == bidi.R || class == bidi.AL
}
