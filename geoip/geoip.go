// Package geoip names the place that an address belongs to, using a database in the
// MaxMind DB format.
//
// It must not know what the names are for: a place is a hint for people, and nothing is
// decided by it.
package geoip

import (
	"fmt"
	"net/netip"

	"github.com/oschwald/maxminddb-golang/v2"
)

// Places is a database of places. It is safe for concurrent use.
type Places struct{ reader *maxminddb.Reader }

// place is what is read of a record: the layout that the databases named City, Country
// and Enterprise share (https://dev.maxmind.com/geoip/docs/databases).
type place struct {
	City    named `maxminddb:"city"`
	Country named `maxminddb:"country"`
}

type named struct {
	Names struct {
		English string `maxminddb:"en"`
	} `maxminddb:"names"`
}

func (p place) String() string {
	city, country := p.City.Names.English, p.Country.Names.English
	if city == "" || country == "" {
		return city + country
	}
	return city + ", " + country
}

// Parse returns the places in a database, which it keeps. A database that names none
// is an error.
func Parse(database []byte) (*Places, error) {
	reader, err := maxminddb.OpenBytes(database)
	if err != nil {
		return nil, fmt.Errorf("this isn't a database in the MaxMind DB format: %w", err)
	}
	if !namesPlaces(reader) {
		return nil, fmt.Errorf("this database, a %s, names no cities or countries in English: use one such as GeoLite2-City", reader.Metadata.DatabaseType)
	}
	return &Places{reader}, nil
}

// sample is how many networks are looked through for one that has a place. Databases
// of places have one among the first few.
const sample = 10_000

func namesPlaces(reader *maxminddb.Reader) bool {
	looked := 0
	for network := range reader.Networks() {
		if looked++; looked > sample {
			break
		}
		if nameOf(network) != "" {
			return true
		}
	}
	return false
}

// nameOf returns the name of the place of a network; empty: there is none, or the record
// is damaged, which costs no more than the hint.
func nameOf(network maxminddb.Result) string {
	var p place
	if err := network.Decode(&p); err != nil {
		return ""
	}
	return p.String()
}

// Name returns the city and country of an IP address in English, such as "Bern,
// Switzerland", or one of them if the other isn't known. Empty: neither is known.
func (p *Places) Name(address string) string {
	ip, err := netip.ParseAddr(address)
	if err != nil {
		return ""
	}
	return nameOf(p.reader.Lookup(ip.Unmap().WithZone("")))
}
