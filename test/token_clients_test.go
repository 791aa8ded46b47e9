package test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/net/webdav"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// clientsCaddyfile puts what programs use behind gates. The calendar is at a name that
// Python looks up as well.
const clientsCaddyfile = `
{
	mfa {
		portal http://login.localhost:{{.Port "web"}}
		admins group admins
	}
}

http://login.localhost:{{.Port "web"}} {
	mfa_portal
}

http://git.localhost:{{.Port "web"}}, http://dav.localhost:{{.Port "web"}}, http://backup.localhost:{{.Port "web"}}, http://registry.localhost:{{.Port "web"}} {
	log
	mfa {
		tokens service
		allow group machines
		basic on
	}
	@git host git.localhost
	reverse_proxy @git {{.Vars.git}}
	@dav host dav.localhost
	reverse_proxy @dav {{.Vars.dav}}
	@backup host backup.localhost
	reverse_proxy @backup 127.0.0.1:{{.Port "backup"}}
	reverse_proxy 127.0.0.1:{{.Port "registry"}}
}

http://localhost:{{.Port "calendar"}} {
	log
	mfa {
		tokens personal
		basic on
		headers {
			user X-Remote-User
		}
	}
	reverse_proxy 127.0.0.1:{{.Port "radicale"}}
}

http://metrics.localhost:{{.Port "web"}} {
	log
	mfa {
		tokens service
	}
	reverse_proxy {{.Vars.app}}
}
`

// clients is a server with such apps, and a folder for what clients keep.
type clients struct {
	tokens
	folder string
	git    string // the folder of the git server's repositories
	files  webdav.FileSystem
	ci     string // a service's token
	phone  string // bob's app password for the calendar
}

// A01: programs that know nothing of us get in with a token that they keep as a
// password.
func TestA01ClientsOfOthers(t *testing.T) {
	t.Parallel()
	c := startClients(t)
	for _, tt := range []struct {
		name  string
		needs []string
		run   func(*testing.T, *clients)
	}{
		{"git", []string{"git"}, gitPushes},
		{"cadaver", []string{"cadaver"}, cadaverMoves},
		{"rclone", []string{"rclone"}, rcloneSyncs},
		{"restic", []string{"restic", "rclone"}, resticBacksUp},
		{"registry", []string{"skopeo", "docker-registry"}, skopeoPushes},
		{"calendar", []string{"vdirsyncer", "radicale"}, vdirsyncerSyncs},
		{"Prometheus", []string{"prometheus"}, prometheusScrapes},
	} {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			harness.Need(t, tt.needs...)
			tt.run(t, c)
		})
	}
}

func startClients(t *testing.T) *clients {
	t.Helper()
	c := &clients{folder: t.TempDir(), git: t.TempDir(), files: webdav.NewMemFS()}
	executables, err := exec.Command("git", "--exec-path").Output()
	if err != nil {
		t.Fatal(err)
	}
	gitServer := httptest.NewServer(&cgi.Handler{
		Path: filepath.Join(strings.TrimSpace(string(executables)), "git-http-backend"),
		Env:  []string{"GIT_PROJECT_ROOT=" + c.git, "GIT_HTTP_EXPORT_ALL=1"},
	})
	t.Cleanup(gitServer.Close)
	davServer := httptest.NewServer(&webdav.Handler{FileSystem: c.files, LockSystem: webdav.NewMemLS()})
	t.Cleanup(davServer.Close)
	c.tokens = tokens{scene.Start(t, scene.Options{Settled: 2, Caddyfile: clientsCaddyfile, Vars: map[string]string{
		"git": gitServer.Listener.Addr().String(), "dav": davServer.Listener.Addr().String(),
	}}), t}
	c.ci = c.create("ci", "--group", "machines", "--host", "git.localhost", "--host", "dav.localhost", "--host", "backup.localhost", "--host", "registry.localhost")
	// It takes a fresh second factor. What waits for its turn may come too late for that.
	c.phone = c.createAppPassword(c.Invited("bob"), "localhost", "Phone")
	return c
}

