package canonical

import (
	"net/url"
	"slices"
	"testing"
)

func FuzzQueryReadings(f *testing.F) {
	for _, query := range []string{
		"", "action=admin", "a=1&a=2", "a;b", "%zz", "a[]=1", "+a=+", "?a", "%2561=%2561", "&&=", "a=b=c", "%00", "a.b=1&a_b=2", "\xff=\xc0\xae", "\u0082",
	} {
		f.Add(query)
	}
	use := NewQueryUse("action", "a_b", "filter[type]")
	f.Fuzz(func(t *testing.T, query string) {
		if checkQuery(query) != nil {
			return
		}
		readings, err := use.readings(query)
		if err != nil {
			if readings != nil {
				t.Fatalf("%q is refused and has readings", query)
			}
			return
		}
		values, err := url.ParseQuery(query)
		if err != nil {
			t.Fatalf("%q was taken, though it doesn't parse: %v", query, err)
		}
		all := append([]string{query}, readings...)
		for i, reading := range all {
			if slices.Contains(all[:i], reading) {
				t.Fatalf("%q is there twice", reading)
			}
			if checkQuery(reading) != nil {
				t.Fatalf("reading %q of %q", reading, query)
			}
		}
		for _, one := range []struct {
			name string
			of   func([]string) string
		}{
			{"first", func(v []string) string { return v[0] }},
			{"last", func(v []string) string { return v[len(v)-1] }},
		} {
			if !slices.ContainsFunc(all, func(reading string) bool { return readsAs(reading, values, one.of) }) {
				t.Fatalf("the %s of each in %q is none of %q", one.name, query, all)
			}
		}
	})
}

// readsAs reports whether a query has one value for each name, which of
// chooses among several.
func readsAs(query string, values url.Values, of func([]string) string) bool {
	got, err := url.ParseQuery(query)
	if err != nil || len(got) != len(values) {
		return false
	}
	for name, all := range values {
		if len(got[name]) != 1 || got[name][0] != of(all) {
			return false
		}
	}
	return true
}
