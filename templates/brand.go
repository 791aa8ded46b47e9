package templates

import (
	"bytes"
	"encoding/xml"
	"errors"
	"fmt"
	"image/png"
	"io"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"
)

// MaxLogo bounds the logo, in bytes, which every page loads.
const MaxLogo = 64 << 10

// brand is what an operator adds to the look, as assets.
type brand struct {
	logo  string // name of the asset; empty: there is none
	style string // name of the asset; empty: there is none
	files map[string][]byte
}

func newBrand(options Options) (brand, error) {
	made := brand{files: make(map[string][]byte)}
	if len(options.Logo) > 0 {
		name, err := checkLogo(options.Logo)
		if err != nil {
			return brand{}, fmt.Errorf("logo: %w", err)
		}
		made.logo, made.files[name] = name, options.Logo
	}
	if options.Accent != "" {
		accent, err := parseColour(options.Accent)
		if err != nil {
			return brand{}, fmt.Errorf("accent: %w", err)
		}
		made.style, made.files["brand.css"] = "brand.css", accentStyle(accent)
	}
	return made, nil
}

// checkLogo returns the name under which a logo is served.
func checkLogo(content []byte) (name string, err error) {
	if len(content) > MaxLogo {
		return "", fmt.Errorf("it has %d bytes, and the limit is %d", len(content), MaxLogo)
	}
	if bytes.HasPrefix(content, []byte("\x89PNG")) {
		if _, err := png.DecodeConfig(bytes.NewReader(content)); err != nil {
			return "", fmt.Errorf("it isn't a whole PNG file: %w", err)
		}
		return "logo.png", nil
	}
	if err := checkSVG(content); err != nil {
		return "", err
	}
	return "logo.svg", nil
}

// checkSVG refuses what would run, or load something from elsewhere, when
// somebody opens the file by itself.
func checkSVG(content []byte) error {
	decoder := xml.NewDecoder(bytes.NewReader(content))
	root, style := true, false
	for {
		part, err := decoder.Token()
		if errors.Is(err, io.EOF) && !root {
			return nil
		}
		if err != nil {
			return fmt.Errorf("it is neither a PNG nor an SVG file: %w", err)
		}
		switch part := part.(type) {
		case xml.StartElement:
			if root && part.Name.Local != "svg" {
				return fmt.Errorf("it is neither a PNG nor an SVG file: it begins with <%s>", part.Name.Local)
			}
			root, style = false, strings.EqualFold(part.Name.Local, "style")
			err = checkElement(part)
		case xml.EndElement:
			style = false
		case xml.CharData:
			if style {
				err = checkStyle(string(part))
			}
		case xml.Directive:
			// A document type can define entities, which hide what they stand for.
			err = errors.New("it has a document type (<!DOCTYPE …>): remove that line")
		case xml.ProcInst:
			if part.Target != "xml" {
				err = fmt.Errorf("it has the instruction <?%s …?>", part.Target)
			}
		}
		if err != nil {
			return err
		}
	}
}

// activeElements are those of SVG 2 that run, frame or change something.
var activeElements = []string{
	"script", "handler", "listener", "foreignobject", "iframe", "object", "embed", "audio", "video",
	"animate", "animatemotion", "animatetransform", "set", "discard",
}

// inlineImage is a picture that is part of the file.
var inlineImage = regexp.MustCompile(`(?i)^data:image/(png|jpeg|gif|webp)[;,]`)

func checkElement(element xml.StartElement) error {
	if slices.Contains(activeElements, strings.ToLower(element.Name.Local)) {
		return fmt.Errorf("it has the element <%s>, which a logo can't have", element.Name.Local)
	}
	for _, attribute := range element.Attr {
		name := strings.ToLower(attribute.Name.Local)
		value := strings.TrimSpace(attribute.Value)
		switch {
		case attribute.Name.Space == "xmlns" || name == "xmlns":
		case strings.HasPrefix(name, "on"):
			return fmt.Errorf("it has the event handler %s", attribute.Name.Local)
		case name == "href" || name == "src" || name == "base":
			if !strings.HasPrefix(value, "#") && !inlineImage.MatchString(value) {
				return fmt.Errorf("it refers to something else: %s=%q", attribute.Name.Local, attribute.Value)
			}
		default:
			if err := checkStyle(value); err != nil {
				return err
			}
		}
	}
	return nil
}