// command is a client. Few look up names below localhost, so the server is their proxy.
func (c *clients) command(ctx context.Context, program string, arguments ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, program, arguments...)
	proxy := "http://" + c.Addr("web")
	cmd.Dir = c.folder
	cmd.Env = append(os.Environ(), "HOME="+c.folder, "XDG_CONFIG_HOME="+c.folder, "XDG_CACHE_HOME="+c.folder,
		"http_proxy="+proxy, "https_proxy="+proxy, "no_proxy=", "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0")
	return cmd
}

// run runs a client to its end, with the token or anything else on standard input.
func (c *clients) run(t *testing.T, input, program string, arguments ...string) string {
	t.Helper()
	cmd := c.command(t.Context(), program, arguments...)
	cmd.Stdin = strings.NewReader(input)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("%s %q: %v\n%s", program, arguments, err, out)
	}
	return string(out)
}

// serve runs a server until the test ends, and waits until it can be reached.
func (c *clients) serve(t *testing.T, address, program string, arguments ...string) {
	t.Helper()
	cmd := c.command(t.Context(), program, arguments...)
	var said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &said, &said
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = cmd.Wait() // its context has ended it
		if t.Failed() {
			t.Logf("%s said:\n%s", program, said.Bytes())
		}
	})
	harness.Eventually(t, patience, program+" to listen", func() bool {
		connection, err := net.Dial("tcp", address)
		if err != nil {
			return false
		}
		return connection.Close() == nil
	})
}

