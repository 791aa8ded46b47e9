package harness

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
)

// leakyProxy tells what is in the address of a request at one level for each host, and
// keeps each level in a file.
var leakyProxy = func() string {
	global := ""
	for _, level := range []string{"DEBUG", "INFO", "WARN", "ERROR"} {
		global += fmt.Sprintf("\tlog at_%[1]s {\n\t\tlevel %[1]s\n\t\toutput file {{.Dir}}/%[1]s.log\n\t}\n", level)
	}
	sites := ""
	for host, does := range map[string]string{
		"debug": "reverse_proxy {{.Vars.app}}",
		"info":  "log\n\trespond ok",
		"warn":  "reverse_proxy {{.Vars.cut}}",
		"error": "reverse_proxy 127.0.0.1:1",
	} {
		sites += fmt.Sprintf("http://%s.localhost:{{.Port \"http\"}} {\n\t%s\n}\n", host, does)
	}
	return "{\n\tskip_install_trust\n" + global + "}\n" + sites
}()

// A secret is found in whichever level of a log it has got into.
func TestCanariesAreFoundAtEachLevel(t *testing.T) {
	app := NewRecorder(t)
	cut := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Length", "100")
		_, _ = w.Write([]byte("not all of it"))
	}))
	t.Cleanup(cut.Close)
	address := strings.TrimPrefix(cut.URL, "http://")
	found := runFake(t, func(fake *fakeTB) {
		s := Start(fake, Options{Caddyfile: leakyProxy, Vars: map[string]string{"app": app.Addr(), "cut": address}})
		for _, level := range []string{"debug", "info", "warn", "error"} {
			s.Canary("planted-at-" + level)
			raw := s.Raw("http").Send(Request1("GET", "/?q=planted-at-"+level, level+".localhost", "", "Connection: close"))
			if raw.Status == 0 {
				t.Errorf("no answer at %s", level)
			}
		}
	})
	for _, level := range []string{"debug", "info", "warn", "error"} {
		found.expectProblem(t, fmt.Sprintf("the file dir/%s.log holds the secret %q", strings.ToUpper(level), "planted-at-"+level))
	}
}
