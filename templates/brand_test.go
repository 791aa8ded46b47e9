package templates

import (
	"bytes"
	"image"
	"image/png"
	"math/rand/v2"
	"regexp"
	"strings"
	"testing"
)

// TestAccentIsReadable wants the contrast that the style sheet promises (WCAG
// 2.2, 1.4.3) from colours that lack it.
func TestAccentIsReadable(t *testing.T) {
	style := string(newSet(t).assets.files["style.css"])
	light, rest, _ := strings.Cut(style, "@media (prefers-color-scheme: dark)")
	dark, _, _ := strings.Cut(rest, "\n}\n")
	schemes := []map[string]string{tokens(light), tokens(dark)}
	accents := []string{"#ffff00", "#777777", "#000000", "#ffffff", "#ff0000", "#00ff00", "#0000ff", "#808080", "#1c5dbf", "#E6007E"}
	for range 200 {
		accents = append(accents, colour{rand.Float64(), rand.Float64(), rand.Float64()}.String())
	}
	rules := regexp.MustCompile(`--accent: #([0-9a-f]{6}); --accent-strong: #([0-9a-f]{6});`)
	for _, accent := range accents {
		set, err := newBrand(Options{Accent: accent})
		if err != nil {
			t.Fatal(err)
		}
		made := rules.FindAllStringSubmatch(string(set.files["brand.css"]), -1)
		if len(made) != 2 {
			t.Fatalf("%s makes %q", accent, set.files["brand.css"])
		}
		for i, scheme := range schemes {
			for _, front := range made[i][1:] {
				for _, back := range []string{"ground", "surface", "on-accent"} {
					if got := contrast(colourOf(t, front), colourOf(t, scheme[back])); got < 4.5 {
						t.Errorf("%s became #%s, with a contrast of %.2f to %s", accent, front, got, back)
					}
				}
			}
		}
	}
}

func TestAccentStaysWhereItCan(t *testing.T) {
	made, err := newBrand(Options{Accent: "#1C5DBF"})
	if err != nil {
		t.Fatal(err)
	}
	if style := string(made.files["brand.css"]); !strings.Contains(style, ":root { --accent: #1c5dbf;") {
		t.Errorf("a readable accent was changed: %s", style)
	}
}

func TestContrastIsThatOfWCAG(t *testing.T) {
	grey, err := parseColour("#767676")
	if err != nil {
		t.Fatal(err)
	}
	if got := contrast(black, white); got != 21 {
		t.Errorf("black on white has %v, want 21", got)
	}
	// The best known grey that just passes on white.
	if got := contrast(grey, white); got < 4.54 || got > 4.55 {
		t.Errorf("#767676 on white has %v, want 4.54", got)
	}
}

