package token

import (
	"strings"
	"unicode"

	"golang.org/x/text/width"
)

// ReadDigits reads a code of the given length as people type or paste it: in the
// digits of any script, with blanks anywhere and a dash between digits. It returns
// ASCII digits. A dash before all digits is a sign and isn't part of a code.
func ReadDigits(typed string, length int) (code string, ok bool) {
	read := make([]byte, 0, length)
	dash := false // since the last digit
	for _, r := range typed {
		switch r := plain(r); {
		case isBlank(r) && r != '\n' && r != '\r': // no browser sends a line's end
		case unicode.Is(unicode.Dash, r) && len(read) > 0 && !dash:
			dash = true
		case '0' <= r && r <= '9' && len(read) < length:
			read, dash = append(read, byte(r)), false
		default:
			return "", false
		}
	}
	return string(read), len(read) == length && !dash
}

// Trimmed returns what somebody typed or pasted without the blanks around it.
func Trimmed(typed string) string { return strings.TrimFunc(typed, isBlank) }

// isBlank reports whether a character leaves no ink: white space, and those that
// direct text or keep it together, which come along when text is copied.
func isBlank(r rune) bool { return unicode.IsSpace(r) || unicode.Is(unicode.Cf, r) }

// plain returns the ASCII form of a digit of any script and of what East Asian
// keyboards write wide, and every other character as it is.
func plain(r rune) rune {
	if folded := width.LookupRune(r).Folded(); folded != 0 {
		r = folded
	}
	if r <= unicode.MaxASCII || !unicode.Is(unicode.Nd, r) {
		return r
	}
	// Unicode has the digits of a script in a row, from zero on (§4.6).
	for _, row := range unicode.Nd.R16 {
		if rune(row.Lo) <= r && r <= rune(row.Hi) {
			return '0' + (r-rune(row.Lo))%10
		}
	}
	for _, row := range unicode.Nd.R32 {
		if rune(row.Lo) <= r && r <= rune(row.Hi) {
			return '0' + (r-rune(row.Lo))%10
		}
	}
	return r
}
