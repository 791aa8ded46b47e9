package identity

import (
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"unicode/utf8"
)

const (
	refusedCommon    = "That password is a common one, or a common word with little added. Those are guessed first. Choose another, such as a few words that don't belong together."
	refusedPattern   = "That password follows a pattern, such as keys side by side, a repeated part or a date. Those are guessed first. Choose another, such as a few words that don't belong together."
	refusedOwn       = "That password is made of your own name or address, with little added. Those are guessed first. Choose another."
	refusedBrand     = "That password is made of the name of this service or its address, with little added. Those are guessed first. Choose another."
	refusedTooLong   = "That password is too long. Use at most 128 characters."
	refusedMalformed = "That password has characters that can't be typed. Use letters, digits, symbols and spaces."
)

func TestPasswordPolicyRefuses(t *testing.T) {
	own := []string{"alice", "a.liddell@wonder.example", "Alice Pleasance Liddell"}
	for _, test := range []struct {
		name, password string
		reason         PasswordReason
		text           string
	}{
		{"empty", "", TooShort, "Enter a password of at least 8 characters."},
		{"one", "x", TooShort, "That password has 1 character. Use at least 8."},
		{"seven", "k7#mQz!", TooShort, "That password has 7 characters. Use at least 8."},
		{"seven of many bytes", "ключики", TooShort, "That password has 7 characters. Use at least 8."},
		{"seven, decomposed", "ke\u0301zmqrt", TooShort, "That password has 7 characters. Use at least 8."},
		{"one that NFKC spells out in 18", "\ufdfa", TooShort, "That password has 1 character. Use at least 8."},
		{"129", strings.Repeat("k7#", 43), TooLong, refusedTooLong},
		{"129 of four bytes", strings.Repeat("🙂", 129), TooLong, refusedTooLong},
		{"128 that NFKC makes 2304", strings.Repeat("\ufdfa", 128), TooLong, refusedTooLong},
		{"a megabyte", strings.Repeat("a", 1<<20), TooLong, refusedTooLong},
		{"a megabyte, refused unread", strings.Repeat("\xff", 1<<20), TooLong, refusedTooLong},
		{"NUL", "k7#mQz!x\x00", Malformed, refusedMalformed},
		{"line break", "k7#mQz!x\n", Malformed, refusedMalformed},
		{"not UTF-8", "k7#mQz!x\xff", Malformed, refusedMalformed},

		{"common", "password1", Common, refusedCommon},
		{"common, with digits", "password123", Common, refusedCommon},
		{"a season and a year", "Summer2026!", Common, refusedCommon},
		{"one key over and over", "aaaaaaaaaaaaaaa", Patterned, refusedPattern},
		{"common digits", "12345678", Common, refusedCommon},
		{"common keys", "1qaz2wsx", Common, refusedCommon},
		{"common, upper case", "TrustNo1", Common, refusedCommon},
		{"common, full width", "ｐａｓｓｗｏｒｄ", Common, refusedCommon},
		{"plain word", "Government", Common, refusedCommon},
		{"first name", "Christopher", Common, refusedCommon},
		{"last name", "hernandez", Common, refusedCommon},

		{"user name and digits", "alice2024", OwnName, refusedOwn},
		{"digits and user name", "2024alice", OwnName, refusedOwn},
		{"user name between signs", "--ALICE!--", OwnName, refusedOwn},
		{"user name reversed", "ecila1234", OwnName, refusedOwn},
		{"user name reversed, after digits", "1234ecila", OwnName, refusedOwn},
		{"names reversed", "lleddil ecila", OwnName, refusedOwn},
		{"user name twice", "alicealice", OwnName, refusedOwn},
		{"full-width user name", "ａｌｉｃｅ999", OwnName, refusedOwn},
		{"address", "A.Liddell@wonder.example", OwnName, refusedOwn},
		{"local part", "aliddell1", OwnName, refusedOwn},
		{"domain", "wonder.2024", OwnName, refusedOwn},
		{"display name", "Alice Pleasance Liddell", OwnName, refusedOwn},
		{"display name in one word", "alicepleasanceliddell", OwnName, refusedOwn},
		{"names in another order", "Liddell_Alice!", OwnName, refusedOwn},
		{"name and brand", "alice@looking-glass", BrandName, refusedBrand},
		{"brand", "LookingGlass1", BrandName, refusedBrand},
		{"a word of the brand", "glass2024!", BrandName, refusedBrand},
	} {
		t.Run(test.name, func(t *testing.T) {
			policy := PasswordPolicy{Services: []string{"Looking Glass"}}
			checkRefused(t, policy.Check(test.password, own...), test.reason, test.text)
		})
	}
}