// write writes a file for a client, and returns its path.
func (c *clients) write(t *testing.T, name, content string) string {
	t.Helper()
	path := filepath.Join(c.folder, name)
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// withToken is an address that holds the token.
func (c *clients) withToken(address string) string {
	return strings.Replace(address, "://", "://ci:"+c.ci+"@", 1)
}

// holds wants a file of the WebDAV server to be of a size.
func (c *clients) holds(t *testing.T, path string, size int) {
	t.Helper()
	if found, err := c.files.Stat(t.Context(), path); err != nil || found.Size() != int64(size) {
		t.Errorf("%s: %v", path, err)
	}
}

func gitPushes(t *testing.T, c *clients) {
	git := func(arguments ...string) {
		t.Helper()
		c.run(t, "", "git", append([]string{"-c", "credential.helper=store", "-c", "user.name=ci", "-c", "user.email=ci@example.com"}, arguments...)...)
	}
	bare := filepath.Join(c.git, "app.git")
	git("init", "-q", "--bare", bare)
	git("-C", bare, "config", "http.receivepack", "true")
	c.write(t, ".git-credentials", c.withToken(c.At("git", ""))+"\n")
	git("clone", "-q", c.At("git", "/app.git"), "work")
	git("-C", "work", "commit", "-q", "--allow-empty", "-m", "one")
	git("-C", "work", "push", "-q", "origin", "HEAD:refs/heads/main")
	git("clone", "-q", "-b", "main", c.At("git", "/app.git"), "again")
}

func cadaverMoves(t *testing.T, c *clients) {
	c.write(t, ".netrc", "machine dav.localhost login ci password "+c.ci+"\n")
	c.write(t, "notes.txt", "by cadaver")
	c.run(t, "put notes.txt\nmkcol a\nmove notes.txt a/notes.txt\nls a\nquit\n", "cadaver", "-p", c.Addr("web"), c.At("dav", "/"))
	c.holds(t, "/a/notes.txt", len("by cadaver"))
}

func rcloneSyncs(t *testing.T, c *clients) {
	hidden := strings.TrimSpace(c.run(t, c.ci, "rclone", "obscure", "-"))
	config := c.write(t, "rclone.conf", fmt.Sprintf("[dav]\ntype = webdav\nvendor = other\nurl = %s\nuser = ci\npass = %s\n", c.At("dav", ""), hidden))
	rclone := func(arguments ...string) {
		c.run(t, "", "rclone", append([]string{"--config", config}, arguments...)...)
	}
	c.write(t, "photos/summer/1.jpg", "by rclone")
	rclone("sync", "photos", "dav:photos")
	c.holds(t, "/photos/summer/1.jpg", len("by rclone"))
	rclone("moveto", "dav:photos/summer/1.jpg", "dav:photos/2.jpg")
	rclone("check", "--download", "--one-way", "photos/summer", "dav:photos", "--exclude", "1.jpg")
	rclone("delete", "dav:photos")
	if _, err := c.files.Stat(t.Context(), "/photos/2.jpg"); !os.IsNotExist(err) {
		t.Errorf("deleted, a file is still there: %v", err)
	}
}

// resticBacksUp uses rclone as the server, which speaks the protocol of rest-server.
func resticBacksUp(t *testing.T, c *clients) {
	c.serve(t, c.Addr("backup"), "rclone", "serve", "restic", "--addr", c.Addr("backup"), filepath.Join(c.folder, "repository"))
	restic := func(arguments ...string) {
		t.Helper()
		cmd := c.command(t.Context(), "restic", arguments...)
		cmd.Env = append(cmd.Env, "RESTIC_REPOSITORY=rest:"+c.withToken(c.At("backup", "/")), "RESTIC_PASSWORD=not our business")
		if out, err := cmd.CombinedOutput(); err != nil {
			t.Fatalf("restic %q: %v\n%s", arguments, err, out)
		}
	}
	c.write(t, "documents/letter.txt", "by restic")
	restic("init")
	restic("backup", "documents")
	restic("check")
	restic("restore", "latest", "--target", filepath.Join(c.folder, "restored"))
	restic("forget", "--prune", "--keep-last", "1")
	found := c.run(t, "", "find", "restored", "-name", "letter.txt", "-exec", "cat", "{}", ";")
	if found != "by restic" {
		t.Errorf("restic restored %q", found)
	}
}

// skopeoPushes signs in at a registry, pushes an image and pulls it.
func skopeoPushes(t *testing.T, c *clients) {
	config := c.write(t, "registry.yml", fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %s}}\nhttp: {addr: %s}\n", filepath.Join(c.folder, "images"), c.Addr("registry")))
	c.serve(t, c.Addr("registry"), "docker-registry", "serve", config)
	blob := func(content string) (digest string) {
		digest = fmt.Sprintf("%x", sha256.Sum256([]byte(content)))
		c.write(t, "image/"+digest, content)
		return digest
	}
	const layer = "by skopeo"
	const settings = `{"architecture":"amd64","os":"linux","rootfs":{"type":"layers","diff_ids":[]},"config":{}}`
	c.write(t, "image/version", "Directory Transport Version: 1.1\n")
	c.write(t, "image/manifest.json", fmt.Sprintf(`{"schemaVersion":2,"mediaType":"application/vnd.oci.image.manifest.v1+json",
		"config":{"mediaType":"application/vnd.oci.image.config.v1+json","digest":"sha256:%s","size":%d},
		"layers":[{"mediaType":"application/vnd.oci.image.layer.v1.tar","digest":"sha256:%s","size":%d}]}`, blob(settings), len(settings), blob(layer), len(layer)))
	host := strings.TrimPrefix(c.At("registry", ""), "http://")
	c.run(t, c.ci, "skopeo", "login", "--tls-verify=false", "--authfile", filepath.Join(c.folder, "auth.json"), "--username", "ci", "--password-stdin", host)
	skopeo := func(from, to string) {
		c.run(t, "", "skopeo", "--insecure-policy", "copy", "-q", "--authfile", filepath.Join(c.folder, "auth.json"), "--src-tls-verify=false", "--dest-tls-verify=false", from, to)
	}
	skopeo("dir:image", "docker://"+host+"/team/app:1")
	skopeo("docker://"+host+"/team/app:1", "dir:pulled")
	// Layers arrive compressed.
	if pulled, err := os.ReadFile(filepath.Join(c.folder, "pulled", blob(settings))); err != nil || string(pulled) != settings {
		t.Errorf("skopeo pulled %q, %v", pulled, err)
	}
}

