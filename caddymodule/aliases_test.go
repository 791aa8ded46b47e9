package caddymodule

import (
	"fmt"
	"testing"

	"github.com/portcullis-mfa/portcullis/caddymodule/layout"
)

// TestAliasesOfSites finds what a site says of other paths to its files.
func TestAliasesOfSites(t *testing.T) {
	const usual = "[index.htm index.html index.php index.txt]"
	for site, want := range map[string]string{
		"reverse_proxy localhost:3000":                                 usual + " [] []",
		"file_server":                                                  usual + " [.br .gz .zst] []",
		"file_server {\nindex home.html\n}":                            "[home.html index.htm index.html index.php index.txt] [.br .gz .zst] []",
		"try_files {path} {path}/start.html /app.html\nrespond x":      "[index.htm index.html index.php index.txt start.html] [] []",
		"try_files {path}.html {path}.php?{query}\nrespond x":          usual + " [.html .php] []",
		"php_fastcgi localhost:9000 {\nindex main.php\n}":              "[index.htm index.html index.php index.txt main.php] [] [/main.php]",
		"@page file {path}.xhtml\nrewrite @page {path}.xhtml":          usual + " [.xhtml] []",
		"@page expression file('{path}.page')\nrewrite @page {path}.p": usual + " [.p .page] []",
		"rewrite * /app{path}\nrespond x":                              usual + " [] []",
	} {
		raw, err := adapt(withPortal("wiki.example.com {\nmfa\n" + site + "\n}\n"))
		if err != nil {
			t.Fatal(err)
		}
		err = provisioned(t, raw, func(app *App) error {
			if _, err := app.arrange(); err != nil {
				return err
			}
			if found := aliasesOf(layout.FileNamesOf(app.gates[0].server)); fmt.Sprint(found.Indexes, found.Endings, found.Fronts) != want {
				t.Errorf("%s: %v", site, found)
			}
			return nil
		})
		if err != nil {
			t.Errorf("%s: %v", site, err)
		}
	}
}
