package strength

import (
	"slices"
	"strings"
	"unicode"

	"golang.org/x/text/runes"
	"golang.org/x/text/transform"
	"golang.org/x/text/unicode/norm"
)

// Spellings returns the ways in which text is typed on a plain keyboard, in
// lower case: "müller" is spelled "muller" and "mueller". What has no Latin
// spelling stays as it is. Of the same text it returns the same spellings, the
// one without accents first.
func Spellings(text string) []string {
	text = strings.ToLower(norm.NFKC.String(text))
	spellings := []string{text, plain(text), plain(german.Replace(text))}
	slices.Reverse(spellings[:2])
	return distinct(spellings)
}

// spellings returns the forms of a password to judge, case kept.
func spellings(password string) []string {
	password = norm.NFKC.String(password)
	return distinct([]string{password, plain(password), plain(german.Replace(password))})
}

// shortened writes names as they are written where the umlauts got lost:
// "mueller" as "muller". It reports false for names that it leaves as they are.
func shortened(name string) (string, bool) {
	short := umlauts.Replace(name)
	return short, short != name
}

var (
	german  = strings.NewReplacer("ä", "ae", "ö", "oe", "ü", "ue", "Ä", "Ae", "Ö", "Oe", "Ü", "Ue", "å", "aa", "Å", "Aa", "ø", "oe", "Ø", "Oe")
	umlauts = strings.NewReplacer("ae", "a", "oe", "o", "ue", "u")
)

// plain takes the accents off and spells in Latin letters what has no
// decomposition in Unicode.
func plain(text string) string {
	text = letters.Replace(text)
	bare, _, err := transform.String(transform.Chain(norm.NFD, runes.Remove(runes.In(unicode.Mn)), norm.NFC), text)
	if err != nil {
		return text // never: neither step fails
	}
	return cyrillicAndGreek.Replace(bare)
}

func distinct(texts []string) []string {
	var kept []string
	for _, text := range texts {
		if !slices.Contains(kept, text) {
			kept = append(kept, text)
		}
	}
	return kept
}

// letters are the Latin letters that Unicode doesn't decompose, and those of
// other scripts that would lose what tells them apart with their accents.
var letters = strings.NewReplacer(
	"ß", "ss", "ẞ", "SS", "æ", "ae", "Æ", "Ae", "œ", "oe", "Œ", "Oe", "ø", "o", "Ø", "O",
	"ł", "l", "Ł", "L", "đ", "d", "Đ", "D", "ð", "d", "Ð", "D", "þ", "th", "Þ", "Th", "ı", "i", "ħ", "h", "Ħ", "H",
	"й", "y", "Й", "Y", "ё", "yo", "Ё", "Yo", "ї", "yi", "Ї", "Yi",
)

// cyrillicAndGreek spells the letters of two scripts as names in passports are
// (ICAO Doc 9303 part 3 section 6, simplified).
var cyrillicAndGreek = strings.NewReplacer(both(
	"а a б b в v г g ґ g д d е e є ye ж zh з z и i і i к k л l м m н n о o п p р r с s т t у u ф f х kh ц ts ч ch ш sh щ shch ъ _ ы y ь _ э e ю yu я ya " +
		"α a β v γ g δ d ε e ζ z η i θ th ι i κ k λ l μ m ν n ξ x ο o π p ρ r σ s ς s τ t υ y φ f χ ch ψ ps ω o",
)...)

// both returns pairs for small and capital letters; "_" stands for nothing.
func both(pairs string) []string {
	var all []string
	fields := strings.Fields(pairs)
	for i := 0; i < len(fields); i += 2 {
		letter, latin := fields[i], strings.ReplaceAll(fields[i+1], "_", "")
		all = append(all, letter, latin)
		if upper := strings.ToUpper(letter); letter != "ς" {
			all = append(all, upper, strings.ToUpper(latin))
		}
	}
	return all
}
