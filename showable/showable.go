// Package showable makes texts that strangers wrote fit to be shown: on a page,
// on a terminal, in a log or in a mail. It decides nothing about where such a
// text came from, and must not know any of those places.
package showable

import (
	"strings"
	"unicode"
)

const (
	zeroWidthNonJoiner = '\u200c'
	zeroWidthJoiner    = '\u200d'
	replacement        = unicode.ReplacementChar
	// firstJoined is the first letter of a script in which joiners tell words
	// apart (Arabic); Persian, Indic and Mongolian ones come after it, and so do
	// the signs that joiners make families and flags of.
	firstJoined = '\u0600'
)

// Text returns text with one U+FFFD in place of each run of characters that
// control, reorder or hide other text, and of bytes that aren't UTF-8. Letters
// of all scripts stay, and so do joiners between letters that need them.
//
// Text that is to be read from right to left isn't changed: where it stands
// beside other text on a page, it is to be isolated there (<bdi>).
func Text(text string) string {
	if !strings.ContainsFunc(text, isSuspect) {
		return text
	}
	runes := []rune(text)
	var shown strings.Builder
	for i, r := range runes {
		hidden := r == replacement || IsHidden(r) || isJoiner(r) && !joins(runes, i)
		switch {
		case !hidden:
			shown.WriteRune(r)
		case !strings.HasSuffix(shown.String(), string(replacement)):
			shown.WriteRune(replacement)
		}
	}
	return shown.String()
}

// IsHidden reports whether r controls, reorders or hides text, or is itself
// never seen: controls (C0, C1), format characters (bidirectional marks,
// embeddings and isolates, zero-width spaces, tags), separators of lines and
// paragraphs, and what Unicode has ignored by default. The two joiners are left
// out: names in Persian and Indic scripts need them.
func IsHidden(r rune) bool {
	return !isJoiner(r) && unicode.In(r, unicode.Cc, unicode.Cf, unicode.Zl, unicode.Zp,
		unicode.Other_Default_Ignorable_Code_Point, supplementarySelectors)
}

// supplementarySelectors can spell out bytes that nobody sees. Those of the
// basic plane choose between drawings of one sign, and stay.
var supplementarySelectors = &unicode.RangeTable{R32: []unicode.Range32{{Lo: 0xe0100, Hi: 0xe01ef, Stride: 1}}}

func isSuspect(r rune) bool { return r == replacement || isJoiner(r) || IsHidden(r) }

func isJoiner(r rune) bool { return r == zeroWidthNonJoiner || r == zeroWidthJoiner }

// joins reports whether the joiner at i stands between characters that it can
// join.
func joins(runes []rune, i int) bool {
	return i > 0 && i+1 < len(runes) && canBeJoined(runes[i-1]) && canBeJoined(runes[i+1])
}

func canBeJoined(r rune) bool { return r >= firstJoined && !isSuspect(r) }
