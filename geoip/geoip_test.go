package geoip

import (
	"bytes"
	"net"
	"strings"
	"testing"

	"github.com/maxmind/mmdbwriter"
	"github.com/maxmind/mmdbwriter/mmdbtype"
)

// write returns a database of the given kind with a record for each network.
func write(t *testing.T, kind string, records map[string]mmdbtype.DataType) []byte {
	t.Helper()
	tree, err := mmdbwriter.New(mmdbwriter.Options{DatabaseType: kind, IncludeReservedNetworks: true})
	if err != nil {
		t.Fatal(err)
	}
	for network, record := range records {
		_, block, err := net.ParseCIDR(network)
		if err != nil {
			t.Fatal(err)
		}
		if err := tree.Insert(block, record); err != nil {
			t.Fatal(err)
		}
	}
	var written bytes.Buffer
	if _, err := tree.WriteTo(&written); err != nil {
		t.Fatal(err)
	}
	return written.Bytes()
}

func in(language, name string) mmdbtype.Map {
	return mmdbtype.Map{"names": mmdbtype.Map{mmdbtype.String(language): mmdbtype.String(name)}}
}

func TestName(t *testing.T) {
	places, err := Parse(write(t, "GeoLite2-City", map[string]mmdbtype.DataType{
		"192.0.2.0/25":    mmdbtype.Map{"city": in("en", "Bern"), "country": in("en", "Switzerland")},
		"192.0.2.128/25":  mmdbtype.Map{"country": in("en", "Switzerland")},
		"198.51.100.0/24": mmdbtype.Map{"city": in("en", "Bern"), "country": in("de", "Schweiz")},
		"203.0.113.0/24":  mmdbtype.Map{"city": mmdbtype.String("of another layout")},
		"2001:db8::/32":   mmdbtype.Map{"city": in("en", "Bern"), "country": in("en", "Switzerland")},
	}))
	if err != nil {
		t.Fatal(err)
	}
	for address, want := range map[string]string{
		"192.0.2.1":        "Bern, Switzerland",
		"::ffff:192.0.2.1": "Bern, Switzerland",
		"2001:db8::1":      "Bern, Switzerland",
		"2001:db8::1%eth0": "Bern, Switzerland",
		"192.0.2.200":      "Switzerland",
		"198.51.100.1":     "Bern",
		"203.0.113.1":      "",
		"10.0.0.1":         "",
		"fe80::1":          "",
		"":                 "",
		"unknown":          "",
	} {
		if got := places.Name(address); got != want {
			t.Errorf("the place of %q is %q, want %q", address, got, want)
		}
	}
}

func TestDatabasesWithoutPlaces(t *testing.T) {
	whole := write(t, "GeoLite2-City", map[string]mmdbtype.DataType{"192.0.2.0/24": mmdbtype.Map{"city": in("en", "Bern")}})
	for name, c := range map[string]struct {
		database []byte
		want     string
	}{
		"empty":     {nil, "MaxMind DB format"},
		"other":     {[]byte("192.0.2.0/24,Bern\n"), "MaxMind DB format"},
		"cut":       {whole[:len(whole)/2], "MaxMind DB format"},
		"of others": {write(t, "GeoLite2-ASN", map[string]mmdbtype.DataType{"192.0.2.0/24": mmdbtype.Map{"autonomous_system_number": mmdbtype.Uint32(64496)}}), "GeoLite2-ASN"},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := Parse(c.database); err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("got %v, want an error with %q", err, c.want)
			}
		})
	}
}
