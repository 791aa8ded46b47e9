package authenticator

import (
	"encoding/json"
	"io"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/portcullis-mfa/portcullis/templates"
)

func newApp(t *testing.T) *App {
	t.Helper()
	pages, err := templates.New(templates.Options{Accent: "#aa3300"})
	if err != nil {
		t.Fatal(err)
	}
	api := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusTeapot) })
	app, err := NewApp(AppSettings{Pages: pages, API: api, Brand: "Example <Corp>", Contact: "the help desk", Secure: true})
	if err != nil {
		t.Fatal(err)
	}
	return app
}

func get(app *App, method, path string, header http.Header) *http.Response {
	r := httptest.NewRequest(method, "https://phone.example.com"+path, nil)
	if header != nil {
		r.Header = header
	}
	w := httptest.NewRecorder()
	app.ServeHTTP(w, r)
	return w.Result()
}

func body(t *testing.T, answer *http.Response) string {
	t.Helper()
	content, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return string(content)
}

// kept are the files of the release, as the worker names them.
func kept(t *testing.T, app *App) []string {
	t.Helper()
	line, _, _ := strings.Cut(body(t, get(app, http.MethodGet, workerPath, nil)), "\n")
	var release struct{ Files []string }
	if err := json.Unmarshal([]byte(strings.TrimSuffix(strings.TrimPrefix(line, "const release = "), ";")), &release); err != nil {
		t.Fatalf("the worker begins with %s: %v", line, err)
	}
	return release.Files
}

func TestEverythingIsServed(t *testing.T) {
	app := newApp(t)
	files := kept(t, app)
	for _, needed := range []string{"/", "/app/main.js", "/app/style.css", "/app/accent.css", "/texts/de.json", "/icons/192.png", "/icons/512.png", "/icons/maskable.png", manifestPath} {
		if !slices.Contains(files, needed) {
			t.Errorf("the worker doesn't keep %s", needed)
		}
	}
	for _, path := range append(files, workerPath) {
		answer := get(app, http.MethodGet, path, nil)
		if answer.StatusCode != http.StatusOK || answer.Header.Get("Cache-Control") != "no-cache" || answer.Header.Get("ETag") == "" {
			t.Errorf("%s: %d %v", path, answer.StatusCode, answer.Header)
		}
		again := get(app, http.MethodGet, path, http.Header{"If-None-Match": {answer.Header.Get("ETag")}})
		if again.StatusCode != http.StatusNotModified {
			t.Errorf("%s: %d to somebody who has it", path, again.StatusCode)
		}
	}
}

func TestEveryAnswerIsProtected(t *testing.T) {
	app := newApp(t)
	for _, path := range append(kept(t, app), workerPath, "/api/nonce", "/nothing") {
		answer := get(app, http.MethodGet, path, nil)
		for name, want := range map[string]string{
			"Content-Security-Policy":   policy,
			"X-Content-Type-Options":    "nosniff",
			"Referrer-Policy":           "no-referrer",
			"X-Frame-Options":           "DENY",
			"Strict-Transport-Security": "max-age=31536000",
		} {
			if got := answer.Header.Get(name); got != want {
				t.Errorf("%s: %s is %q", path, name, got)
			}
		}
		if answer.Header.Get("Set-Cookie") != "" {
			t.Errorf("%s sets a cookie", path)
		}
	}
	for _, forbidden := range []string{"unsafe", "*", "data:", "blob:", "http"} {
		if strings.Contains(policy, forbidden) {
			t.Errorf("the policy allows %s", forbidden)
		}
	}
}

func TestWhatIsAnswered(t *testing.T) {
	app := newApp(t)
	for _, tt := range []struct {
		method, path string
		want         int
	}{
		{"GET", "/nothing", 404}, {"GET", "/app/", 404}, {"GET", "/index.html", 404}, {"GET", "/app/qr/LICENSE", 404},
		{"GET", "/../app.go", 404}, {"POST", "/app/main.js", 405}, {"POST", "/", 404}, {"POST", "/api/pair", 418},
	} {
		if answer := get(app, tt.method, tt.path, nil); answer.StatusCode != tt.want && !(tt.want == 404 && answer.StatusCode == 307) {
			t.Errorf("%s %s: %d, want %d", tt.method, tt.path, answer.StatusCode, tt.want)
		}
	}
}

func TestW02BrandIsText(t *testing.T) {
	page := body(t, get(newApp(t), http.MethodGet, "/", nil))
	if strings.Contains(page, "<Corp>") || !strings.Contains(page, "Example &lt;Corp&gt;") {
		t.Errorf("the page is %s", page)
	}
}

func TestLanguages(t *testing.T) {
	app := newApp(t)
	for accepted, want := range map[string]string{"de-AT,en;q=0.5": `lang="de"`, "fr": `lang="en"`, "": `lang="en"`} {
		answer := get(app, http.MethodGet, "/", http.Header{"Accept-Language": {accepted}})
		if page := body(t, answer); !strings.Contains(page, want) || answer.Header.Get("Vary") != "Accept-Language" {
			t.Errorf("%q gets %s", accepted, page)
		}
	}
}

var (
	quoted    = regexp.MustCompile("[\"`]([a-z_.]+(?:\\$\\{\\w+\\})?[a-z_.]*)[\"`]")
	variables = regexp.MustCompile(`\$\{\w+\}`)
)

// TestScriptsAndTextsAgree wants every text that the scripts name, and every text named
// by a script or the page.
func TestScriptsAndTextsAgree(t *testing.T) {
	pages, err := templates.New(templates.Options{})
	if err != nil {
		t.Fatal(err)
	}
	texts := pages.Texts("en", "authenticator.")
	used := map[string]bool{"scripts": true, "help": true}
	err = fs.WalkDir(embedded, "files/app", func(name string, entry fs.DirEntry, err error) error {
		if err != nil || !strings.HasSuffix(name, ".js") || strings.Contains(name, "/qr/") {
			return err
		}
		content, err := embedded.ReadFile(name)
		for _, call := range quoted.FindAllStringSubmatch(string(content), -1) {
			if !strings.Contains(call[1], ".") || strings.HasSuffix(call[1], ".js") || strings.HasPrefix(call[1], ".") {
				continue
			}
			pattern := regexp.MustCompile("^" + strings.ReplaceAll(regexp.QuoteMeta(variables.ReplaceAllString(call[1], "ANY")), "ANY", "[a-z]+") + "$")
			found := false
			for key := range texts {
				if pattern.MatchString(key) {
					used[key], found = true, true
				}
			}
			if !found {
				t.Errorf("%s names the text %q, which isn't there", name, call[1])
			}
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	for key := range texts {
		if !used[key] {
			t.Errorf("nothing uses the text %q", key)
		}
	}
}

func TestReleaseChangesWithItsFiles(t *testing.T) {
	one, other := newApp(t), newApp(t)
	other.files["/app/main.js"] = newFile("text/javascript", []byte("changed"))
	for _, app := range []*App{one, other} {
		delete(app.files, workerPath)
		if err := app.addWorker([]byte("worker")); err != nil {
			t.Fatal(err)
		}
	}
	if one.files[workerPath].etag == other.files[workerPath].etag {
		t.Error("the worker stays as it was, so browsers would keep the old files")
	}
}
