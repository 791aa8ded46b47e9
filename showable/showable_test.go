package showable

import (
	"strings"
	"testing"
	"unicode/utf8"
)

func TestText(t *testing.T) {
	for text, want := range map[string]string{
		"":                                "",
		"Firefox on Linux":                "Firefox on Linux",
		"Zoë Müller":                      "Zoë Müller",
		"محمد علي":                        "محمد علي",
		"דנה כהן":                         "דנה כהן",
		"می\u200cخواهم":                   "می\u200cخواهم", // Persian writes it so
		"क्\u200dष":                       "क्\u200dष",
		"👩\u200d🚀":                        "👩\u200d🚀",
		"☎\ufe0f":                         "☎\ufe0f",
		"ad\u200dmin":                     "ad�min",
		"\u200dadmin\u200c":               "�admin�",
		"a\u202egpj.exe":                  "a�gpj.exe",
		"a\u202a\u202b\u202c\u202d\u202e": "a�",
		"\u2066x\u2067y\u2068z\u2069":     "�x�y�z�",
		"a\u200e\u200fb\u061cc":           "a�b�c",
		"a\u200bb\u2060c\ufeffd\u00ade":   "a�b�c�d�e",
		"a\u2028b\u2029c":                 "a�b�c",
		"a\x1b[31mb\x07\u009b2Jc\x7f":     "a�[31mb�2Jc�",
		"a\tb\r\nc":                       "a�b�c",
		"a\U000e0041\U000e007fb":          "a�b",
		"a\U000e0100b\u3164c\u034fd":      "a�b�c�d",
		"a\xffb":                          "a�b",
	} {
		if got := Text(text); got != want {
			t.Errorf("%+q: %+q, want %+q", text, got, want)
		}
	}
}

func FuzzText(f *testing.F) {
	f.Add("a\u202eb\u200dc\xff")
	f.Fuzz(func(t *testing.T, text string) {
		got := Text(text)
		if !utf8.ValidString(got) || strings.ContainsFunc(got, IsHidden) || Text(got) != got {
			t.Errorf("%+q becomes %+q", text, got)
		}
	})
}
