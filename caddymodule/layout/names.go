package layout

import (
	"regexp"
	"slices"
	"strings"

	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/rewrite"

	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
)

// usualIndexes are the names that apps give the index of a folder.
var usualIndexes = []string{"index.html", "index.htm", "index.txt", "index.php"}

// compressedEndings are those of the copies that file_server may serve, as files of
// their own too.
var compressedEndings = []string{".gz", ".br", ".zst"}

// FileNames are the names by which the sites of a server find files, besides what a
// request asks for.
type FileNames struct {
	// Indexes stand for their folder, such as index.html.
	Indexes []string
	// Endings are appended to a path, such as .html or .gz.
	Endings []string
	// Fallbacks are paths that are served for many others, such as /index.php.
	Fallbacks []string
}

// FileNamesOf returns what the file servers and the rewrites of a server say of names.
func FileNamesOf(server *caddyhttp.Server) FileNames {
	found := FileNames{Indexes: slices.Clone(usualIndexes), Fallbacks: fallbacks(server)}
	eachHandler(routesOf(server), func(handler caddyhttp.MiddlewareHandler) {
		switch h := handler.(type) {
		case *fileserver.FileServer:
			found.Indexes = append(found.Indexes, h.IndexNames...)
			found.Endings = append(found.Endings, compressedEndings...)
		case *rewrite.Rewrite:
			path, _, _ := strings.Cut(h.URI, "?")
			addTried(&found, path)
		}
	})
	eachRoute(routesOf(server), func(route caddyhttp.Route) {
		matching.Each(route.MatcherSets, func(matcher any) {
			switch m := matcher.(type) {
			case *fileserver.MatchFile:
				for _, tried := range m.TryFiles {
					addTried(&found, tried)
				}
			case *caddyhttp.MatchExpression:
				for _, tried := range triedInExpression.FindAllString(m.Expr, -1) {
					addTried(&found, tried)
				}
			}
		})
	})
	sortOut(&found.Indexes)
	sortOut(&found.Endings)
	return found
}

var (
	triedInExpression = regexp.MustCompile(`\{(http\.request\.uri\.)?path\}[^'"{}]+`)
	triedPath         = regexp.MustCompile(`^\{(?:http\.request\.uri\.)?path\}(/?)([^/{}]+)$`)
)

// addTried adds the index or the ending that a site appends to the path to find a
// file.
func addTried(to *FileNames, tried string) {
	parts := triedPath.FindStringSubmatch(tried)
	switch {
	case parts == nil:
	case parts[1] == "/":
		to.Indexes = append(to.Indexes, parts[2])
	default:
		to.Endings = append(to.Endings, parts[2])
	}
}

// fallbacks returns the files that the sites of a server serve for paths that say
// nothing of them.
func fallbacks(server *caddyhttp.Server) (files []string) {
	eachRoute(routesOf(server), func(route caddyhttp.Route) {
		matching.Each(route.MatcherSets, func(matcher any) {
			m, ok := matcher.(*fileserver.MatchFile)
			if !ok {
				return
			}
			for _, tried := range m.TryFiles {
				if path, _, _ := strings.Cut(tried, "?"); !strings.ContainsAny(path, "{*=") {
					files = append(files, "/"+strings.TrimPrefix(path, "/"))
				}
			}
		})
	})
	sortOut(&files)
	return files
}

// sortOut sorts names and keeps each once.
func sortOut(names *[]string) {
	slices.Sort(*names)
	*names = slices.Compact(*names)
}
