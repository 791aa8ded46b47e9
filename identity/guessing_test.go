package identity

import (
	"errors"
	"fmt"
	"maps"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

// zoe is somebody whom a targeted guesser knows well.
var zoe = []string{"zoe.mueller", "Zoe Müller", "z.mueller@mail.example"}

// zoesPolicy is that of the service that she uses.
var zoesPolicy = PasswordPolicy{Services: []string{"Looking Glass", "login.lookingglass.example", "wiki.lookingglass.example", "*.tools.lookingglass.example"}}

// guessedFirst is what a targeted guesser tries before anything else, by the
// reason that people are told.
var guessedFirst = map[PasswordReason][]string{
	OwnName: {
		"zoe.muller", "zoe_muller", "Zoe-Müller", "zoe mueller", "ZoeMuller", "muellerzoe", "Müller.Zoe", "zoemüller",
		"zoe.muller1", "Zoe.Muller.2026!", "zoe_mueller_1987", "Mueller2026", "mueller!!", "Mueller#12", "müller1234",
		"rellum.eoz", "relleum99", "eozrellum", "rellüm2024", "zoezoezoe", "zoemullerzoemuller", "mullermuller",
		"z0e.mu11er", "Z0e.Mu11er.2026!", "mu3ll3r99", "zmueller1", "zmuller2024", "muellerz!", "z.mueller1987",
		"ｚｏｅ．ｍｕｌｌｅｒ", "zoe24121987", "muller12.03.1999", "ilovezoe", "zoe12345678", "z.o.e.m.u.l.l.e.r", "zoe/muller",
		"zoe@mail.example", "mail.example", "zoepassword", "mullerqwerty", "123zoe123", "!zoe!zoe!zoe!",
	},
	BrandName: {
		"lookingglass", "LookingGlass2026", "looking-glass!", "L00kingGlass1", "ssalgnikool", "wiki2026!", "lookingglass.example",
		"wiki.lookingglass", "Wiki-Login1", "loginlogin", "toolswiki123", "glass4711", "lookingglas1",
	},
	Common: {
		"password", "Password1", "P@ssw0rd", "P@$$w0rd!", "p455w0rd", "Passw0rd2026", "password8231", "drowssap", "passwort1!",
		"Sommer2026!", "Winter2025", "Summer2026!", "Herbst#2024", "Januar2026", "Monday2026!", "Willkommen1", "Hallo1234", "welcome1", "Welcome2026!",
		"letmein99", "letmein!!", "dragon1987", "Dragon!23", "monkey12", "baseball7", "sunshine#1", "iloveyou2", "iloveyou!!",
		"trustno1", "TrustNo1!", "admin1234", "Admin@2026", "changeme1", "changeme2026", "master2024", "superman99", "Fussball1", "schatz1234",
		"Government", "Christopher", "hernandez1", "Schneider", "Christian1985", "passwordpassword", "dragondragon", "pa55wordpa55word",
		"password-password", "password.1", "pass.word.1", "football!2", "berlin2024", "München1", "hamburg#1", "p4ssw0rt", "Pr1ncess1",
		"test1234", "Test.1234", "guest123!", "qwerty123", "Qwerty2026!", "qwertz2024", "12345678", "123456789", "0987654321", "11223344", "1q2w3e4r", "1qaz2wsx", "!QAZ2wsx", "zaq12wsx", "qwertyui", "asdfghjkl", "abc12345", "abcd1234", "a1b2c3d4", "q1w2e3r4", "aa123456",
	},
	Patterned: {
		"abababab", "abcabcabc", "xyxyxyxyxy", "k7k7k7k7k7", "xk9xk9xk9", "aaaaaaaa", "aaaaaaaaaaaaaaa", "--------", "zzzzzzzz!", "aabbaabb", "aaaabbbb", "abcddcba",
		"abcdefgh", "hgfedcba", "stuvwxyz", "24681012", "13579135", "97531975", "aabbccdd", "zzyyxxww", "1a2b3c4d5e", "z9y8x7w6",
		"!QAZ@WSX", "1QAZ2wsx3EDC", "1qaz2wsx3edc4rfv", "2wsx3edc", "@WSX#EDC4rfv", "4rfv5tgb6yhn", "qaywsxedc", "QAYwsx123", "1qay2wsx", "!QAY2wsx", "1qay2wsx3edc", "yxcvbnm,.", "qwertzuiop", "QWERTZUIOPü", "poiuztrewq",
		"2w3e4r5t", "1q2w3e4r5t6z", "^1234567890ß", "qwertyuiop[]", "azertyuiop", "!@#$%^&*", "!\"§$%&/()", "йцукенгш", "qweasdzxc", "qwedsayxc", "poilkjmnb", "q2w3e4r5", "mnbvcxzlkj", "741852963", "159357258",
		"24121987", "24.12.1987", "1987-12-24", "12/24/1987", "19871224!", "01.01.2000", "24121987!", "24.12.87 ", "20002000", "19901990",
	},
}

func TestPasswordPolicyRefusesWhatIsGuessedFirst(t *testing.T) {
	for want, passwords := range guessedFirst {
		for _, password := range passwords {
			var refused *PasswordError
			if err := zoesPolicy.Check(password, zoe...); !errors.As(err, &refused) {
				t.Errorf("%q is accepted; want %s", password, want)
			} else if refused.Reason != want && (want == OwnName || want == BrandName) {
				t.Errorf("%q is refused for %s, want %s", password, refused.Reason, want)
			} else if (refused.Reason == OwnName || refused.Reason == BrandName) != (want == OwnName || want == BrandName) {
				t.Errorf("%q is refused for %s, want %s", password, refused.Reason, want)
			}
		}
	}
}

func TestPasswordPolicyKnowsNamesInTheirSpellings(t *testing.T) {
	for own, passwords := range map[string][]string{
		"Jürgen Groß":      {"juergen.gross", "jurgen_gross", "JürgenGroß1", "groß.jürgen"},
		"Mueller":          {"Müller99!", "muller99!", "mueller99"},
		"Søren Ærøskøbing": {"soren2026", "soeren.1", "aeroskobing"},
		"Łukasz Żak":       {"lukasz.zak", "lukaszzak1"},
		"François Noël":    {"francois.noel", "NoelFrancois1"},
		"Иван Петров":      {"ivan.petrov", "IvanPetrov1", "петров1987", "иван.петров"},
		"Γιώργος":          {"giorgos1987", "γιωργος1987"},
		"José Ibáñez":      {"jose.ibanez", "ibanez2026"},
		"王伟":               {"王伟123456"},
		"O'Brien":          {"obrien2026", "o.brien.1"},
		"Smith-Jones":      {"smithjones1", "jones.smith"},
	} {
		for _, password := range passwords {
			if err := (PasswordPolicy{}).Check(password, own); err == nil {
				t.Errorf("%q is accepted for %s", password, own)
			}
		}
	}
}

// goodOnes are chosen as people are told to.
var goodOnes = []string{
	"correct horse battery staple", "purple otter 41 sails", "Zoe eats nine plums on the roof", "my cat hates the vacuum cleaner",
	"der Hund schläft unter dem Tisch", "zoe muller likes to dance in the rain at night", "wiki pages grow like weeds in may",
	"the looking glass shows a sleepy fox", "I always forget my umbrella on Tuesdays!", "Vier Brezeln und ein Glas Milch",
	"kein Passwort ist auch keine Lösung", "looking for a glass of cold lemonade", "Drei-Chinesen-mit-dem-Kontrabass",
	"tangle.violin.harbor.mint", "tanglevioliniharbormint", "granite_mosaic_teapot", "lamp fern cobalt", "k7#mQz!x", "qoxbvuwelm",
	"gT9$wq2Lp", "xkqzjvwpt", "83f0a9d1c4", "J8s-Qm2-Lx7", "Txk4vbn9", "mein Auto ist älter als ich", "суровый медведь ест мёд", "日本語のとても長いパスワード",
	"rosebud under the old mill wheel", "Mueller oder Müller, das ist hier die Frage", "twelve angry badgers", "slow blue train at dawn",
}

func TestPasswordPolicyAcceptsGoodOnes(t *testing.T) {
	for _, password := range goodOnes {
		if judged := zoesPolicy.Judge(password, zoe...); judged.Refusal != nil {
			t.Errorf("%q: %v", password, judged.Refusal)
		}
	}
}

// TestPasswordPolicyAcceptsRandomOnes wants what is drawn at random to pass,
// words as well as characters: who had a password made by a program shouldn't
// be told that it is guessed first.
func TestPasswordPolicyAcceptsRandomOnes(t *testing.T) {
	random := rand.New(rand.NewPCG(3, 4))
	pick := func(from []string, count int, separator string) string {
		parts := make([]string, count)
		for i := range parts {
			parts[i] = from[random.IntN(len(from))]
		}
		return strings.Join(parts, separator)
	}
	roll := func(count int, separator string) string {
		dice := strings.Fields(diceWords)
		random.Shuffle(len(dice), func(i, j int) { dice[i], dice[j] = dice[j], dice[i] })
		return strings.Join(dice[:count], separator)
	}
	makers := map[string]func() string{
		"three words with spaces": func() string { return roll(3, " ") },
		"four words in one":       func() string { return roll(4, "") },
		"five words with dashes":  func() string { return roll(5, "-") },
		"eight letters and digits": func() string {
			return pick(strings.Split("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789", ""), 8, "")
		},
		"ten small letters":         func() string { return pick(strings.Split("abcdefghijklmnopqrstuvwxyz", ""), 10, "") },
		"twelve hexadecimal digits": func() string { return pick(strings.Split("0123456789abcdef", ""), 12, "") },
		"sixteen letters and signs": func() string { return pick(strings.Split("abcdefghijkmnpqrstuvwxyz23456789!#$%&*", ""), 16, "") },
		"four times four with dashes": func() string {
			return fmt.Sprintf("%04x-%04x-%04x-%04x", random.Uint32()&0xffff, random.Uint32()&0xffff, random.Uint32()&0xffff, random.Uint32()&0xffff)
		},
	}
	const tries = 100
	for _, name := range slices.Sorted(maps.Keys(makers)) {
		var refused []string
		for range tries {
			if password := makers[name](); zoesPolicy.Judge(password, zoe...).Refusal != nil {
				refused = append(refused, password)
			}
		}
		// Chance makes a word or a run of keys now and then.
		if len(refused) > tries/100 {
			t.Errorf("%s: of %d, %q are refused", name, tries, refused)
		}
	}
}

// diceWords are words such as dice choose.
const diceWords = `abacus acorn agility almond anchor antler apron atlas badge bagel balcony bamboo barley basket beacon bellow blanket blizzard bonsai
bramble bucket cactus camera canopy carbon catalog cedar chapel charcoal clarinet cobalt compass copper cricket crimson cushion daffodil dagger
delta denim dolphin drizzle duckling easel eclipse elbow embargo ember engine fabric falcon feather fender fiddle flannel fossil fountain gallery
garnet gazelle ginger goblet granite gravel hammock harbor harvest hazel helium hornet igloo iguana ivory jackal jigsaw jungle kettle kimono
ladder lagoon lantern lattice lemon lizard lobster magnet mango marble meadow mitten mosaic muffin napkin nectar nickel nugget oatmeal octopus
olive onyx orbit orchid otter oyster paddle papaya parsley pebble pelican pepper pigeon pillow plaza pretzel pumpkin quarry quartz quiver raccoon
radish raven ribbon rocket saddle saffron salmon sandal scarf shovel skillet spinach sprout squid stencil tadpole tangle teapot thimble thistle
timber toffee trellis trumpet tulip tundra turnip umbrella velvet violin waffle walnut walrus willow wombat yogurt zebra zipper`

// TestMeterAndFormAgree holds that nothing is refused that the meter calls fair
// or better, and nothing accepted that it calls weak.
func TestMeterAndFormAgree(t *testing.T) {
	all := append([]string{"", "x", "\xff", "a\nb", strings.Repeat("k7#mQ", 40)}, goodOnes...)
	for _, passwords := range guessedFirst {
		all = append(all, passwords...)
	}
	rapid.Check(t, func(rt *rapid.T) {
		password := rapid.OneOf(
			rapid.SampledFrom(all), rapid.String(), rapid.StringMatching(`(zoe|muller|Looking|glass|password|dragon|qwer|[a-z0-9]{1,6}|[!._ -]){1,6}`),
		).Draw(rt, "password")
		policy := zoesPolicy
		policy.MinLength = rapid.SampledFrom([]int{0, MinLengthWithSecond, MinLengthAlone}).Draw(rt, "least")
		own := rapid.SampledFrom([][]string{nil, zoe, {password}, {"x@" + password}}).Draw(rt, "own")
		judged, err := policy.Judge(password, own...), policy.Check(password, own...)
		if (judged.Refusal != nil) != (err != nil) {
			rt.Fatalf("Judge says %v, Check %v", judged.Refusal, err)
		}
		if isFair := judged.Score >= acceptableScore; isFair != (err == nil) {
			rt.Fatalf("the meter shows %d of 4, and the form says %v", judged.Score, err)
		}
		if judged.Score < 0 || judged.Score > 4 {
			rt.Fatalf("a score of %d", judged.Score)
		}
	})
}

// The dearest kinds of input that were found: long, with many signs that are
// read as letters, and many repeats.
func BenchmarkJudgeWorst(b *testing.B) {
	for name, password := range map[string]string{
		"signs":    varied("4@8({[<36910!|75$+%2", 128),
		"repeats":  varied("ab", 128),
		"one key":  strings.Repeat("a", 128),
		"words":    strings.Repeat("theinterestingandunbelievable", 4),
		"ordinary": "purple otter 41 sails",
	} {
		b.Run(name, func(b *testing.B) {
			for b.Loop() {
				zoesPolicy.Judge(password, zoe...)
			}
		})
	}
}
