package token_test

import (
	"strings"
	"testing"
	"unicode"

	"github.com/portcullis-mfa/portcullis/token"
)

// O02: what phones show and copy is read, and nothing else.
func TestReadDigits(t *testing.T) {
	for typed, want := range map[string]string{
		"123456": "123456", " 123 456 ": "123456", "1 2 3 4 5 6": "123456", "\t123456": "123456",
		"123-456": "123456", "123 - 456": "123456", "12-34-56": "123456", "123\u2013456": "123456", "123\u2011456": "123456",
		"123\uff0d456": "123456", "123\u00a0456": "123456", "123\u202f456": "123456", "123\u2007456": "123456", "123\u3000456": "123456",
		"\ufeff123456": "123456", "\u200e123\u200b456\u200f": "123456", "\u2066123456\u2069": "123456", "123\u00ad456": "123456",
		"１２３４５６": "123456", "١٢٣٤٥٦": "123456", "۱۲۳۴۵۶": "123456", "१२३४५६": "123456", "𝟏𝟐𝟛𝟦𝟱𝟼": "123456", "1２٣4５٦": "123456",

		"": "", "      ": "", "-": "", "12345": "", "1234567": "", "0123456": "", "12345678": "",
		"+123456": "", "-123456": "", "\u2212123456": "", "-12345": "", "123456-": "", "123--456": "", "123- -456": "",
		"123.456": "", "123,456": "", "1e3456": "", "0x3456": "", "12345a": "", "¹²³⁴⁵⁶": "", "①②③④⑤⑥": "", "一二三四五六": "", "ⅠⅡⅢⅣⅤⅥ": "",
		"123456\n": "", "\r\n123456": "", "12345\x00": "", "123456\x00": "", "12345\xff": "", "１２": "", "123456\u0301": "", strings.Repeat("1", 1<<20): "",
	} {
		code, ok := token.ReadDigits(typed, 6)
		if ok != (want != "") || ok && code != want {
			t.Errorf("%.40q is read as %q, %v", typed, code, ok)
		}
	}
}

// TestDigitsOfAllScripts relies on nothing that Unicode doesn't promise: the
// digits of each script are in a row, from zero on.
func TestDigitsOfAllScripts(t *testing.T) {
	var row []rune
	scripts := 0
	for r := rune(0); r <= unicode.MaxRune; r++ {
		if !unicode.Is(unicode.Nd, r) {
			if len(row) > 0 {
				t.Errorf("%q are no ten digits", row)
			}
			row = nil
			continue
		}
		if row = append(row, r); len(row) < 10 {
			continue
		}
		if code, ok := token.ReadDigits(string(row), 10); !ok || code != "0123456789" {
			t.Errorf("%q are read as %q", row, code)
		}
		scripts++
		row = nil
	}
	if scripts < 60 {
		t.Errorf("only %d scripts", scripts)
	}
}

func TestReadCodeAsPasted(t *testing.T) {
	for typed, want := range map[string]string{
		"ABCD-2345-WXYZ": "ABCD2345WXYZ", "abcd 2345 wxyz": "ABCD2345WXYZ", "\u200eABCD\u20112345\u00a0WXYZ\u200f": "ABCD2345WXYZ",
		"ＡＢＣＤ－２３４５－ｗｘｙｚ": "ABCD2345WXYZ", "ABCD-٢٣٤٥-WXYZ": "ABCD2345WXYZ", "ABCD2345WXYZ\n": "ABCD2345WXYZ",
		"+ABCD2345WXYZ": "", "ABCD2345WXY": "", "ABCD2345WXYZ0": "", "АBCD2345WXYZ": "", "ſBCD2345WXYZ": "",
	} {
		code, ok := token.ReadCode(typed, 12)
		if ok != (want != "") || ok && code != want {
			t.Errorf("%q is read as %q, %v", typed, code, ok)
		}
	}
}

func TestTrimmed(t *testing.T) {
	for typed, want := range map[string]string{
		" alice ": "alice", "\u00a0alice\u200b": "alice", "\u2066alice\u2069": "alice", "\ufeffalice\r\n": "alice",
		"al ice": "al ice", "": "", " \u200b ": "",
	} {
		if got := token.Trimmed(typed); got != want {
			t.Errorf("%q is trimmed to %q", typed, got)
		}
	}
}

// FuzzReadDigits reads the same code from what was read, and never another.
func FuzzReadDigits(f *testing.F) {
	for _, seed := range []string{"", "123456", "123-456", "-123456", "１２３ ٤٥٦", "12345\xff", "\u200e1"} {
		f.Add(seed, 6)
	}
	f.Fuzz(func(t *testing.T, typed string, length int) {
		code, ok := token.ReadDigits(typed, length%16)
		if !ok {
			return
		}
		if strings.Trim(code, "0123456789") != "" || len(code) != max(0, length%16) && length >= 0 {
			t.Errorf("%q is read as %q", typed, code)
		}
		if again, ok := token.ReadDigits(code, len(code)); !ok || again != code {
			t.Errorf("%q is read as %q, and that as %q", typed, code, again)
		}
	})
}
