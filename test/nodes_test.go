package test

import (
	"context"
	"crypto/rand"
	"fmt"
	"net/http"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/pgserver"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// balancer sends each request to the next node, or to the one that it names.
const balancer = `
	@one header X-Node 0
	@two header X-Node 1
	@three header X-Node 2
	reverse_proxy @one NODE0
	reverse_proxy @two NODE1
	reverse_proxy @three NODE2
	reverse_proxy NODE0 NODE1 NODE2 {
		lb_policy round_robin
		lb_try_duration 10s
		lb_try_interval 50ms
	}
`

// nodes are three nodes on one PostgreSQL server behind a balancer. Each reaches the
// server by a way of its own.
type nodes struct {
	t        *testing.T
	options  string
	database *pgserver.Server
	ways     []*pgserver.Way
	front    *harness.Server
	*scene.Scene
	servers []*harness.Server
	// acknowledged are the users whose creation a node has confirmed.
	acknowledged []string
	tried        int
}

func startNodes(t *testing.T, options string) *nodes {
	t.Helper()
	harness.Need(t, "initdb")
	database, err := pgserver.Start()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := database.Close(); err != nil {
			t.Error(err)
		}
	})
	if err := database.Exec(t.Context(), "postgres", `CREATE DATABASE portcullis`); err != nil {
		t.Fatal(err)
	}
	n := &nodes{t: t, options: options, database: database}
	n.front = harness.Start(t, harness.Options{Caddyfile: strings.Replace(frontCaddyfile, "HANDLER", "respond 503", 1)})
	shared := filepath.Join(n.front.Dir(), "keys")
	n.Scene = scene.Start(t, scene.Options{Caddyfile: n.caddyfile(shared)})
	n.servers = []*harness.Server{n.Server}
	for range 2 {
		n.servers = append(n.servers, harness.Start(t, harness.Options{Caddyfile: n.caddyfile(shared), Vars: map[string]string{"app": n.App.Addr()}}))
	}
	handler := balancer
	for i, server := range n.servers {
		handler = strings.ReplaceAll(handler, "NODE"+strconv.Itoa(i), server.Addr("web"))
	}
	n.front.Reload(strings.Replace(frontCaddyfile, "HANDLER", handler, 1))
	return n
}

// caddyfile is that of one more node, with a way to the database of its own.
func (n *nodes) caddyfile(keys string) string {
	n.t.Helper()
	way, err := pgserver.NewWay(n.database.Socket())
	if err != nil {
		n.t.Fatal(err)
	}
	n.t.Cleanup(func() {
		if err := way.Close(); err != nil {
			n.t.Error(err)
		}
	})
	n.ways = append(n.ways, way)
	text := strings.ReplaceAll(behindFrontCaddyfile, "FRONT", n.port())
	return strings.Replace(text, "\t\tbehind_tls_proxy\n",
		fmt.Sprintf("\t\tbehind_tls_proxy\n\t\tkeys %s\n\t\tstore postgres %s\n%s", keys, way.URL("portcullis"), n.options), 1)
}

func (n *nodes) port() string { return strconv.Itoa(n.front.Port("tls")) }

func (n *nodes) at(host, path string) string {
	return "https://" + host + ".example.test:" + n.port() + path
}

// ask asks one node for the wiki and returns the status.
func (n *nodes) ask(node int, browser *harness.Client) int {
	n.t.Helper()
	page, err := browser.Send(harness.Request{Method: http.MethodGet, URL: n.at("wiki", "/"), Header: http.Header{"X-Node": {strconv.Itoa(node)}}})
	if err != nil {
		n.t.Fatal(err)
	}
	return page.Status
}

// expect waits until a node answers with a status, and returns how long it took.
func (n *nodes) expect(node int, browser *harness.Client, status int) time.Duration {
	n.t.Helper()
	began := time.Now()
	harness.Eventually(n.t, patience, fmt.Sprintf("node %d to answer %d", node, status), func() bool { return n.ask(node, browser) == status })
	return time.Since(began)
}

// add creates a user on a node, and returns whether it confirmed that.
func (n *nodes) add(node int) bool {
	n.tried++
	name := fmt.Sprintf("user%03d", n.tried)
	done := n.servers[node].CLI("mfa", "user", "add", name).Code == 0
	if done {
		n.acknowledged = append(n.acknowledged, name)
	}
	return done
}

