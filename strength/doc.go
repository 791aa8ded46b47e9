// Package strength estimates how many guesses a password withstands from
// somebody who knows the person: their names, their address, and what the
// service is called.
//
// The method is zxcvbn's (Wheeler, "zxcvbn: Low-Budget Password Strength
// Estimation", USENIX Security 2016). A password is read as a row of tokens
// (known names, common passwords and words, runs of keys, repeated parts,
// dates, and whatever is left), and the cheapest reading counts. It differs
// from zxcvbn where that one helps a targeted guesser: separators between
// tokens cost next to nothing, names are known in all their spellings, and
// patterns that move along the keyboard are one token ("!QAZ2wsx").
//
// The word list is compiled into the binary in sorted form and searched where
// it is, so it takes nothing of the heap. A Go port of zxcvbn would keep its
// dictionaries in maps of several megabytes from the start of the process to
// its end.
//
// The package decides nothing: what is too weak is for its callers to say. It
// knows no users and no texts.
package strength

//go:generate go run generate.go $LANGUAGES
