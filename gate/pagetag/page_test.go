package pagetag

import (
	"maps"
	"net/http"
	"strings"
	"testing"
)

const (
	testTag    = `<script src="/x.js"></script>`
	testOrigin = "https://app.example.com"
)

func htmlHeader(more ...string) http.Header {
	h := http.Header{"Content-Type": {"text/html; charset=utf-8"}, "Content-Length": {"100"}, "Etag": {`"x"`}, "Accept-Ranges": {"bytes"}}
	for i := 0; i < len(more); i += 2 {
		h.Set(more[i], more[i+1])
	}
	return h
}

// pass sends a body in pieces through a page, and returns what left.
func (p *Page) pass(pieces ...string) string {
	var left strings.Builder
	for _, piece := range pieces {
		left.Write(p.Take([]byte(piece)))
	}
	left.Write(p.Rest())
	return left.String()
}

// TestPlace marks with an @ where the tag goes; without one, it goes nowhere.
func TestPlace(t *testing.T) {
	long := strings.Repeat("x", maxHeld)
	for _, marked := range []string{
		`<!doctype html><html lang=en><head>@<meta charset=utf-8><body>`,
		"\xef\xbb\xbf<!DOCTYPE HTML PUBLIC \"-//W3C//DTD HTML 4.01//EN\">\r\n<HTML>\r\n<HEAD profile=\"a>b\">@<TITLE>",
		`<!doctype html>@<title>No head is written</title>`,
		`<!doctype html>@Hello`,
		`<html>@<body>`,
		`<html>@<header>`,
		`<html data-a='<head>' b>@<frameset>`,
		`<head/>@`,
		"<!-- <head> --><!--><!---><!-- a --!><?xml version=\"1.0\"?>\n<!doctype html>\n<!-- b --><html>\n@<p>",
		`<!doctype html><html>@</html>`,
		// Pieces, and what isn't HTML.
		``, ` `, `<`, `<!`, `<!doctype`, `<html`, `<head`, `<head `, `<!-- `,
		`<p>A piece</p>`, `Hello <head>`, `{"html": "<head>"}`, `<headline>`, `<htmlx>`, `<!-- only a comment --><tr>`,
		`<script><head></script>`, `<template><head></template>`,
		"\xfe\xff\x00<\x00h\x00e\x00a\x00d\x00>", "\xff\xfe<\x00h\x00e\x00a\x00d\x00>\x00",
		`<!-- ` + long + ` --><head>`,
	} {
		page := strings.Replace(marked, "@", "", 1)
		want := strings.Replace(marked, "@", testTag, 1)
		if got := (&Page{tag: testTag, declared: true}).pass(page); got != want {
			t.Errorf("%.200q became %.200q, not %.200q", page, got, want)
		}
		pieces := strings.Split(page, "")
		if got := (&Page{tag: testTag, declared: true}).pass(pieces...); got != want {
			t.Errorf("%.200q became %.200q in pieces, not %.200q", page, got, want)
		}
	}
}

// TestCharset holds that browsers find the charset that a page itself declares
// where they look for it.
func TestCharset(t *testing.T) {
	const meta = `<meta charset="windows-1252">`
	for distance, tagged := range map[int]bool{0: true, 800: true, 930: false, 980: false, 2000: true} {
		page := "<head>" + strings.Repeat(" ", distance) + meta + strings.Repeat(" ", prescanned) + "</head>"
		left := (&Page{tag: testTag}).pass(page)
		if strings.Contains(left, testTag) != tagged {
			t.Errorf("with the charset at %d, the tag is in the page: %t", distance, !tagged)
		}
		if at := strings.Index(left, meta); distance < 980 && at+len(meta) > prescanned {
			t.Errorf("the charset at %d is pushed to %d", distance, at)
		}
	}
}

// TestHoldsBackLittle has the beginning of a page leave as soon as it is clear
// where the tag belongs, or when the app wants that.
func TestHoldsBackLittle(t *testing.T) {
	declared := &Page{tag: testTag, declared: true}
	if left := string(declared.Take([]byte("<head><title>"))); left != "<head>"+testTag+"<title>" {
		t.Errorf("%q left", left)
	}
	if left := string(declared.Take([]byte("<p>"))); left != "<p>" || !declared.IsDone() {
		t.Errorf("%q left after that", left)
	}
	undeclared := &Page{tag: testTag}
	if left := string(undeclared.Take([]byte("<head><title>"))); left != "" {
		t.Errorf("%q left before the charset was looked for", left)
	}
	if left := string(undeclared.Flush()); left != "<head>"+testTag+"<title>" {
		t.Errorf("%q left when the app wanted it to", left)
	}
}

