package layout

import (
	"net"
	"net/netip"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/caddyserver/caddy/v2"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/fileserver"
	"github.com/caddyserver/caddy/v2/modules/caddyhttp/reverseproxy"

	"github.com/portcullis-mfa/portcullis/caddymodule/matching"
	"github.com/portcullis-mfa/portcullis/caddymodule/origin"
)

// source is where a handler has what it serves from, in one form.
type source struct {
	upstream string
	// folder is of files, in the file system of that name; empty: the machine's.
	folder, fileSystem string
}

func (s source) String() string {
	if s.upstream != "" {
		return s.upstream
	}
	return "the folder " + s.folder
}

// varies reports whether each host has a folder of its own, or each request.
func (s source) varies() bool { return strings.Contains(s.folder, "{") }

// overlaps reports whether one of two folders is within the other.
func (s source) overlaps(other source) bool {
	within := func(inner, outer string) bool {
		return filepath.IsAbs(inner) && filepath.IsAbs(outer) && strings.HasPrefix(inner+"/", strings.TrimSuffix(outer, "/")+"/")
	}
	return s.upstream == "" && other.upstream == "" && !s.varies() && !other.varies() && s.fileSystem == other.fileSystem &&
		(within(s.folder, other.folder) || within(other.folder, s.folder))
}

// sourcesOf returns where a handler that the requests for a host meet, and those
// within it, have what they serve from.
func (s *surveyedServer) sourcesOf(host string, index int) (found []source) {
	way := s.ways[host]
	eachReached(s.server, way[index].module, func(handler caddyhttp.MiddlewareHandler) {
		switch h := handler.(type) {
		case *reverseproxy.Handler:
			for _, upstream := range h.Upstreams {
				found = append(found, source{upstream: canonicalDial(upstream.Dial)})
			}
			if h.DynamicUpstreams != nil {
				found = append(found, source{upstream: caddy.GetModuleName(h.DynamicUpstreams) + " " + strings.TrimSpace(matching.Written(h.DynamicUpstreams))})
			}
		case *fileserver.FileServer:
			for _, folder := range rootsOf(h.Root, way[:index]) {
				found = append(found, source{folder: canonicalFolder(folder), fileSystem: h.FileSystem})
			}
		}
	})
	return found
}

// rootsOf returns the folders that a file server's root may stand for: mostly
// it is that which a handler before it has set.
func rootsOf(written string, before []step) []string {
	if written != "{http.vars.root}" {
		return []string{written}
	}
	var roots []string
	for _, met := range before {
		if variables, ok := met.module.(*caddyhttp.VarsMiddleware); ok {
			if root, ok := (*variables)["root"].(string); ok {
				roots = append(roots, root)
			}
		}
	}
	if roots == nil {
		return []string{"."}
	}
	return roots
}

// canonicalFolder follows links, where the folder exists. One that depends on
// the request stays as it is written.
func canonicalFolder(written string) string {
	folder := caddy.NewReplacer().ReplaceKnown(written, "")
	if strings.Contains(folder, "{") {
		return folder
	}
	if absolute, err := filepath.Abs(folder); err == nil {
		folder = absolute
	}
	if real, err := filepath.EvalSymlinks(folder); err == nil {
		folder = real
	}
	return folder
}

// canonicalDial gives all names of this machine one name.
func canonicalDial(dial string) string {
	dial = strings.ToLower(caddy.NewReplacer().ReplaceKnown(dial, ""))
	address, err := caddy.ParseNetworkAddress(dial)
	if err != nil || address.IsUnixNetwork() || address.IsFdNetwork() {
		return dial
	}
	ip, err := netip.ParseAddr(address.Host)
	if err == nil && (ip.IsLoopback() || ip.IsUnspecified()) || address.Host == "" || origin.IsLocalhost(address.Host) {
		address.Host = "localhost"
	}
	return net.JoinHostPort(address.Host, strconv.FormatUint(uint64(address.StartPort), 10))
}
