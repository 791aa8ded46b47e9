package sms

import (
	"bytes"
	"encoding/json"
	"encoding/xml"
	"errors"
	"fmt"
	"mime"
	"net/url"
	"regexp"
	"strings"
)

// body is a template of request bodies: texts, and between them names of values.
type body struct {
	texts  []string // one more than names
	names  []string
	escape func(string) string
	// constants are values that are the same in every body.
	constants map[string]string
}

var placeholder = regexp.MustCompile(`\{(to|from|text|id|(?:env|file)\.[^{}]+)\}`)

// escapes are how values are written in bodies of a type.
var escapes = map[string]func(string) string{
	"application/json":                  escapeJSON,
	"application/x-www-form-urlencoded": url.QueryEscape,
	"application/xml":                   escapeXML,
	"text/xml":                          escapeXML,
}

func parseBody(written, contentType string, constants map[string]string) (body, error) {
	kind, _, err := mime.ParseMediaType(contentType)
	escape, known := escapes[kind]
	if err != nil || !known {
		return body{}, errors.New("header Content-Type: write application/json, application/x-www-form-urlencoded, application/xml or text/xml: values in the body are escaped as it says")
	}
	b := body{escape: escape, constants: constants}
	from := 0
	for _, at := range placeholder.FindAllStringSubmatchIndex(written, -1) {
		b.texts = append(b.texts, written[from:at[0]])
		b.names = append(b.names, written[at[2]:at[3]])
		from = at[1]
	}
	b.texts = append(b.texts, written[from:])
	for _, needed := range []string{"{to}", "{text}"} {
		if !strings.Contains(written, needed) {
			return body{}, fmt.Errorf("body: %s is missing: write a body with {to} and {text}", needed)
		}
	}
	filled := b.fill(map[string]string{"to": "+491701234567", "from": "a", "text": "a\"<&\n", "id": "a"})
	if kind == "application/json" && !json.Valid(filled) {
		return body{}, errors.New(`body: this isn't JSON. Put quotes around values, as in {"to": "{to}", "text": "{text}"}`)
	}
	return b, nil
}

// fill returns a body with the values put in.
func (b body) fill(values map[string]string) []byte {
	var filled bytes.Buffer
	for i, name := range b.names {
		filled.WriteString(b.texts[i])
		value, varies := values[name]
		if !varies {
			value = b.constants[name]
		}
		filled.WriteString(b.escape(value))
	}
	filled.WriteString(b.texts[len(b.names)])
	return filled.Bytes()
}

// escapeJSON writes a value as it stands within a string of JSON.
func escapeJSON(value string) string {
	written, err := json.Marshal(value)
	if err != nil {
		panic(err) // strings can be written
	}
	return string(written[1 : len(written)-1])
}

// escapeXML writes a value as it stands in an element or an attribute.
func escapeXML(value string) string {
	var written bytes.Buffer
	if err := xml.EscapeText(&written, []byte(value)); err != nil {
		panic(err) // a buffer takes everything
	}
	return written.String()
}
