package authenticator

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"html/template"
	"io/fs"
	"maps"
	"net/http"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/upload"
)

//go:embed files
var embedded embed.FS

// Pages has the texts of the app, and the operator's brand.
type Pages interface {
	// Texts returns the texts of a language whose keys begin with a table's name.
	Texts(language, table string) map[string]string
	Languages() []templates.Language
	// Match picks a language out of Accept-Language headers.
	Match(preferred ...string) string
	// Accent returns the style sheet that sets the operator's accent colour; nil:
	// there is none.
	Accent() []byte
}

// AppSettings are what an App is made of. All fields are needed, unless they say
// otherwise.
type AppSettings struct {
	Pages Pages
	// API answers what is below /api/.
	API http.Handler
	// Brand is the operator's name, which the phone shows below the app's icon.
	Brand string
	// Contact is who to ask for help; empty: nobody is named.
	Contact string
	// Secure says that the app is served over HTTPS.
	Secure bool
}

// App serves the phone's app: one page, its scripts, and the API. It sets no
// cookies and has no forms. It is safe for concurrent use.
type App struct {
	AppSettings
	routes http.Handler
	// shells are the app's page, by language.
	shells map[string]file
	// files are everything else, by path.
	files map[string]file
}

// file is what is served at a path.
type file struct {
	contentType string
	content     []byte
	etag        string
}

func newFile(contentType string, content []byte) file {
	digest := sha256.Sum256(content)
	return file{contentType, content, `"` + hex.EncodeToString(digest[:12]) + `"`}
}

// contentTypes are the kinds of file that are served, by extension.
var contentTypes = map[string]string{
	".css":  "text/css; charset=utf-8",
	".js":   "text/javascript; charset=utf-8",
	".png":  "image/png",
	".svg":  "image/svg+xml",
	".html": "text/html; charset=utf-8",
}

const (
	workerPath   = "/sw.js"
	manifestPath = "/manifest.webmanifest"
	accentPath   = "/app/accent.css"
)

// NewApp returns an App. It fails if the embedded files don't fit together.
func NewApp(s AppSettings) (*App, error) {
	a := &App{AppSettings: s, shells: make(map[string]file), files: make(map[string]file)}
	if err := a.loadFiles(); err != nil {
		return nil, fmt.Errorf("loading the authenticator: %w", err)
	}
	mux := http.NewServeMux()
	mux.Handle("/api/", s.API)
	mux.HandleFunc("GET /{$}", a.serveShell)
	mux.HandleFunc("/", a.serveFile)
	a.routes = mux
	return a, nil
}

// ServeHTTP answers every request to the authenticator's host.
func (a *App) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.protect(w.Header())
	a.routes.ServeHTTP(w, r)
}

// policy lets the app load and reach its own host and nothing else. A worker goes
// by the policy of its own response, so everything is served with it.
const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
	"manifest-src 'self'; worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"

func (a *App) protect(h http.Header) {
	h.Set("Content-Security-Policy", policy)
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("Referrer-Policy", "no-referrer")
	h.Set("Cross-Origin-Opener-Policy", "same-origin")
	h.Set("Cross-Origin-Resource-Policy", "same-origin")
	h.Set("Permissions-Policy", "camera=(self), geolocation=(), microphone=(), payment=(), usb=()")
	h.Set("X-Frame-Options", "DENY")
	if a.Secure {
		h.Set("Strict-Transport-Security", "max-age=31536000")
	}
}

func (a *App) serveShell(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Vary", "Accept-Language")
	a.serve(w, r, a.shells[a.Pages.Match(r.Header.Values("Accept-Language")...)])
}

func (a *App) serveFile(w http.ResponseWriter, r *http.Request) {
	found, there := a.files[r.URL.Path]
	if !there {
		upload.Ignore(w, r)
		w.Header().Set("Cache-Control", "no-store")
		http.NotFound(w, r)
		return
	}
	if r.Method != http.MethodGet && r.Method != http.MethodHead {
		upload.Ignore(w, r)
		w.Header().Set("Allow", "GET, HEAD")
		http.Error(w, "Only GET and HEAD are answered here.", http.StatusMethodNotAllowed)
		return
	}
	a.serve(w, r, found)
}

