package identity

import (
	"strings"
	"testing"
)

func TestStrength(t *testing.T) {
	own := []string{"alice", "liddell@wonder.example"}
	for _, test := range []struct {
		password string
		least    int
		most     int
	}{
		{"", 0, 0},
		{"password", 0, 0},
		{"passwordpassword", 0, 0},
		{"P4$$w0rd3!1", 0, 1}, // read as letters, and a dictionary word in it
		{"liddell2024", 0, 1},
		{"aaaaaaaaaaaaaaa", 0, 0},
		{"pässwörd", 0, 0},
		{"日日日日日日日日日日", 0, 1},
		{"correct horse battery staple", 4, 4},
		{"purple otter 41 sails", 4, 4},
		{strings.Repeat("日本語", 1<<18), 0, 4},
		{"\xff\xfe\xfd", 0, 4},
	} {
		score := Strength(test.password, own...)
		if score < test.least || score > test.most {
			t.Errorf("%.30q: %d, want %d to %d", test.password, score, test.least, test.most)
		}
	}
	// What comes after the bound isn't looked at.
	long := strings.Repeat("a", maxEstimated)
	withTail := Strength(long + " correct horse battery staple")
	without := Strength(long)
	if withTail != without {
		t.Errorf("beyond the bound: %d, within: %d", withTail, without)
	}
}

func TestStrengthBoundsReadings(t *testing.T) {
	// The number of readings is what makes zxcvbn's time explode.
	if filters := affordable("p4$$w0rd3!1"); len(filters) != 0 {
		t.Error("an ordinary password isn't read in other ways")
	}
	if filters := affordable("4@8({[<36910!|75$+%2"); len(filters) != 1 {
		t.Error("all substitutes together are read in all ways")
	}
	for text, most := range map[string]int{
		"nothing": 1, "p4$$w0rd3!1": maxReadings, "p4ssw0rd": maxReadings,
	} {
		if got := readings(text); got > most {
			t.Errorf("%q has %d readings", text, got)
		}
	}
	if got := readings("4@8({[<36910!|75$+%2"); got <= maxReadings {
		t.Errorf("all substitutes together have only %d readings", got)
	}
}

func FuzzStrength(f *testing.F) {
	f.Add("Tr0ub4dor&3", "alice")
	f.Add("4@8({[<36910!|75$+%2", "")
	f.Add("aaa 12.03.1999 \xff İ\u212a", "ſ")
	f.Fuzz(func(t *testing.T, password, own string) {
		if score := Strength(password, own); score < 0 || score > 4 {
			t.Errorf("%d", score)
		}
	})
}

// The dearest input that a random search within the bounds found.
func BenchmarkStrengthWorst(b *testing.B) {
	const worst = "e47$nq4e@lt$gptfl7<k60n6d74ih7d0rnz4cu27<vzth700e6efebv@7vsvbtx6"
	for b.Loop() {
		Strength(worst, "alice", "alice@example.com")
	}
}
