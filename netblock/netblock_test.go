package netblock

import "testing"

func TestHolder(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":              "192.0.2.7",
		"::ffff:192.0.2.7":       "192.0.2.7",
		"2001:db8:1:2:3:4:5:6":   "2001:db8:1:2::/64",
		"2001:db8:1:2:ffff::":    "2001:db8:1:2::/64",
		"2001:db8:1:3::1":        "2001:db8:1:3::/64",
		"fe80::1%eth0":           "fe80::/64",
		"":                       "unknown",
		"unix":                   "unknown",
		"192.0.2.7:443":          "unknown",
		"192.0.2.7, 203.0.113.1": "unknown",
	} {
		if got := Holder(address); got != want {
			t.Errorf("%q counts as %q, want %q", address, got, want)
		}
	}
}

func TestNetwork(t *testing.T) {
	for address, want := range map[string]string{
		"192.0.2.7":            "192.0.2.0/24",
		"::ffff:192.0.2.7":     "192.0.2.0/24",
		"2001:db8:1:2:3:4:5:6": "2001:db8:1::/48",
		"2001:db8:1:ffff::":    "2001:db8:1::/48",
		"fe80::1%eth0":         "fe80::/48",
		"":                     "",
		"192.0.2.7:443":        "",
	} {
		if got := Network(address); got != want {
			t.Errorf("%q belongs to %q, want %q", address, got, want)
		}
	}
}