func TestBrandThatIsWrong(t *testing.T) {
	svg := func(inside string) []byte {
		return []byte(`<svg xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink">` + inside + `</svg>`)
	}
	tests := map[string]Options{
		"a colour by name":            {Accent: "red"},
		"a short colour":              {Accent: "#fff"},
		"a colour with a rule":        {Accent: "#ffffff; } body {"},
		"too large":                   {Logo: svg(strings.Repeat(" ", 64<<10))},
		"neither SVG nor PNG":         {Logo: []byte("GIF89a")},
		"a page":                      {Logo: []byte("<html><svg/></html>")},
		"half a PNG":                  {Logo: []byte("\x89PNG\r\n\x1a\n")},
		"half an SVG":                 {Logo: []byte("<svg><g>")},
		"a script":                    {Logo: svg(`<script>alert(1)</script>`)},
		"a script with a prefix":      {Logo: svg(`<svg:SCRIPT xmlns:svg="http://www.w3.org/2000/svg"/>`)},
		"an event handler":            {Logo: svg(`<g ONclick="alert(1)"/>`)},
		"markup of HTML":              {Logo: svg(`<foreignObject/>`)},
		"a link":                      {Logo: svg(`<a xlink:href="javascript:alert(1)"/>`)},
		"a picture from elsewhere":    {Logo: svg(`<image href="https://e.example/x.png"/>`)},
		"an SVG inside":               {Logo: svg(`<image href="data:image/svg+xml,x"/>`)},
		"another file's shapes":       {Logo: svg(`<use href="other.svg#a"/>`)},
		"a base":                      {Logo: svg(`<g xml:base="https://e.example/"/>`)},
		"a change of a link":          {Logo: svg(`<set attributeName="href" to="javascript:alert(1)"/>`)},
		"a style from elsewhere":      {Logo: svg(`<style>@import "x.css";</style>`)},
		"a style that hides it":       {Logo: svg(`<style>a{fill:u\72l(https://e.example)}</style>`)},
		"a fill from elsewhere":       {Logo: svg(`<g fill="url('https://e.example/#x')"/>`)},
		"an attribute of style":       {Logo: svg(`<g style="background: URL( //e.example )"/>`)},
		"entities":                    {Logo: []byte(`<!DOCTYPE svg [<!ENTITY x "y">]><svg xmlns="http://www.w3.org/2000/svg"/>`)},
		"a style sheet by processing": {Logo: append([]byte(`<?xml-stylesheet href="x.css"?>`), svg("")...)},
	}
	for name, options := range tests {
		t.Run(name, func(t *testing.T) {
			if _, err := New(options); err == nil {
				t.Error("it was loaded")
			}
		})
	}
}

func TestLogo(t *testing.T) {
	var picture bytes.Buffer
	if err := png.Encode(&picture, image.NewGray(image.Rect(0, 0, 2, 2))); err != nil {
		t.Fatal(err)
	}
	tests := map[string]struct {
		logo []byte
		kind string
	}{
		"logo.png": {picture.Bytes(), "image/png"},
		"logo.svg": {[]byte(`<?xml version="1.0" encoding="UTF-8"?>
<!-- drawn by hand --><svg xmlns="http://www.w3.org/2000/svg" version="1.1" viewBox="0 0 9 9"><style>.a{fill:url(#b)}</style>
<defs><linearGradient id="b"/></defs><use href="#c" fill="url(#b)"/><image href="data:image/png;base64,AA=="/></svg>`), "image/svg+xml"},
	}
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			set, err := New(Options{Logo: test.logo, Accent: "#ffff00"})
			if err != nil {
				t.Fatal(err)
			}
			doc := parsed(t, render(t, set, "sign_in", SignInView{Frame: frame}))
			images := doc.all("img")
			if len(images) != 1 {
				t.Fatalf("there are %d pictures, want the logo", len(images))
			}
			source, _ := attribute(images[0], "src")
			words, _ := attribute(images[0], "alt")
			if source != frame.Assets+"/"+name || words != "Example Corp" {
				t.Errorf("the logo is %q with the words %q", source, words)
			}
			w := serve(set, "GET", name, nil)
			if w.Header().Get("Content-Type") != test.kind || !bytes.Equal(w.Body.Bytes(), test.logo) {
				t.Errorf("the logo is served as %q", w.Header().Get("Content-Type"))
			}
			if policy := w.Header().Get("Content-Security-Policy"); name == "logo.svg" && !strings.HasSuffix(policy, "sandbox") {
				t.Errorf("a drawing opened by itself has the policy %q", policy)
			}
			if !strings.Contains(strings.Join(assetsOf(doc, set), " "), "brand.css") {
				t.Error("the page doesn't load the accent")
			}
		})
	}
}

func TestWithoutLogoTheMarkAndNameStand(t *testing.T) {
	doc := parsed(t, render(t, newSet(t), "sign_in", SignInView{Frame: frame}))
	if header := doc.all("header")[0]; len(doc.all("img")) != 0 || text(header) != "Example Corp" {
		t.Errorf("above the card stands %q", text(header))
	}
}
