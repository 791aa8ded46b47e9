package strength

import (
	"slices"
	"strings"
	"unicode/utf8"
)

// IsMadeOf reports whether a password consists of names and nothing else that
// has letters: of their words in any order, spelling or disguise, or reversed,
// with digits, signs and spaces anywhere. However long it is, somebody who
// knows the names gets there.
func IsMadeOf(password string, names []string) bool {
	words := Words(names)
	for _, spelling := range Spellings(password) {
		if slices.ContainsFunc(names, func(name string) bool { return isVariation(spelling, name) }) || consistsOf(spelling, words) {
			return true
		}
	}
	return false
}

// isVariation reports whether the password is the name, read either way, or
// that with digits and signs after it. Unlike the search for words it knows
// names without letters, and the shortest ones.
func isVariation(password, name string) bool {
	local, _, _ := strings.Cut(name, "@")
	stem := strings.TrimRightFunc(password, isNoLetter)
	for _, spelling := range append(Spellings(name), Spellings(local)...) {
		if spelling != "" && slices.Contains([]string{password, stem, reverse(password), reverse(stem)}, spelling) {
			return true
		}
	}
	return false
}

func consistsOf(password string, words []string) bool {
	letters := []rune(onlyLetters(password))
	if len(letters) == 0 {
		return false
	}
	if isCovered(letters, letters, words) {
		return true
	}
	written := slices.DeleteFunc([]rune(password), func(c rune) bool { return isNoLetter(c) && !canDisguise(c) })
	for _, disguise := range disguises {
		if isCovered(written, undisguise(written, disguise), words) {
			return true
		}
	}
	return false
}

func canDisguise(c rune) bool {
	for _, disguise := range disguises {
		if _, found := disguise[c]; found {
			return true
		}
	}
	return false
}

// isCovered reports whether each letter written belongs to a word, read either
// way. The words are looked for in what is meant, which is as long; a part that
// was found is covered by no other, lest the parts around it make a word
// together.
func isCovered(written, meant []rune, words []string) bool {
	const covered = ' '
	written, meant = slices.Clone(written), slices.Clone(meant)
	for _, word := range words {
		for _, sought := range []string{word, reverse(word)} {
			length := utf8.RuneCountInString(sought)
			for from := 0; from+length <= len(meant); from++ {
				if string(meant[from:from+length]) != sought {
					continue
				}
				for i := from; i < from+length; i++ {
					written[i], meant[i] = covered, covered
				}
			}
		}
	}
	return !slices.ContainsFunc(written, func(c rune) bool { return !isNoLetter(c) })
}

func reverse(text string) string {
	all := []rune(text)
	slices.Reverse(all)
	return string(all)
}