// TestPrepare has the tag go into whole pages of HTML alone, with headers that are
// true of them.
func TestPrepare(t *testing.T) {
	for _, tt := range []struct {
		what   string
		status int
		header http.Header
		tagged bool
	}{
		{"a page", 200, htmlHeader(), true},
		{"a page that isn't found", 404, htmlHeader(), true},
		{"without a charset", 200, htmlHeader("Content-Type", "Text/HTML"), true},
		{"uncompressed", 200, htmlHeader("Content-Encoding", "identity"), true},
		{"shown inline", 200, htmlHeader("Content-Disposition", "inline; filename=attachment.html"), true},
		{"compressed", 200, htmlHeader("Content-Encoding", "gzip"), false},
		{"a part", 206, htmlHeader("Content-Range", "bytes 0-9/100"), false},
		{"a redirect", 302, htmlHeader(), false},
		{"not modified", 304, htmlHeader(), false},
		{"nothing", 204, htmlHeader(), false},
		{"data", 200, htmlHeader("Content-Type", "application/json"), false},
		{"XHTML", 200, htmlHeader("Content-Type", "application/xhtml+xml"), false},
		{"a malformed type", 200, htmlHeader("Content-Type", "text/html; ="), false},
		{"two types", 200, http.Header{"Content-Type": {"text/html", "text/plain"}}, false},
		{"no type", 200, http.Header{}, false},
		{"UTF-16", 200, htmlHeader("Content-Type", "text/html; charset=UTF-16LE"), false},
		{"a file", 200, htmlHeader("Content-Disposition", `Attachment; filename="x.html"`), false},
		{"not to be changed", 200, htmlHeader("Cache-Control", "private, No-Transform"), false},
		{"with a digest", 200, htmlHeader("Repr-Digest", "sha-256=:AA==:"), false},
		{"under a policy", 200, htmlHeader("Content-Security-Policy", "default-src 'none'"), false},
	} {
		before := maps.Clone(tt.header)
		page := Prepare(tt.header, tt.status, testTag, testOrigin)
		if (page != nil) != tt.tagged {
			t.Errorf("%s: the tag goes in: %t", tt.what, page != nil)
		}
		if page == nil && !maps.EqualFunc(before, tt.header, func(a, b []string) bool { return strings.Join(a, "\n") == strings.Join(b, "\n") }) {
			t.Errorf("%s: the headers became %v", tt.what, tt.header)
		}
		if page != nil && (tt.header.Get("Content-Length") != "" || tt.header.Get("Accept-Ranges") != "" || tt.header.Get("Etag") != `W/"x"`) {
			t.Errorf("%s: the headers are %v", tt.what, tt.header)
		}
	}
}

// TestPolicies asks what a browser would do under a Content Security Policy.
func TestPolicies(t *testing.T) {
	for policy, allows := range map[string]bool{
		"":                   true,
		"default-src 'self'": true,
		"Default-Src 'SELF'; script-src https://cdn.example.com 'self'":               true,
		"script-src *; connect-src *":                                                 true,
		"script-src https:":                                                           true,
		"script-src https://app.example.com; connect-src app.example.com":             true,
		"img-src 'none'; style-src 'none'; object-src 'none'; frame-ancestors 'none'": true,
		"script-src 'none'; script-src-elem 'self'":                                   true,
		"sandbox allow-scripts allow-same-origin allow-popups":                        true,
		"require-trusted-types-for 'script'; trusted-types none":                      true,
		"upgrade-insecure-requests, default-src 'self'":                               true,
		"default-src 'none'":                                                          false,
		"default-src 'none'; script-src 'self'":                                       false,
		"default-src 'self'; connect-src wss://app.example.com":                       false,
		"script-src":             false,
		"script-src 'nonce-abc'": false,
		"script-src 'self' 'nonce-abc' 'strict-dynamic'":              false,
		"script-src 'unsafe-inline'":                                  false,
		"script-src 'self'; script-src-elem 'none'":                   false,
		"script-src 'none'; script-src 'self'":                        false,
		"script-src https://app.example.com/js/":                      false,
		"script-src https://app.example.com.evil.example":             false,
		"script-src http:":                                            false,
		"default-src 'self', script-src 'none'":                       false,
		"sandbox":                                                     false,
		"sandbox allow-scripts allow-popups":                          false,
		"default-src 'self'; sandbox allow-scripts allow-same-origin": false,
	} {
		for _, name := range []string{"Content-Security-Policy", "Content-Security-Policy-Report-Only"} {
			if got := policiesAllow(http.Header{name: {"img-src *", policy}}, testOrigin); got != allows {
				t.Errorf("%s: %s: allows %t", name, policy, got)
			}
		}
	}
}

// FuzzPage holds that a page leaves as it came, but for the tag once at most, and
// the same in whatever pieces it comes.
func FuzzPage(f *testing.F) {
	for _, seed := range []string{`<!doctype html><html lang="a>b"><head>x`, "\xef\xbb\xbf<!-- -->\n<HTML><BODY>", `<head a=">`, `<!--><p>`, strings.Repeat(" ", 2000) + "<head>"} {
		f.Add(seed, 3, true)
	}
	f.Fuzz(func(t *testing.T, page string, cut int, declared bool) {
		cut = min(max(cut, 0), len(page))
		whole := (&Page{tag: "\x00TAG\x00", declared: declared}).pass(page)
		if before := strings.Replace(whole, "\x00TAG\x00", "", 1); before != page && whole != page {
			t.Errorf("%q became %q", page, whole)
		}
		parts := (&Page{tag: "\x00TAG\x00", declared: declared}).pass(page[:cut], page[cut:])
		if parts != whole && len(page) < maxHeld {
			t.Errorf("%q became %q in two pieces, and %q in one", page, parts, whole)
		}
	})
}

// FuzzPolicy holds that a policy which allows the tag names its origin, or says
// nothing of scripts and connections.
func FuzzPolicy(f *testing.F) {
	f.Add("default-src 'self'; script-src *")
	f.Add("script-src 'none'")
	f.Fuzz(func(t *testing.T, policy string) {
		if !policyAllows(policy, testOrigin) {
			return
		}
		script := first(parsePolicy(policy), "script-src-elem", "script-src", "default-src")
		if script != nil && len(script) == 0 {
			t.Errorf("%q allows nothing, and is taken to allow the tag", policy)
		}
	})
}