// serve answers with a file. Browsers ask each time whether it is still current:
// the worker keeps what belongs together.
func (a *App) serve(w http.ResponseWriter, r *http.Request, f file) {
	upload.Ignore(w, r)
	w.Header().Set("Content-Type", f.contentType)
	w.Header().Set("Cache-Control", "no-cache")
	w.Header().Set("ETag", f.etag)
	http.ServeContent(w, r, "", time.Time{}, bytes.NewReader(f.content))
}

// loadFiles fills shells and files.
func (a *App) loadFiles() error {
	var shell, worker []byte
	err := fs.WalkDir(embedded, "files", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || entry.IsDir() {
			return err
		}
		content, err := embedded.ReadFile(name)
		switch place := strings.TrimPrefix(name, "files"); {
		case err != nil:
		case place == "/index.html":
			shell = content
		case place == workerPath:
			worker = content
		case contentTypes[path.Ext(place)] != "":
			a.files[place] = newFile(contentTypes[path.Ext(place)], content)
		}
		return err
	})
	if err != nil {
		return err
	}
	a.files[accentPath] = newFile(contentTypes[".css"], a.Pages.Accent())
	if err := a.addTexts(shell); err != nil {
		return err
	}
	return a.addWorker(worker)
}

// addTexts adds what differs from language to language, and the manifest.
func (a *App) addTexts(shell []byte) error {
	parsed, err := template.New("index.html").Parse(string(shell))
	if err != nil {
		return err
	}
	for _, language := range a.Pages.Languages() {
		texts := a.Pages.Texts(language.Tag, "authenticator.")
		var page bytes.Buffer
		if err := parsed.Execute(&page, map[string]any{
			"Language": language.Tag, "Brand": a.Brand, "Contact": a.Contact, "Texts": texts,
		}); err != nil {
			return err
		}
		a.shells[language.Tag] = newFile(contentTypes[".html"], page.Bytes())
		if err := a.addJSON(textsPath(language.Tag), "application/json", texts); err != nil {
			return err
		}
	}
	return a.addJSON(manifestPath, "application/manifest+json", manifestOf(a.Brand))
}

func textsPath(language string) string { return "/texts/" + language + ".json" }

func (a *App) addJSON(place, contentType string, value any) error {
	content, err := json.Marshal(value)
	if err == nil {
		a.files[place] = newFile(contentType, content)
	}
	return err
}

// addWorker adds the service worker, which begins with the app's name, the names of
// the files that it keeps, and a digest over them: when one of them changes, so does the worker,
// and browsers take the new release as a whole.
func (a *App) addWorker(worker []byte) error {
	whole := sha256.New()
	kept := slices.Sorted(maps.Keys(a.files))
	for _, name := range kept {
		fmt.Fprintln(whole, name, a.files[name].etag)
	}
	for _, language := range slices.Sorted(maps.Keys(a.shells)) {
		fmt.Fprintln(whole, language, a.shells[language].etag)
	}
	release, err := json.Marshal(map[string]any{
		"name": a.Brand, "version": hex.EncodeToString(whole.Sum(nil)[:12]), "files": append([]string{"/"}, kept...),
	})
	if err != nil {
		return err
	}
	a.files[workerPath] = newFile(contentTypes[".js"], fmt.Appendf(nil, "const release = %s;\n%s", release, worker))
	return nil
}

// manifestOf describes the app to phones that install it (W3C Web Application
// Manifest).
func manifestOf(brand string) any {
	type icon struct {
		Source  string `json:"src"`
		Sizes   string `json:"sizes"`
		Type    string `json:"type"`
		Purpose string `json:"purpose,omitempty"`
	}
	return struct {
		ID         string   `json:"id"`
		Name       string   `json:"name"`
		ShortName  string   `json:"short_name"`
		Start      string   `json:"start_url"`
		Scope      string   `json:"scope"`
		Display    string   `json:"display"`
		Ground     string   `json:"background_color"`
		Theme      string   `json:"theme_color"`
		Icons      []icon   `json:"icons"`
		Categories []string `json:"categories"`
	}{
		ID: "/", Name: brand, ShortName: brand, Start: "/", Scope: "/", Display: "standalone",
		Ground: "#f2f4f7", Theme: "#1c5dbf", Categories: []string{"security"},
		Icons: []icon{
			{Source: "/icons/192.png", Sizes: "192x192", Type: "image/png"},
			{Source: "/icons/512.png", Sizes: "512x512", Type: "image/png"},
			{Source: "/icons/maskable.png", Sizes: "512x512", Type: "image/png", Purpose: "maskable"},
		},
	}
}