var (
	styleReference = regexp.MustCompile(`(?i)url\(\s*['"]?\s*([^)]?)`)
	styleLoads     = regexp.MustCompile(`(?i)@import|image-set\(|image\(|src\(|\\|javascript:`)
)

// checkStyle refuses references out of the file. A backslash could hide one.
func checkStyle(style string) error {
	if found := styleLoads.FindString(style); found != "" {
		return fmt.Errorf("it has %q in a style", found)
	}
	for _, match := range styleReference.FindAllStringSubmatch(style, -1) {
		if match[1] != "#" {
			return fmt.Errorf("its style refers to something else: %q", match[0])
		}
	}
	return nil
}

// colour is one of sRGB, each channel from 0 to 1.
type colour [3]float64

var (
	black = colour{0, 0, 0}
	white = colour{1, 1, 1}
)

var sixDigits = regexp.MustCompile(`^#[0-9a-fA-F]{6}$`)

// CheckAccent refuses text that isn't valid for Options.Accent.
func CheckAccent(written string) error {
	_, err := parseColour(written)
	return err
}

func parseColour(written string) (colour, error) {
	if !sixDigits.MatchString(written) {
		return colour{}, fmt.Errorf("%q isn't a colour such as #1c5dbf", written)
	}
	value, err := strconv.ParseUint(written[1:], 16, 32)
	if err != nil {
		return colour{}, err
	}
	channel := func(shift uint) float64 { return float64(value>>shift&0xff) / 255 }
	return colour{channel(16), channel(8), channel(0)}, nil
}

// String writes the colour as style sheets have it.
func (c colour) String() string {
	channel := func(v float64) int { return int(math.Round(v * 255)) }
	return fmt.Sprintf("#%02x%02x%02x", channel(c[0]), channel(c[1]), channel(c[2]))
}

// towards mixes the colour with another; at 1 it is the other.
func (c colour) towards(other colour, share float64) colour {
	for i := range c {
		c[i] += (other[i] - c[i]) * share
		c[i] = math.Round(c[i]*255) / 255
	}
	return c
}

// luminance is the relative luminance of WCAG 2.2.
func (c colour) luminance() float64 {
	linear := func(v float64) float64 {
		if v <= 0.04045 {
			return v / 12.92
		}
		return math.Pow((v+0.055)/1.055, 2.4)
	}
	return 0.2126*linear(c[0]) + 0.7152*linear(c[1]) + 0.0722*linear(c[2])
}

// contrast is the ratio of WCAG 2.2, from 1 to 21.
func contrast(a, b colour) float64 {
	lighter, darker := max(a.luminance(), b.luminance()), min(a.luminance(), b.luminance())
	return (lighter + 0.05) / (darker + 0.05)
}

// readable is the contrast of text (WCAG 2.2, 1.4.3).
const readable = 4.5

// The grounds that the style sheet puts its accent on, the hardest of each
// scheme. A test holds them to it.
var (
	lightGround = colour{0xf2 / 255., 0xf4 / 255., 0xf7 / 255.}
	darkGround  = colour{0x1a / 255., 0x1f / 255., 0x28 / 255.}
)

// accentOn brings the accent as little towards an end as it takes to be
// readable on the ground.
func accentOn(accent, ground, end colour) colour {
	for percent := range 100 {
		if mixed := accent.towards(end, float64(percent)/100); contrast(mixed, ground) >= readable {
			return mixed
		}
	}
	return end
}

// accentStyle sets the tokens of the style sheet that are about the accent.
// Print keeps its own.
func accentStyle(accent colour) []byte {
	light, dark := accentOn(accent, lightGround, black), accentOn(accent, darkGround, white)
	return fmt.Appendf(nil, `@media screen {
	:root { --accent: %s; --accent-strong: %s; }
}
@media screen and (prefers-color-scheme: dark) {
	:root { --accent: %s; --accent-strong: %s; }
}
`, light, light.towards(black, 0.2), dark, dark.towards(white, 0.3))
}
