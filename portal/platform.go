package portal

import (
	"cmp"
	"net/http"
	"strings"

	"github.com/mileusna/useragent"

	"github.com/portcullis-mfa/portcullis/showable"
)

// platforms are the operating systems that factors can be bound to, by what
// browsers and useragent call them.
var platforms = map[string]string{
	"windows":          "windows",
	"macos":            "macos",
	"linux":            "linux",
	"android":          "android",
	"ios":              "ios",
	"chrome os":        "",
	"chromium os":      "",
	"unknown platform": "",
}

// platformOf tells what a browser runs on: windows, macos, linux, android, ios
// or empty. What the browser states counts before what its name suggests.
func platformOf(r *http.Request) string {
	hint := strings.ToLower(strings.Trim(r.Header.Get("Sec-CH-UA-Platform"), `" `))
	if platform, known := platforms[hint]; known {
		return platform
	}
	return platforms[strings.ToLower(useragent.Parse(r.UserAgent()).OS)]
}

// browserName puts what a browser calls itself into words.
func browserName(t words, userAgent string) string {
	parsed := useragent.Parse(showable.Text(userAgent))
	name := cmp.Or(parsed.Name, t.say("portal.browser.unnamed"))
	if parsed.OS == "" {
		return name
	}
	return t.say("portal.browser.on", "Browser", name, "System", parsed.OS)
}
