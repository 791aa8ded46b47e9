package gate

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"

	"pgregory.net/rapid"
)

func TestTakeCookies(t *testing.T) {
	tests := []struct {
		name     string
		lines    []string
		want     []string // lines that the app sees
		sessions []string
		states   map[string]string
		last     string
	}{
		{name: "no header"},
		{name: "others only", lines: []string{"a=1; b=2"}, want: []string{"a=1; b=2"}},
		{name: "ours only", lines: []string{"__Host-mfa=x"}, sessions: []string{"x"}},
		{name: "ours first", lines: []string{"__Host-mfa=x; a=1"}, want: []string{"a=1"}, sessions: []string{"x"}},
		{name: "ours last", lines: []string{"a=1; __Host-mfa=x"}, want: []string{"a=1"}, sessions: []string{"x"}},
		{name: "ours between", lines: []string{"a=1; __Host-mfa=x; b=2"}, want: []string{"a=1; b=2"}, sessions: []string{"x"}},
		{name: "value with equals signs", lines: []string{"__Host-mfa=x=="}, sessions: []string{"x=="}},
		{name: "spaces", lines: []string{"  __Host-mfa \t= x ;a=1"}, want: []string{"a=1"}, sessions: []string{"x"}},
		{
			name: "states", lines: []string{"__Host-mfa-state-1=x; a=1; __Host-mfa-state-2=y"}, want: []string{"a=1"},
			states: map[string]string{"__Host-mfa-state-1": "x", "__Host-mfa-state-2": "y"},
		},
		{
			name: "a state twice", lines: []string{"__Host-mfa-state-1=x; __Host-mfa-state-1=y"},
			states: map[string]string{"__Host-mfa-state-1": "x"},
		},
		{name: "who was last", lines: []string{"a=1; __Host-mfa-last=x; __Host-mfa-lastx=y"}, want: []string{"a=1"}, last: "x"},
		{name: "the portal's", lines: []string{"__Host-mfa-portal=x; __Host-mfa-flow=y; __Host-mfa-browser=z; a=1"}, want: []string{"a=1"}},
		{name: "several lines", lines: []string{"a=1", "__Host-mfa=x", "b=2; __Host-mfa=y"}, want: []string{"a=1", "b=2"}, sessions: []string{"x", "y"}},
		{name: "H04 other case", lines: []string{"__HOST-MFA=x; __host-mfa-state-1=y; a=1"}, want: []string{"a=1"}},
		{name: "H04 nameless", lines: []string{"=__Host-mfa=x; a=1; = __Host-mfa=y"}, want: []string{"a=1"}},
		{name: "H04 without a value", lines: []string{"__Host-mfa; a=1"}, want: []string{"a=1"}},
		{name: "H04 behind control characters", lines: []string{"\x01\x7f__Host-mfa=x; a=1"}, want: []string{"a=1"}},
		{name: "H04 in the quotes of another", lines: []string{`a="; __Host-mfa=x; b="`}, want: []string{`a="; b="`}, sessions: []string{"x"}},
		{name: "names that hold ours", lines: []string{"x__Host-mfa=1; mfa=2; __Host-mf=3; a=__Host-mfa"}, want: []string{"x__Host-mfa=1; mfa=2; __Host-mf=3; a=__Host-mfa"}},
		{name: "malformed, untouched", lines: []string{`;; a ;"=;b=\x00; ;`}, want: []string{`;; a ;"=;b=\x00; ;`}},
		{name: "malformed beside ours", lines: []string{`a ;"=; __Host-mfa=x;b= 2 ;; c`}, want: []string{`a ;"=;b= 2 ;; c`}, sessions: []string{"x"}},
		{name: "nothing else but separators", lines: []string{"; __Host-mfa=x"}, sessions: []string{"x"}},
		{
			name: "S03 100 cookies", lines: []string{"a=1; " + strings.Repeat("__Host-mfa=x; ", 100) + "b=2"},
			want: []string{"a=1; b=2"}, sessions: []string{"x", "x", "x", "x"},
		},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			h := http.Header{}
			if test.lines != nil {
				h["Cookie"] = slices.Clone(test.lines)
			}
			var taken Cookies
			taken.Take(h)
			if got, ok := h["Cookie"]; !slices.Equal(got, test.want) || ok != (test.want != nil) {
				t.Errorf("app sees %q, want %q", got, test.want)
			}
			if !slices.Equal(taken.Sessions, test.sessions) || !maps.Equal(taken.States, test.states) || taken.Last != test.last {
				t.Errorf("taken are %q, %q, %q, want %q, %q, %q", taken.Sessions, taken.States, taken.Last, test.sessions, test.states, test.last)
			}
		})
	}
}

