// Package apps is for tests: it models how the apps behind gates read the target
// of a request, written without the code that is tested against them. It must
// not know that code.
package apps

import (
	"net/url"
	"regexp"
	"strings"
)

// All are the models by name. Each returns the path on which the app acts for
// the target of a request.
var All = map[string]func(target string) string{
	"Go": func(target string) string {
		u, err := url.ParseRequestURI(target)
		if err != nil {
			return "error: " + err.Error()
		}
		return u.Path
	},
	"CGI":          func(target string) string { return Unquote(pathOf(target)) },
	"decode twice": func(target string) string { return Unquote(Unquote(pathOf(target))) },
	"split, then decode": func(target string) string {
		segments := strings.Split(pathOf(target), "/")
		for i, segment := range segments {
			segments[i] = strings.ReplaceAll(Unquote(segment), "/", "%2F")
		}
		return strings.Join(segments, "/")
	},
	"nginx":  func(target string) string { return oneSlash(Unquote(pathOf(target))) },
	"Tomcat": func(target string) string { return oneSlash(Unquote(withoutParameters(pathOf(target)))) },
	"Tomcat with allowBackslash": func(target string) string {
		return oneSlash(strings.ReplaceAll(Unquote(withoutParameters(pathOf(target))), `\`, "/"))
	},
	"Spring":       func(target string) string { return withoutParameters(Unquote(pathOf(target))) },
	"Spring twice": func(target string) string { return withoutParameters(Unquote(Unquote(pathOf(target)))) },
	"IIS": func(target string) string {
		path := oneSlash(strings.ReplaceAll(Unquote(pathOf(target)), `\`, "/"))
		return regexp.MustCompile(`[. ]+(/|$)`).ReplaceAllString(path, "$1")
	},
	"ASP.NET": func(target string) string {
		path := regexp.MustCompile(`/\(([A-Za-z]\([^()/]*\))+\)`).ReplaceAllString(Unquote(pathOf(target)), "")
		if !strings.HasPrefix(path, "/") {
			path = "/" + path
		}
		return path
	},
	"Node": func(target string) string {
		path := strings.ReplaceAll(pathOf(target), `\`, "/")
		if parts := regexp.MustCompile(`^//+[^/]*(.*)$`).FindStringSubmatch(path); parts != nil {
			path = parts[1]
			if path == "" {
				path = "/"
			}
		}
		return Unquote(path)
	},
	"parse, decode, parse": func(target string) string {
		path, _, _ := strings.Cut(Unquote(pathOf(target)), "?")
		path, _, _ = strings.Cut(path, "#")
		return path
	},
}

func pathOf(target string) string {
	path, _, _ := strings.Cut(target, "?")
	return path
}

var triplet = regexp.MustCompile(`%[0-9A-Fa-f]{2}`)

// Unquote decodes every well-formed triplet once.
func Unquote(text string) string {
	return triplet.ReplaceAllStringFunc(text, func(t string) string {
		decoded, err := url.PathUnescape(t)
		if err != nil {
			panic(err)
		}
		return decoded
	})
}

func oneSlash(path string) string { return regexp.MustCompile(`/+`).ReplaceAllString(path, "/") }

func withoutParameters(path string) string {
	return regexp.MustCompile(`;[^/]*`).ReplaceAllString(path, "")
}
