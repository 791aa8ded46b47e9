package strength

import (
	"math"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Basis is what the cheapest reading of a password rests on.
type Basis int

// The bases, what says most about the password last.
const (
	Chance  Basis = iota // nothing that is known: characters at random
	Pattern              // runs of keys or letters, repeated parts, dates
	Word                 // common passwords, words and names
	Service              // what the service is called
	Own                  // the person's own names and addresses
)

// Known is what a targeted guesser knows. Empty strings stand for nothing.
type Known struct {
	Own     []string // names and addresses of the person
	Service []string // names and hosts of the service
}

// Estimate is how a password withstands guessing.
type Estimate struct {
	// Bits is the logarithm to the base 2 of how many guesses it takes.
	Bits float64
	// Basis is what those guesses build on.
	Basis Basis
}

// maxJudged bounds the work: what comes after so many characters isn't judged,
// and can't make a password weaker.
const maxJudged = 128

// Of estimates how many guesses a password takes. It judges it in each of its
// spellings, and counts the weakest.
func Of(password string, known Known) Estimate {
	weakest := Estimate{Bits: math.Inf(1)}
	vocabulary := newVocabulary(known)
	for _, spelling := range spellings(password) {
		if found := newReading(spelling, vocabulary).estimate(); found.Bits < weakest.Bits {
			weakest = found
		}
		joined := strings.Map(withoutJoints, spelling)
		if joined == spelling {
			continue
		}
		// A word may be taken apart, as in "pass.word".
		if found := newReading(joined, vocabulary).estimate(); found.Bits+partedBits < weakest.Bits {
			weakest = Estimate{found.Bits + partedBits, found.Basis}
		}
	}
	return weakest
}

// partedBits is what signs between the letters of words cost a guesser.
const partedBits = 5

func withoutJoints(c rune) rune {
	if jointBits(c) > 0 {
		return -1
	}
	return c
}

// token is a part of a password that a guesser tries as one.
type token struct {
	from, to int // runes, the end excluded
	bits     float64
	basis    Basis
	// joins is set for what only stands between tokens.
	joins bool
}

// reading is a password in one spelling, on the way to its estimate.
type reading struct {
	text  []rune // as written
	lower []rune // in lower case, as long as text
	vocabulary
	// blocks remembers estimates of parts, since repeated parts are repeated.
	blocks map[string]Estimate
}

func newReading(password string, v vocabulary) *reading {
	text := []rune(password)
	text = text[:min(len(text), maxJudged)]
	r := &reading{text: text, lower: make([]rune, len(text)), vocabulary: v, blocks: make(map[string]Estimate)}
	for i, c := range text {
		r.lower[i] = unicode.ToLower(c)
	}
	return r
}

// part is the reading of a part of the same password.
func (r *reading) part(text []rune) *reading {
	p := newReading(string(text), r.vocabulary)
	p.blocks = r.blocks
	return p
}

// block estimates a part that a pattern repeats.
func (r *reading) block(text []rune) Estimate {
	key := string(text)
	known, found := r.blocks[key]
	if !found {
		known = r.part(text).estimate()
		r.blocks[key] = known
	}
	return known
}

// tokens returns all tokens of the text that cost less than their characters.
func (r *reading) tokens() []token {
	var all []token
	all = append(all, r.wordTokens()...)
	all = append(all, r.patternTokens()...)
	all = append(all, r.walkTokens()...)
	return append(all, r.dateTokens()...)
}

// maxTokens is how many tokens are told apart in their order. More than that,
// and a password is strong.
const maxTokens = 8

// step is the cheapest way to a place in the text with some number of tokens.
type step struct {
	bits  float64
	basis Basis
}

// estimate finds the cheapest row of tokens. A guesser who knows the tokens
// still has to try them in each order, so l of them cost l! times as much
// (Wheeler section 5.1).
func (r *reading) estimate() Estimate {
	ending := make([][]token, len(r.text)+1)
	for _, t := range r.tokens() {
		ending[t.to] = append(ending[t.to], t)
	}
	reached := make([][maxTokens + 1]step, len(r.text)+1)
	for i := range reached {
		for l := range reached[i] {
			reached[i][l].bits = math.Inf(1)
		}
	}
	reached[0][0].bits = 0
	for to := 1; to <= len(r.text); to++ {
		for _, t := range ending[to] {
			extend(&reached[to], reached[t.from], t)
		}
		var kinds alphabet
		for from := to - 1; from >= 0; from-- {
			kinds |= alphabetOf(r.text[from])
			extend(&reached[to], reached[from], token{bits: float64(to-from) * kinds.bits()})
		}
		if bits := jointBits(r.text[to-1]); bits > 0 {
			extend(&reached[to], reached[to-1], token{bits: bits, joins: true})
		}
	}
	return cheapest(reached[len(r.text)])
}

func extend(to *[maxTokens + 1]step, from [maxTokens + 1]step, t token) {
	for l, before := range from {
		next := min(l+1, maxTokens)
		if t.joins {
			next = l
		}
		basis := max(before.basis, t.basis)
		if bits := before.bits + t.bits; bits < to[next].bits || bits == to[next].bits && basis > to[next].basis {
			to[next] = step{bits, basis}
		}
	}
}

func cheapest(steps [maxTokens + 1]step) Estimate {
	weakest := Estimate{Bits: math.Inf(1)}
	orders := 0.0
	for l, s := range steps {
		if l > 1 {
			orders += math.Log2(float64(l))
		}
		if bits := s.bits + orders; bits < weakest.Bits {
			weakest = Estimate{bits, s.basis}
		}
	}
	return weakest
}

// jointBits is what a sign costs that people put between words or at the end:
// little, and it makes no more orders to try. 0: it isn't one.
func jointBits(c rune) float64 {
	switch c {
	case ' ', '-', '.', '_', '!':
		return 2
	case '@', '#', '$', '&', '*', '?', '+', ',', '/', ':':
		return 3
	}
	return 0
}

// alphabet is a set of kinds of characters.
type alphabet uint8

const (
	small alphabet = 1 << iota
	capital
	digit
	sign
	foreign
)

func alphabetOf(c rune) alphabet {
	switch {
	case c >= 'a' && c <= 'z':
		return small
	case c >= 'A' && c <= 'Z':
		return capital
	case c >= '0' && c <= '9':
		return digit
	case c < utf8.RuneSelf:
		return sign
	}
	return foreign
}

// bits is what a character drawn at random from the alphabet costs.
func (a alphabet) bits() float64 { return alphabetBits[a] }

var alphabetBits = func() (bits [1 << 5]float64) {
	for set := range bits {
		characters := 0
		for kind, size := range [...]int{26, 26, 10, 33, 100} {
			if set&(1<<kind) != 0 {
				characters += size
			}
		}
		bits[set] = math.Log2(float64(characters))
	}
	return bits
}()
