package otpmessage

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/nyaruka/phonenumbers"

	"github.com/portcullis-mfa/portcullis/token"
)

// CheckRegions returns an error that says what to write if there is no region, or one
// isn't a country whose numbers are known.
func CheckRegions(regions []string) error {
	if len(regions) == 0 {
		return errors.New("write the countries whose mobile numbers people may use, such as DE AT")
	}
	known := phonenumbers.GetSupportedRegions()
	for _, region := range regions {
		if !known[region] {
			return fmt.Errorf("there is no country %q: write codes of ISO 3166, such as DE AT", region)
		}
	}
	return nil
}

// longestNumber bounds what is parsed, in bytes: a number with its country code
// has 15 digits (E.164 §6.1), and people write spaces between them.
const longestNumber = 40

// parseNumber returns a parser for mobile numbers of regions, in E.164 form. A
// number without a country code is one of the first region.
//
// What the library calls valid includes numbers that cost whoever sends to them:
// premium, shared cost and satellite ones. Only mobile numbers are taken, and in
// countries whose numbers don't tell, those that may be mobile.
func parseNumber(regions []string) func(string) (string, bool) {
	return func(written string) (string, bool) {
		written = token.Trimmed(written)
		if len(written) > longestNumber || strings.ContainsFunc(written, isForeign) {
			return "", false // letters stand for an extension, or for digits
		}
		number, err := phonenumbers.Parse(written, regions[0])
		if err != nil || number.GetExtension() != "" || !phonenumbers.IsValidNumber(number) {
			return "", false
		}
		kind := phonenumbers.GetNumberType(number)
		if kind != phonenumbers.MOBILE && kind != phonenumbers.FIXED_LINE_OR_MOBILE {
			return "", false
		}
		if !slices.Contains(regions, phonenumbers.GetRegionCodeForNumber(number)) {
			return "", false
		}
		return phonenumbers.Format(number, phonenumbers.E164), true
	}
}

// isForeign is of characters that no number needs.
func isForeign(r rune) bool {
	return (r < '0' || r > '9') && !strings.ContainsRune("+-/.() \u00a0", r)
}

// maskNumber shows the last two digits.
func maskNumber(number string) string {
	return "…" + number[max(0, len(number)-2):]
}

// spellNumber groups the digits of a number in E.164 form as its country does:
// "+49 170 1234567". The spaces don't break lines.
func spellNumber(number string) string {
	parsed, err := phonenumbers.Parse(number, "")
	if err != nil {
		return number
	}
	return strings.ReplaceAll(phonenumbers.Format(parsed, phonenumbers.INTERNATIONAL), " ", "\u00a0")
}
