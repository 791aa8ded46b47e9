package strength

import (
	_ "embed"
	"sort"
	"strconv"
	"strings"
)

// words holds common passwords, words and names in lower case, one a line with
// its rank (1 is the most common), sorted by their bytes. They are those of
// zxcvbn-ts; words_license.txt is their license.
//
//go:embed words.txt
var words string

// eachWord calls found for each word of the list that text begins with, with
// its length in bytes and its rank.
func eachWord(text string, found func(length, rank int)) {
	low := 0
	for end := 1; end <= len(text); end++ {
		// No word before low begins with so much of the text. Offsets are
		// searched, each standing for the line that it is in.
		prefix := text[:end]
		low += sort.Search(len(words)-low, func(offset int) bool { return wordOf(lineAt(low+offset)) >= prefix })
		if low == len(words) {
			return
		}
		line := lineAt(low)
		word := wordOf(line)
		if !strings.HasPrefix(word, prefix) {
			return
		}
		if word == prefix {
			found(end, rankOf(line))
		}
	}
}

// lineAt returns the line of words that holds the byte at offset.
func lineAt(offset int) string {
	start := strings.LastIndexByte(words[:offset], '\n') + 1
	line, _, _ := strings.Cut(words[start:], "\n")
	return line
}

func wordOf(line string) string {
	word, _, _ := strings.Cut(line, " ")
	return word
}

func rankOf(line string) int {
	rank, err := strconv.Atoi(line[strings.IndexByte(line, ' ')+1:])
	if err != nil {
		panic("strength: the word list is damaged at " + strconv.Quote(line))
	}
	return rank
}