// vdirsyncerSyncs a person's calendar with Radicale, which learns from the gate whose
// it is.
func vdirsyncerSyncs(t *testing.T, c *clients) {
	c.serve(t, c.Addr("radicale"), "radicale", "--config", c.write(t, "radicale.ini", fmt.Sprintf("[server]\nhosts = %s\n[auth]\ntype = http_x_remote_user\n[storage]\nfilesystem_folder = %s\n", c.Addr("radicale"), filepath.Join(c.folder, "calendars"))))
	config := c.write(t, "vdirsyncer.ini", fmt.Sprintf(`[general]
status_path = "%[1]s/status"
[pair calendar]
a = "here"
b = "there"
collections = ["work"]
[storage here]
type = "filesystem"
path = "%[1]s/events"
fileext = ".ics"
[storage there]
type = "caldav"
url = "http://localhost:%[2]d/bob/"
username = "bob"
password.fetch = ["command", "cat", "%[3]s"]
`, c.folder, c.Port("calendar"), c.write(t, "app-password", c.phone)))
	c.write(t, "events/work/1.ics", "BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//test//EN\r\nBEGIN:VEVENT\r\nUID:1\r\nDTSTAMP:20300101T000000Z\r\nDTSTART:20300102T000000Z\r\nSUMMARY:by vdirsyncer\r\nEND:VEVENT\r\nEND:VCALENDAR\r\n")
	c.run(t, strings.Repeat("y\n", 4), "vdirsyncer", "-c", config, "discover")
	c.run(t, "", "vdirsyncer", "-c", config, "sync")
	if found := c.run(t, "", "grep", "-rl", "by vdirsyncer", "calendars"); !strings.Contains(found, "/bob/") {
		t.Errorf("Radicale keeps %q", found)
	}
}

// prometheusScrapes metrics of an app that a person opens in a browser.
func prometheusScrapes(t *testing.T, c *clients) {
	c.App.AnswerFunc(func(r harness.Recorded) harness.Answer {
		return harness.Answer{Header: http.Header{"Content-Type": {"text/plain; version=0.0.4"}}, Body: fmt.Sprintf("scraped_by{user=%q} 1\n", r.Header.Get("Remote-User"))}
	})
	secret := c.create("prometheus", "--host", "metrics.localhost", "--path", "/metrics", "--method", "GET")
	config := c.write(t, "prometheus.yml", fmt.Sprintf(`scrape_configs:
  - job_name: app
    scrape_interval: 1s
    proxy_url: http://%s
    authorization:
      credentials_file: %s
    static_configs:
      - targets: [%s]
`, c.Addr("web"), c.write(t, "prometheus-token", secret), strings.TrimPrefix(c.At("metrics", ""), "http://")))
	c.serve(t, c.Addr("prometheus"), "prometheus", "--config.file", config, "--web.listen-address", c.Addr("prometheus"), "--storage.tsdb.path", filepath.Join(c.folder, "tsdb"), "--log.level", "warn")
	harness.Eventually(t, patience, "Prometheus to scrape the app", func() bool {
		answer, err := http.Get("http://" + c.Addr("prometheus") + "/api/v1/query?query=scraped_by")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		body, err := io.ReadAll(answer.Body)
		return err == nil && strings.Contains(string(body), `"user":"prometheus@token"`)
	})
	ada := c.Administrator("ada")
	says(t, ada.Browser.Visit(c.At("metrics", "/")), http.StatusOK, "scraped_by", "ada")
}
