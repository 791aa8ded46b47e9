package templates

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"net/http"
	"path"
	"slices"
	"time"
)

// contentTypes are the kinds of file that are served, by extension.
var contentTypes = map[string]string{
	".css": "text/css; charset=utf-8",
	".js":  "text/javascript; charset=utf-8",
	".svg": "image/svg+xml",
}

// assets is the files that pages refer to, and the digest of them all.
type assets struct {
	digest string
	files  map[string][]byte
}

func loadAssets(files fs.FS) (assets, error) {
	names, err := fs.Glob(files, "assets/*")
	if err != nil {
		return assets{}, fmt.Errorf("listing the assets: %w", err)
	}
	slices.Sort(names)
	loaded := assets{files: make(map[string][]byte, len(names))}
	whole := sha256.New()
	for _, name := range names {
		if contentTypes[path.Ext(name)] == "" {
			return assets{}, fmt.Errorf("loading %s: only .css, .js and .svg files are served", name)
		}
		content, err := fs.ReadFile(files, name)
		if err != nil {
			return assets{}, fmt.Errorf("loading %s: %w", name, err)
		}
		// The length keeps apart what one file ends with and the next begins with.
		fmt.Fprintf(whole, "%s %d\n%s", name, len(content), content)
		loaded.files[path.Base(name)] = content
	}
	loaded.digest = hex.EncodeToString(whole.Sum(nil)[:12])
	return loaded, nil
}

// AssetPath is the path, without slashes at its ends, under which the assets
// are to be served: it holds a digest over all of them, so that what a browser
// keeps under it never grows old. [Frame.Assets] is this path behind whatever
// it is mounted on: "/" at the portal, "/.mfa/" at an app's host.
func (s *Set) AssetPath() string {
	return "assets/" + s.assets.digest
}

// ServeAsset answers a GET or HEAD with the asset of that name, which is what
// follows [Set.AssetPath] and a slash in the request's path. The answer may be
// kept by browsers and shared caches for a year. An unknown name gets 404.
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
	header.Set("Cache-Control", "public, max-age=31536000, immutable")
	header.Set("ETag", `"`+s.assets.digest+`"`)
	http.ServeContent(w, r, name, time.Time{}, bytes.NewReader(content))
}
