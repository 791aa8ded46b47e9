package templates

import (
	"bytes"
	"compress/gzip"
	"testing"
)

// heaviestAllowed is what a page may weigh over the wire, in bytes, with all that it
// loads.
const heaviestAllowed = 60 << 10

// TestWeight compresses each page and each of its files by itself, at the level
// at which Caddy's encode does.
func TestWeight(t *testing.T) {
	set := newSet(t)
	heaviest, name, plain := 0, "", 0
	for page, view := range fullViews() {
		for _, language := range set.Languages() {
			rendered := render(t, set, page, inLanguageOf(view, language.Tag))
			packed, whole := compressed(t, []byte(rendered)), len(rendered)
			for _, asset := range assetsOf(parsed(t, rendered), set) {
				packed += compressed(t, set.assets.files[asset])
				whole += len(set.assets.files[asset])
			}
			if packed >= heaviestAllowed {
				t.Errorf("%s in %s weighs %d bytes, %d uncompressed", page, language.Tag, packed, whole)
			}
			if packed > heaviest {
				heaviest, name, plain = packed, page+" in "+language.Tag, whole
			}
		}
	}
	t.Logf("the heaviest page is %s: %d bytes, %d uncompressed", name, heaviest, plain)
}

func compressed(t *testing.T, content []byte) int {
	t.Helper()
	var packed bytes.Buffer
	writer, err := gzip.NewWriterLevel(&packed, 5)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := writer.Write(content); err != nil {
		t.Fatal(err)
	}
	if err := writer.Close(); err != nil {
		t.Fatal(err)
	}
	return packed.Len()
}
