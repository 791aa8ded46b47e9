package layout

import (
	"cmp"
	"net"
	"net/netip"
	"path/filepath"
	"reflect"
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
			for _, upstream := range lookedUp(h.DynamicUpstreams) {
				found = append(found, source{upstream: upstream})
			}
		case *fileserver.FileServer:
			for _, folder := range variableBefore(h.Root, "root", ".", way[:index]) {
				for _, fileSystem := range variableBefore(h.FileSystem, "fs", "", way[:index]) {
					found = append(found, source{folder: canonicalFolder(folder), fileSystem: fileSystem})
				}
			}
		}
	})
	return found
}

// variableBefore returns what a setting may stand for: mostly it is a variable that a
// handler before it has set.
func variableBefore(written, variable, absent string, before []step) []string {
	if written != "{http.vars."+variable+"}" {
		return []string{written}
	}
	var values []string
	for _, met := range before {
		if variables, ok := met.module.(*caddyhttp.VarsMiddleware); ok {
			if value, ok := (*variables)[variable].(string); ok {
				values = append(values, value)
			}
		}
	}
	if values == nil {
		return []string{absent}
	}
	return values
}

// lookedUp returns the upstreams that a proxy looks up, each in one form whatever the
// settings of the lookup. Those of an A record are what a static upstream of that name
// would be.
func lookedUp(dynamic reverseproxy.UpstreamSource) []string {
	if dynamic == nil {
		return nil
	}
	if known := lookedUpBy(reflect.ValueOf(dynamic)); known != nil {
		return known
	}
	return []string{caddy.GetModuleName(dynamic) + " " + strings.TrimSpace(matching.Written(dynamic))}
}

var (
	byAddress = reflect.TypeFor[reverseproxy.AUpstreams]()
	byService = reflect.TypeFor[reverseproxy.SRVUpstreams]()
	bySeveral = reflect.TypeFor[reverseproxy.MultiUpstreams]()
)

// lookedUpBy is lookedUp for a source of Caddy's own; nil: it is another. Caddy keeps
// the sources of several to itself, so they are only looked at by reflection.
func lookedUpBy(dynamic reflect.Value) (upstreams []string) {
	for dynamic.Kind() == reflect.Pointer || dynamic.Kind() == reflect.Interface {
		dynamic = dynamic.Elem()
	}
	if !dynamic.IsValid() {
		return nil
	}
	field := func(name string) string { return dynamic.FieldByName(name).String() }
	switch dynamic.Type() {
	case byAddress:
		return []string{canonicalDial(net.JoinHostPort(field("Name"), cmp.Or(field("Port"), "80")))}
	case byService:
		name := field("Name")
		if service, proto := field("Service"), field("Proto"); service != "" || proto != "" {
			name = "_" + service + "._" + proto + "." + name
		}
		return []string{"srv " + strings.ToLower(caddy.NewReplacer().ReplaceKnown(name, ""))}
	case bySeveral:
		sources := dynamic.FieldByName("sources")
		if !sources.IsValid() || sources.Kind() != reflect.Slice {
			return nil
		}
		for i := range sources.Len() {
			upstreams = append(upstreams, lookedUpBy(sources.Index(i))...)
		}
	}
	return upstreams
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
