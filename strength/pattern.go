package strength

import (
	"math"
	"slices"
	"unicode"
)

// maxStride bounds how long the parts are that a pattern repeats: longer ones
// are found as repeats only where they are equal.
const maxStride = 6

// patternTokens returns what repeats a part, be it as it is ("abab",
// "passwordpassword"), or each time further along the alphabet ("abcd", "1a2b3c",
// "aabbcc") or the keyboard ("1q2w3e", "!QAZ2wsx").
func (r *reading) patternTokens() []token {
	var all []token
	for from := range r.lower {
		furthest := 0 // what a shorter part repeats as far needs no longer one
		for stride := 1; from+2*stride <= len(r.lower); stride++ {
			if to := r.repeats(from, stride); to > furthest {
				furthest = to
				all = append(all, r.repeated(from, to, stride))
			}
			if to := r.ascends(from, stride); to-from > 2 && stride <= maxStride {
				all = append(all, token{from: from, to: to, bits: r.start(from, stride, to) + float64(stride)*math.Log2(5), basis: Pattern})
			}
		}
	}
	for _, keys := range layouts {
		all = append(all, r.shiftedAlong(keys)...)
	}
	return all
}

// repeats returns where the repetition of the part at from ends; 0: it isn't
// repeated. It ends with a whole part, or with a piece of one at the end.
func (r *reading) repeats(from, stride int) int {
	end := from + stride
	for end < len(r.lower) && r.lower[end] == r.lower[end-stride] {
		end++
	}
	if end-from < max(2*stride, 3) {
		return 0
	}
	if end < len(r.lower) {
		end -= (end - from) % stride
	}
	return end
}

func (r *reading) repeated(from, to, stride int) token {
	block := r.block(r.text[from : from+stride])
	times := float64(to-from) / float64(stride)
	t := token{from: from, to: to, bits: block.Bits + math.Log2(times) + r.repeatedCaseBits(from, to, stride), basis: Pattern}
	if stride >= shortestKnown {
		t.basis = max(block.Basis, Pattern)
	}
	return t
}

// repeatedCaseBits is what capitals cost beyond those of the first part.
func (r *reading) repeatedCaseBits(from, to, stride int) float64 {
	for i := from + stride; i < to; i++ {
		if r.text[i] != r.text[i-stride] {
			return caseBits(r.text[from+stride : to])
		}
	}
	return 0
}

// ascends returns where the parts at from, each of whose characters comes a
// fixed few places after that of the part before it, end.
func (r *reading) ascends(from, stride int) int {
	const furthest = 2
	moves := false
	for i := from; i < from+stride; i++ {
		delta := r.lower[i+stride] - r.lower[i]
		if delta < -furthest || delta > furthest {
			return 0
		}
		moves = moves || delta != 0
	}
	if !moves {
		return 0 // repeats finds it
	}
	end := from + 2*stride
	for end < len(r.lower) && r.lower[end]-r.lower[end-stride] == r.lower[end-stride]-r.lower[end-2*stride] && isAlphanumeric(r.lower[end]) {
		end++
	}
	if end-from < 2*stride || end-from < 4 && stride > 1 {
		return 0
	}
	return end
}

func isAlphanumeric(c rune) bool { return unicode.IsLetter(c) || unicode.IsDigit(c) }

// start is what the first part of a moving pattern costs, with its capitals.
func (r *reading) start(from, stride, to int) float64 {
	bits := caseBits(r.text[from:to])
	for _, c := range r.lower[from : from+stride] {
		bits += alphabetOf(c).bits()
	}
	return bits
}

// shiftedAlong finds parts that move along a keyboard: each key lies as far from
// its like in the part before as all the others do.
func (r *reading) shiftedAlong(keys layout) []token {
	var all []token
	pressed := keys.pressed(r.text)
	for from := range pressed {
		for stride := 1; stride <= maxStride && from+2*stride <= len(pressed); stride++ {
			end := shiftEnd(pressed, from, stride)
			if end-from < max(2*stride, 4) {
				continue
			}
			bits := r.blockOfKeys(pressed[from:from+stride], keys) + math.Log2(8) + shiftBits(pressed[from:end])
			all = append(all, token{from: from, to: end, bits: bits, basis: Pattern})
		}
	}
	return all
}

// blockOfKeys estimates the first part, as if Shift had never been pressed.
func (r *reading) blockOfKeys(pressed []key, keys layout) float64 {
	if len(pressed) > 2 {
		if end, turns := walkEnd(pressed, 0); end == len(pressed) {
			return walkBits(end, turns)
		}
	}
	text := make([]rune, len(pressed))
	for i, k := range pressed {
		text[i] = keys.unshifted(k)
	}
	return r.block(text).Bits
}

func shiftEnd(pressed []key, from, stride int) int {
	if slices.ContainsFunc(pressed[from:from+2*stride], key.isNone) {
		return from
	}
	row, column := pressed[from+stride].row-pressed[from].row, pressed[from+stride].column-pressed[from].column
	if row == 0 && column == 0 || max(row, -row) > 1 || max(column, -column) > 1 {
		return from
	}
	end := from + stride
	for end < len(pressed) && !pressed[end].isNone() &&
		pressed[end].row-pressed[end-stride].row == row && pressed[end].column-pressed[end-stride].column == column {
		end++
	}
	return end
}
