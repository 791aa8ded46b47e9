package templates

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"net/http"
	"path"
	"slices"
	"time"
)

// contentTypes are the kinds of file that are served, by extension.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".png": "image/png",
	".svg": "image/svg+xml",
}

// assets is the files that pages refer to, and the digest of them all.
type assets struct {
	digest string
	files  map[string][]byte
}

func loadAssets(from sources, b brand) (assets, error) {
	loaded := assets{files: maps.Clone(b.files)}
	for _, name := range from.glob("assets/*") {
		if contentTypes[path.Ext(name)] == "" {
			return assets{}, fmt.Errorf("loading %s: only .css, .js, .png and .svg files are served", name)
		}
		content, err := from.read(name)
		if err != nil {
			return assets{}, fmt.Errorf("loading %s: %w", from.place(name), err)
		}
		loaded.files[path.Base(name)] = content
	}
	whole := sha256.New()
	for _, name := range slices.Sorted(maps.Keys(loaded.files)) {
		content := loaded.files[name]
		// The length keeps apart what one file ends with and the next begins with.
		fmt.Fprintf(whole, "%s %d\n%s", name, len(content), content)
	}
	loaded.digest = hex.EncodeToString(whole.Sum(nil)[:12])
	return loaded, nil
}

// Accent returns the style sheet that sets the operator's accent colour; nil: there
// is none.
func (s *Set) Accent() []byte { return s.assets.files["brand.css"] }

// AssetPath is the path, without slashes at its ends, under which the assets
// are to be served: it holds a digest over all of them, so that what a browser
// keeps under it never grows old. [Frame.Assets] is this path behind whatever
// it is mounted on: "/" at the portal, "/.mfa/" at an app's host.
func (s *Set) AssetPath() string {
	return "assets/" + s.assets.digest
}

// ServeAsset answers a GET or HEAD with the asset of that name, which is what
// follows [Set.AssetPath] and a slash in the request's path. The answer may be
// kept by browsers and shared caches for a year, unless w has another
// Cache-Control already. An unknown name gets 404.
func (s *Set) ServeAsset(w http.ResponseWriter, r *http.Request, name string) {
	content, found := s.assets.files[name]
	if !found {
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "Only GET and HEAD are answered here.", http.StatusMethodNotAllowed)
		return
	}
	header := w.Header()
	header.Set("Content-Type", contentTypes[path.Ext(name)])
	header.Set("X-Content-Type-Options", "nosniff")
	if path.Ext(name) == ".svg" {
		// Opened by itself it is a document, and nothing in it is to run.
		header.Set("Content-Security-Policy", "default-src 'none'; style-src 'unsafe-inline'; img-src data:; sandbox")
	}
	if header.Get("Cache-Control") == "" {
		header.Set("Cache-Control", "public, max-age=31536000, immutable")
	}
	header.Set("ETag", `"`+s.assets.digest+`"`)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
}
