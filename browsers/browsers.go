// Package browsers names browsers for texts that leave the server, such as e-mails.
//
// What a browser says of itself is written by whoever sends it. So only known names are
// used. The package must not know what the names are used for.
package browsers

import "github.com/mileusna/useragent"

// known are the browsers and systems that are called by their names.
var known = map[string]bool{
	useragent.Chrome: true, useragent.HeadlessChrome: true, useragent.Firefox: true, useragent.Safari: true, useragent.Edge: true, useragent.Opera: true, useragent.Vivaldi: true,
	useragent.SamsungBrowser: true,
	useragent.Windows:        true, useragent.MacOS: true, useragent.Linux: true, useragent.Android: true, useragent.IOS: true, useragent.ChromeOS: true,
}

// Named returns the name of a browser and of the system that it runs on, from what the
// browser calls itself. A name that isn't known is empty.
func Named(userAgent string) (browser, system string) {
	parsed := useragent.Parse(userAgent)
	return orNone(parsed.Name), orNone(parsed.OS)
}

func orNone(name string) string {
	if known[name] {
		return name
	}
	return ""
}