func TestPasswordPolicyAccepts(t *testing.T) {
	own := []string{"alice", "a.liddell@wonder.example", "Alice Pleasance Liddell"}
	for name, password := range map[string]string{
		"eight":                      "k7#mQz!x",
		"eight of another script":    "ключики8",
		"128":                        varied("abcdefghijkmnpqrstuvwxyz23456789#%", 128),
		"128, decomposed":            strings.Join(strings.Split(varied("abcdefghijk", 64), ""), "e\u0301") + "e\u0301",
		"128 of four bytes":          varied("🙂🙃😀😁😂🤣😃😄😅😆😉😊", 128),
		"128 from three letters":     varied("αβγδεζηθικλμνξο", 64) + strings.Repeat("\u03b9\u0308\u0301", 64),
		"spaces only inside":         "purple otter 41 sails",
		"surrounding spaces":         " k7#mQz! ",
		"no kinds of characters":     "qoxbvuwelm",
		"contains a common one":      "my password is a cat",
		"common ones together":       "dragon monkey teapot",
		"contains the user name":     "malice aforethought",
		"user name and another word": "alice eats 3 cakes",
		"parts left around a name":   "moliddelliddellusk",
		"starts with the brand":      "looking glasses and thick fog",
	} {
		t.Run(name, func(t *testing.T) {
			policy := PasswordPolicy{Services: []string{"Looking Glass"}}
			if err := policy.Check(password, own...); err != nil {
				t.Errorf("%q: %v", password, err)
			}
		})
	}
}

// varied returns a text of characters at random, always the same.
func varied(alphabet string, length int) string {
	characters, random := []rune(alphabet), rand.New(rand.NewPCG(1, 2))
	text := make([]rune, length)
	for i := range text {
		text[i] = characters[random.IntN(len(characters))]
	}
	return string(text)
}

func TestPasswordPolicyKnowsShortAndOddNames(t *testing.T) {
	for _, test := range []struct {
		own, password string
		refused       bool
	}{
		{"bo", "bo19283746", true},
		{"bo", "ob19283746", true},
		{"bo", "19bo283746", false}, // two letters turn up by chance
		{"bo@x.example", "bo19283746", true},
		{"王伟", "王伟123456", true},
		{"4711-0815", "4711-0815", true},
		{"4711-0815", "5180-1174", true},
		{"4711-0815", "4711-0816", false},
		{"", "58203917!", false},
		{"...", "58203917!", false},
		{"@", "58203917!", false},
		{strings.Repeat("purple otter ", 1<<17), "purple otter 41 sails", false}, // no name, not looked at
	} {
		err := PasswordPolicy{}.Check(test.password, test.own)
		if (err != nil) != test.refused {
			t.Errorf("%.20q for %.20q: %v", test.password, test.own, err)
		}
	}
}

func TestPasswordPolicyMinLength(t *testing.T) {
	// NIST SP 800-63B-4 section 3.1.1.2: 15 where the password stands alone,
	// 8 where it is one of two factors.
	const stem = "k7#mQz!xV4&pLw9"
	for _, test := range []struct {
		least   int
		shorter string
		enough  string
		text    string
	}{
		{0, stem[:7], stem[:8], "That password has 7 characters. Use at least 8."},
		{MinLengthWithSecond, stem[:7], stem[:8], "That password has 7 characters. Use at least 8."},
		{MinLengthAlone, stem[:14], stem[:15], "That password has 14 characters. Use at least 15."},
	} {
		policy := PasswordPolicy{MinLength: test.least}
		checkRefused(t, policy.Check(test.shorter), TooShort, test.text)
		if err := policy.Check(test.enough); err != nil {
			t.Errorf("%d: %v", test.least, err)
		}
	}
}

func TestPasswordErrorsKeepTheSecret(t *testing.T) {
	const secret = "alice2024"
	err := PasswordPolicy{}.Check(secret, "alice")
	if err == nil || strings.Contains(fmt.Sprintf("%v %+v %#v", err, err, err), secret) {
		t.Errorf("%#v", err)
	}
}

func checkRefused(t *testing.T, err error, reason PasswordReason, text string) {
	t.Helper()
	var refused *PasswordError
	if !errors.As(err, &refused) {
		t.Fatalf("got %v; want a *PasswordError", err)
	}
	if refused.Reason != reason || refused.Text() != text {
		t.Errorf("refused as %s: %q; want %s: %q", refused.Reason, refused.Text(), reason, text)
	}
}

func FuzzPasswordPolicy(f *testing.F) {
	f.Add("alice2024", "alice")
	f.Add("\ufdfa", "ſ")
	f.Fuzz(func(t *testing.T, password, own string) {
		err := PasswordPolicy{Services: []string{own}}.Check(password, own)
		var refused *PasswordError
		if err != nil && (!errors.As(err, &refused) || refused.Text() == "") {
			t.Errorf("%q: %v", password, err)
		}
		if err == nil && utf8.RuneCountInString(password) < 8 {
			t.Errorf("%q is short and was accepted", password)
		}
	})
}