func TestTakeCookiesBoundsStates(t *testing.T) {
	var line strings.Builder
	for i := range 5 * maxStateValues {
		fmt.Fprintf(&line, "%s%d=x; ", StateCookie, i)
	}
	h := http.Header{"Cookie": {line.String() + "a=1"}}
	var taken Cookies
	if taken.Take(h); len(taken.States) != maxStateValues {
		t.Errorf("%d states are looked at", len(taken.States))
	}
	if got := h["Cookie"]; !slices.Equal(got, []string{"a=1"}) {
		t.Errorf("app sees %.80q", got)
	}
}

// Whatever a client sends, no app that splits at semicolons finds ours, every
// other cookie is still there as it was, and a second time takes nothing.
func TestTakeCookiesProperties(t *testing.T) {
	pairs := rapid.SampledFrom([]string{
		"a=1", " b = 2 ", "", " ", "=", "c", `d="x`, `"`, "__Host-mfa=x", " __Host-mfa=y", "__host-MFA", "=__Host-mfa=z",
		"__Host-mfa-state-1=s", "\t= =__Host-mfa-flow", "x__Host-mfa=1", "__Host-mf=2", "a,__Host-x",
	})
	rapid.Check(t, func(t *rapid.T) {
		lines := rapid.SliceOfN(rapid.Custom(func(t *rapid.T) string {
			return strings.Join(rapid.SliceOfN(pairs, 0, 6).Draw(t, "pairs"), ";")
		}), 0, 3).Draw(t, "lines")
		var want []string
		for _, pair := range splitCookies(lines) {
			if !strings.HasPrefix(strings.ToLower(strings.TrimLeft(pair, " \t=")), "__host-mfa") {
				want = append(want, pair)
			}
		}
		h := http.Header{}
		if len(lines) > 0 {
			h["Cookie"] = slices.Clone(lines)
		}
		new(Cookies).Take(h)
		if got := splitCookies(h["Cookie"]); !slices.Equal(got, want) {
			t.Fatalf("%q became %q", lines, h["Cookie"])
		}
		before := slices.Clone(h["Cookie"])
		var again Cookies
		if again.Take(h); len(again.Sessions) > 0 || again.States != nil || !slices.Equal(h["Cookie"], before) {
			t.Fatalf("%q: the second time takes %v and leaves %q", lines, again, h["Cookie"])
		}
	})
}

// splitCookies returns what is not blank.
func splitCookies(lines []string) (pairs []string) {
	for _, line := range lines {
		for pair := range strings.SplitSeq(line, ";") {
			if pair = strings.Trim(pair, " \t"); pair != "" {
				pairs = append(pairs, pair)
			}
		}
	}
	return pairs
}

func TestTakeCookiesAllocatesLittle(t *testing.T) {
	h := http.Header{"Cookie": {"theme=dark; lang=en", "tracking=0123456789abcdef"}}
	var taken Cookies
	if n := testing.AllocsPerRun(100, func() { taken.Take(h) }); n != 0 {
		t.Errorf("%v allocations without a cookie of ours", n)
	}
	lines := []string{""}
	if n := testing.AllocsPerRun(100, func() {
		lines[0] = "theme=dark; __Host-mfa=0123456789abcdef; lang=en"
		h["Cookie"] = lines
		taken.Take(h)
	}); n > 1 {
		t.Errorf("%v allocations with a session", n)
	}
}

func BenchmarkTakeCookies(b *testing.B) {
	session := "theme=dark; __Host-mfa=" + strings.Repeat("x", 300) + "; lang=en"
	for name, line := range map[string]string{"none": "theme=dark; lang=en", "session": session} {
		b.Run(name, func(b *testing.B) {
			lines := []string{""}
			h := http.Header{}
			b.ReportAllocs()
			for b.Loop() {
				lines[0] = line
				h["Cookie"] = lines
				new(Cookies).Take(h)
			}
		})
	}
}
