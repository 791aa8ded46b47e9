//go:build ignore

// Generate writes words.txt from the word lists of zxcvbn-ts, of which its one
// argument is the folder: it holds the unpacked packages language-common,
// language-en and language-de.
package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"log"
	"maps"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/portcullis-mfa/portcullis/strength"
)

// lists are the word lists, the most frequent words first: how many of each
// are taken, and, of those in alphabetical order, which rank all words get.
var lists = []struct {
	path       string
	most, rank int
}{
	{"language-common/src/passwords.json", math.MaxInt, 0},
	{"language-en/src/commonWords.json", 20_000, 0},
	{"language-en/src/wikipedia.json", 20_000, 0},
	{"language-en/src/lastnames.json", 10_000, 0},
	{"language-en/src/firstnames.json", math.MaxInt, 1000},
	{"language-de/src/commonWords.json", math.MaxInt, 0},
	{"language-de/src/wikipedia.json", 20_000, 0},
	{"language-de/src/lastnames.json", math.MaxInt, 0},
	{"language-de/src/firstnames.json", math.MaxInt, 500},
}

func main() {
	log.SetFlags(0)
	ranks := make(map[string]int)
	for _, list := range lists {
		content, err := os.ReadFile(filepath.Join(os.Args[1], list.path))
		if err != nil {
			log.Fatal(err)
		}
		var words []string
		if err := json.Unmarshal(content, &words); err != nil {
			log.Fatal(err)
		}
		for i, word := range words[:min(len(words), list.most)] {
			rank := i + 1
			if list.rank > 0 {
				rank = list.rank
			}
			for _, spelling := range strength.Spellings(word) {
				if len(spelling) < 2 || strings.ContainsFunc(spelling, isUnusable) {
					continue
				}
				if known, found := ranks[spelling]; !found || rank < known {
					ranks[spelling] = rank
				}
			}
		}
	}
	var out bytes.Buffer
	for _, word := range slices.Sorted(maps.Keys(ranks)) {
		fmt.Fprintf(&out, "%s %d\n", word, ranks[word])
	}
	if err := os.WriteFile("words.txt", out.Bytes(), 0o644); err != nil {
		log.Fatal(err)
	}
}

func isUnusable(r rune) bool { return r <= ' ' || r > '~' }
