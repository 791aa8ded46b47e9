package strength

import (
	"math"
	"unicode"
)

// layout is a keyboard: which characters each key writes.
type layout struct {
	rows, shifted [4][]rune
	keys          map[rune]key
}

// key is a place on a keyboard. A key lies below the one of the same column in
// the row above, and half a key to its right.
type key struct {
	row, column int
	shift       bool
	letter      bool
}

// none is the place of what a keyboard doesn't write.
var none = key{row: -1}

func (k key) isNone() bool { return k.row < 0 }

// layouts are the keyboards whose patterns are known: US, German, French and
// Russian, and the block of digits. Each row is written without Shift and with
// it, and begins under the row before it; "\x00" is a key that doesn't count.
var layouts = []layout{
	newLayout([4][2]string{{"`1234567890-=", "~!@#$%^&*()_+"}, {"\x00qwertyuiop[]\\", "\x00QWERTYUIOP{}|"}, {"\x00asdfghjkl;'", "\x00ASDFGHJKL:\""}, {"\x00zxcvbnm,./", "\x00ZXCVBNM<>?"}}),
	newLayout([4][2]string{{"^1234567890ß´", "°!\"§$%&/()=?`"}, {"\x00qwertzuiopü+", "\x00QWERTZUIOPÜ*"}, {"\x00asdfghjklöä#", "\x00ASDFGHJKLÖÄ'"}, {"<yxcvbnm,.-", ">YXCVBNM;:_"}}),
	newLayout([4][2]string{{"²&é\"'(-è_çà)=", "\x001234567890°+"}, {"\x00azertyuiop^$", "\x00AZERTYUIOP¨£"}, {"\x00qsdfghjklmù*", "\x00QSDFGHJKLM%µ"}, {"<wxcvbn,;:!", ">WXCVBN?./§"}}),
	newLayout([4][2]string{{"ё1234567890-=", "Ё!\"№;%:?*()_+"}, {"\x00йцукенгшщзхъ", "\x00ЙЦУКЕНГШЩЗХЪ"}, {"\x00фывапролджэ", "\x00ФЫВАПРОЛДЖЭ"}, {"\x00ячсмитьбю.", "\x00ЯЧСМИТЬБЮ,"}}),
	newLayout([4][2]string{{"789", ""}, {"456", ""}, {"123", ""}, {"0", ""}}),
}

func newLayout(rows [4][2]string) layout {
	l := layout{keys: make(map[rune]key)}
	for row, writes := range rows {
		l.rows[row], l.shifted[row] = []rune(writes[0]), []rune(writes[1])
		for column, c := range l.shifted[row] {
			l.keys[c] = key{row, column, true, unicode.IsLetter(c)}
		}
		for column, c := range l.rows[row] {
			l.keys[c] = key{row, column, false, unicode.IsLetter(c)}
		}
	}
	delete(l.keys, 0)
	return l
}

// pressed returns the keys that write a text.
func (l layout) pressed(text []rune) []key {
	all := make([]key, len(text))
	for i, c := range text {
		var found bool
		if all[i], found = l.keys[c]; !found {
			all[i] = none
		}
	}
	return all
}

func (l layout) unshifted(k key) rune { return l.rows[k.row][k.column] }

// direction is the way from a key to a neighboring one: 1 to 6, or 0 where they
// aren't neighbors.
func direction(from, to key) int {
	if from.isNone() || to.isNone() {
		return 0
	}
	switch [2]int{to.row - from.row, to.column - from.column} {
	case [2]int{0, -1}:
		return 1
	case [2]int{0, 1}:
		return 2
	case [2]int{1, 0}:
		return 3
	case [2]int{1, -1}:
		return 4
	case [2]int{-1, 0}:
		return 5
	case [2]int{-1, 1}:
		return 6
	}
	return 0
}

// walkTokens returns the ways along neighboring keys, such as "qwedsa".
func (r *reading) walkTokens() []token {
	var all []token
	for _, keys := range layouts {
		pressed := keys.pressed(r.text)
		for from := range pressed {
			end, turns := walkEnd(pressed, from)
			if end-from > 2 {
				all = append(all, token{from: from, to: end, bits: walkBits(end-from, turns) + shiftBits(pressed[from:end]), basis: Pattern})
			}
		}
	}
	return all
}

// walkEnd returns where the way that begins at from ends, and how often it
// takes another direction; the first one counts.
func walkEnd(pressed []key, from int) (end, turns int) {
	last := 0
	for end = from + 1; end < len(pressed); end++ {
		next := direction(pressed[end-1], pressed[end])
		if next == 0 {
			break
		}
		if next != last {
			turns++
		}
		last = next
	}
	return end, turns
}

// walkBits is what a way costs (after Wheeler section 5.1): where it begins, how
// long it is, where it turns, and whereto.
func walkBits(length, turns int) float64 {
	const keys, directions = 47, 5
	return math.Log2(keys) + math.Log2(float64(length)) + float64(turns)*math.Log2(directions) + math.Log2(choose(length-1, turns-1))
}

// shiftBits is what Shift costs on a way, told apart for letters and other
// keys: how often it is pressed and let go, and where.
func shiftBits(pressed []key) float64 {
	var letters, others []bool
	for _, k := range pressed {
		if k.letter {
			letters = append(letters, k.shift)
		} else {
			others = append(others, k.shift)
		}
	}
	return runBits(letters) + runBits(others)
}

func runBits(shifts []bool) float64 {
	changes, any := 0, false
	for i, shift := range shifts {
		any = any || shift
		if i > 0 && shift != shifts[i-1] {
			changes++
		}
	}
	if !any {
		return 0
	}
	return 1 + math.Log2(choose(len(shifts)-1, changes))
}