// survives tries one fault: what is done, and what is seen of it. Whatever was
// confirmed before, or meanwhile, is there afterwards on all nodes.
func (n *nodes) survives(t *testing.T, fault string, do func(t *testing.T) (seen string)) {
	t.Run(fault, func(t *testing.T) {
		if !n.add(0) {
			t.Fatal("no user can be created")
		}
		seen := do(t)
		var lost []string
		for node, server := range n.servers {
			out := server.CLI("mfa", "user", "list")
			if out.Code != 0 {
				t.Errorf("node %d: %+v", node, out)
			}
			for _, name := range n.acknowledged {
				if !strings.Contains(out.Stdout, name) {
					lost = append(lost, fmt.Sprintf("%s on node %d", name, node))
				}
			}
		}
		if len(lost) > 0 {
			t.Errorf("lost: %v", lost)
		}
		t.Logf("| %s | %s | %d of %d writes |", fault, seen, len(lost), len(n.acknowledged))
	})
}

// TestSeveralNodes has people set up, sign in and sign out while each of their
// requests goes to another node; and the nodes and the database fail.
func TestSeveralNodes(t *testing.T) {
	t.Parallel()
	n := startNodes(t, "\t\tmax_staleness 4s\n")
	ada := n.Newcomer("ada", n.front.ClientFrom("127.0.14.1"))
	ada.SetUp(n.SetupLink())
	landed(t, ada.Browser.Visit(n.at("wiki", "/work")), n.at("wiki", "/work"))
	signIn := func() *harness.Client {
		t.Helper()
		browser := n.front.ClientFrom("127.0.14.2")
		landed(t, signInByBackupCode(ada, browser, n.at("wiki", "/")), n.at("wiki", "/"))
		return browser
	}
	everywhere := func(browser *harness.Client, status int) {
		t.Helper()
		for node := range n.servers {
			n.expect(node, browser, status)
		}
	}

	t.Run("one ticket for three nodes", func(t *testing.T) {
		browser := n.front.ClientFrom("127.0.14.5")
		landed(t, signInByBackupCode(ada, browser, n.at("login", "/")), n.at("login", "/"))
		callback := toCallback(t, n.Scene, browser, n.at("wiki", "/raced")).Location()
		var sessions atomic.Int64
		inParallel(t, 30, 90, func(i int) error {
			page, err := browser.Clone().Send(harness.Request{URL: callback, Header: http.Header{"X-Node": {strconv.Itoa(i % 3)}}})
			if err == nil && setsSession(page) != "" {
				sessions.Add(1)
			}
			return err
		})
		if sessions.Load() != 1 {
			t.Errorf("one ticket made %d sessions", sessions.Load())
		}
	})
	t.Run("what ends on one ends on all", func(t *testing.T) {
		var took []time.Duration
		for node := range n.servers {
			browser := signIn()
			everywhere(browser, http.StatusOK)
			out := n.servers[node].CLI("mfa", "session", "end", "--user", "ada")
			if out.Code != 0 {
				t.Fatalf("%+v", out)
			}
			for other := range n.servers {
				took = append(took, n.expect(other, browser, http.StatusFound))
			}
		}
		t.Logf("refused after %v", took)
	})
	n.survives(t, "a node is cut off from the database", func(t *testing.T) string {
		browser := signIn()
		everywhere(browser, http.StatusOK)
		n.ways[1].Cut()
		if status := n.ask(1, browser); status != http.StatusOK {
			t.Errorf("at once, the node answers %d", status)
		}
		if n.add(1) {
			t.Error("the node confirms what it can't write")
		}
		after := n.expect(1, browser, http.StatusServiceUnavailable)
		for _, node := range []int{0, 2} {
			n.expect(node, browser, http.StatusOK)
		}
		if out := n.servers[0].CLI("mfa", "session", "end", "--user", "ada"); out.Code != 0 {
			t.Fatalf("%+v", out)
		}
		n.ways[1].Restore()
		everywhere(browser, http.StatusFound)
		return fmt.Sprintf("served from memory, 503 after %s; what ended meanwhile is refused once it is back", after.Round(100*time.Millisecond))
	})
	browser := signIn()
	everywhere(browser, http.StatusOK)
	n.survives(t, "kill -9 of a node", func(t *testing.T) string {
		n.servers[2].Kill()
		for range 6 {
			landed(t, browser.Visit(n.at("wiki", "/")), n.at("wiki", "/"))
		}
		other := signIn()
		n.servers[2].Restart()
		everywhere(browser, http.StatusOK)
		everywhere(other, http.StatusOK)
		return "the balancer sent requests to the others"
	})
	for how, signal := range map[string]syscall.Signal{"restarts": syscall.SIGINT, "crashes": syscall.SIGQUIT} {
		n.survives(t, "the database "+how, func(t *testing.T) string {
			if err := n.database.Stop(signal); err != nil {
				t.Fatal(err)
			}
			for node := range n.servers {
				if status := n.ask(node, browser); status != http.StatusOK {
					t.Errorf("node %d answers %d at once", node, status)
				}
			}
			visitor := n.front.ClientFrom("127.0.14.4")
			page := ada.ShowPassword(visitor, visitor.Visit(n.at("login", "/sign-in")))
			if page.Status != http.StatusServiceUnavailable {
				t.Errorf("without a database: %d %s", page.Status, page.Text())
			}
			if n.add(0) {
				t.Error("a node confirms what it can't write")
			}
			everywhere(browser, http.StatusServiceUnavailable)
			if err := n.database.Run(); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			everywhere(browser, http.StatusOK)
			everywhere(signIn(), http.StatusOK)
			return fmt.Sprintf("sign-ins got 503, signed-in people after max_staleness; all well %s after it was back", time.Since(began).Round(100*time.Millisecond))
		})
	}
	n.survives(t, "connections are cut one by one", func(t *testing.T) string {
		ctx, cancel := context.WithCancel(t.Context())
		cutting := make(chan error)
		go func() {
			for ctx.Err() == nil {
				err := n.database.Exec(context.WithoutCancel(ctx), "postgres", `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'portcullis' ORDER BY random() LIMIT 1`)
				if err != nil {
					cutting <- err
					return
				}
				<-time.After(20 * time.Millisecond) // one by one
			}
			cutting <- nil
		}()
		failed := 0
		for i := range 20 {
			if !n.add(i % 3) {
				failed++
			}
			if status := n.ask(i%3, browser); status != http.StatusOK {
				t.Errorf("node %d answers %d", i%3, status)
			}
		}
		cancel()
		if err := <-cutting; err != nil {
			t.Error(err)
		}
		everywhere(browser, http.StatusOK)
		everywhere(signIn(), http.StatusOK)
		return fmt.Sprintf("%d of 20 writes failed, signed-in people noticed nothing", failed)
	})
	n.survives(t, "the database can only be read", func(t *testing.T) string {
		for _, is := range []string{"on", "off"} {
			err := n.database.Exec(t.Context(), "postgres", `ALTER DATABASE portcullis SET default_transaction_read_only = `+is)
			if err == nil {
				err = n.database.Exec(t.Context(), "postgres", `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = 'portcullis'`)
			}
			if err != nil {
				t.Fatal(err)
			}
			if is == "on" && n.add(0) {
				t.Error("a node confirms what it can't write")
			}
			everywhere(browser, map[string]int{"on": http.StatusServiceUnavailable, "off": http.StatusOK}[is])
		}
		return "503 after max_staleness, and well again by itself"
	})
	n.survives(t, "the database stands still", func(t *testing.T) string {
		for _, signal := range []syscall.Signal{syscall.SIGSTOP, syscall.SIGCONT} {
			if err := n.database.SignalAll(signal); err != nil {
				t.Fatal(err)
			}
			if signal == syscall.SIGSTOP && n.add(0) {
				t.Error("a node confirms what it can't write")
			}
			everywhere(browser, map[syscall.Signal]int{syscall.SIGSTOP: http.StatusServiceUnavailable, syscall.SIGCONT: http.StatusOK}[signal])
		}
		return "503 after max_staleness, and well again by itself"
	})
	t.Run("a node with other keys", func(t *testing.T) {
		other := filepath.Join(t.TempDir(), "keys")
		if _, err := keys.Open(t.Context(), keys.FileStorage(other), rand.Reader, time.Now, true); err != nil {
			t.Fatal(err)
		}
		refusal := harness.MustFail(t, harness.Options{Caddyfile: n.caddyfile(other), Vars: map[string]string{"app": n.App.Addr()}})
		if !containsAll(refusal, "sealed with other keys", other) {
			t.Errorf("it says: %s", refusal)
		}
	})
	for i, server := range n.servers {
		lost := slices.ContainsFunc(server.LogEntries(), func(e harness.LogEntry) bool { return strings.Contains(e.Text("error"), "has lost changes") })
		if lost {
			t.Errorf("node %d found that the database has lost changes", i)
		}
	}
}
