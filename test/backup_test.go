package test

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"filippo.io/age"

	"github.com/portcullis-mfa/portcullis/test/harness"
	"github.com/portcullis-mfa/portcullis/test/scene"
)

// Where a server keeps things before it is restored elsewhere, and after it.
var (
	backedUpCaddyfile = strings.Replace(scene.Caddyfile, "\tmfa {", `	skip_install_trust
	pki {
		ca devices {
			intermediate_lifetime 365d
		}
	}
	mfa {
		certificate {
			ca devices
		}`, 1)
	restoredCaddyfile = strings.Replace(backedUpCaddyfile, "\tmfa {", `	storage file_system {{.Dir}}/new/storage
	mfa {
		store sqlite {{.Dir}}/new/store.db
		keys {{.Dir}}/new/keys.json`, 1)
)

const backupPassphrase = "a passphrase for the backup"

// S07: a backup of the running server brings the same people with the same factors to
// another place, and none of their sessions.
func TestS07BackupAndRestore(t *testing.T) {
	t.Parallel()
	s := scene.Start(t, scene.Options{Caddyfile: backedUpCaddyfile})
	s.Canary(backupPassphrase)
	ada, bob := s.Administrator("ada"), s.Invited("bob", "admins")
	for _, p := range []*scene.Person{ada, bob} {
		landed(t, p.Browser.Visit(s.At("app", "/")), s.At("app", "/"))
	}
	invitation := s.Invitation("eve")
	root := read(t, filepath.Join(s.DataDir(), "pki", "authorities", "devices", "root.crt"))

	identity := generateIdentity(t)
	passphrase := filepath.Join(t.TempDir(), "passphrase")
	write(t, passphrase, []byte(backupPassphrase+"\r\nsecond line\n"))
	byPassphrase, toKey := filepath.Join(s.Dir(), "one.backup"), filepath.Join(s.Dir(), "two.backup")
	wantBackup(t, s, byPassphrase, "--passphrase-file", passphrase)
	wantBackup(t, s, toKey, "--recipient", identity.recipient)
	refusedBackups(t, s, byPassphrase, passphrase)

	config := s.Rewrite(restoredCaddyfile)
	restore := func(arguments ...string) harness.Output {
		return s.CLI(append([]string{"mfa", "restore", "--config", config}, arguments...)...)
	}
	s.Stop()
	key := filepath.Join(s.Dir(), "identity")
	write(t, key, []byte(identity.secret+"\n"))
	for _, wrong := range [][]string{
		{byPassphrase, "--identity", key},
		{toKey, "--passphrase-file", passphrase},
		{config, "--identity", key},
		{cut(t, toKey), "--identity", key},
		{altered(t, toKey), "--identity", key},
		{filepath.Join(s.Dir(), "nothing"), "--identity", key},
	} {
		if out := restore(wrong...); out.Code != 1 || out.Stderr == "" || out.Stdout != "" {
			t.Errorf("restoring with %v: %+v", wrong, out)
		}
		if _, err := os.Stat(filepath.Join(s.Dir(), "new", "store.db")); err == nil {
			t.Fatalf("restoring with %v left a store", wrong)
		}
	}
	if out := restore(byPassphrase, "--passphrase-file", passphrase); out.Code != 0 ||
		!containsAll(out.Stdout, "Restored 3 users of http://login.localhost", "Everybody has to sign in again") {
		t.Fatalf("restoring: %+v", out)
	}
	for _, again := range [][]string{{byPassphrase, "--passphrase-file", passphrase}, {toKey, "--identity", key}} {
		if out := restore(again...); out.Code != 1 || !containsAll(out.Stderr, "there is a store already", "overwrites nothing", "store.db") {
			t.Errorf("restoring over a store: %+v", out)
		}
	}
	removeAll(t, filepath.Join(s.DataDir(), "pki"), filepath.Join(s.DataDir(), "portcullis"))

	s.Restart()
	if !bytes.Equal(read(t, filepath.Join(s.Dir(), "new", "storage", "pki", "authorities", "devices", "root.crt")), root) {
		t.Error("the CA for devices is another one")
	}
	s.App.Reset()
	for _, p := range []*scene.Person{ada, bob} {
		asksNobody(t, p.Browser.Get(s.At("app", "/")))
		asksToSignIn(t, p.Browser.Clone().Visit(s.At("login", "/")))
	}
	s.App.ExpectNone(t)
	if page := s.Client().Visit(invitation); page.Status == http.StatusOK {
		t.Error("an invitation of before works")
	}
	landed(t, ada.SignIn(s.Client(), s.At("app", "/")), s.At("app", "/"))
	landed(t, signInByBackupCode(bob, s.Client(), s.At("app", "/")), s.At("app", "/"))
	if out := s.CLI("mfa", "events", "--type", "store.restored"); !strings.Contains(out.Stdout, "by=administrator") {
		t.Errorf("the audit log doesn't say that the store was restored: %+v", out)
	}
	if countLines(s, renewed) != 0 {
		t.Error("the server takes the restored store for an older copy")
	}
	testVoidedCodes(t, s, bob, toKey, key)
}

// testVoidedCodes restores to a third place, without backup codes.
func testVoidedCodes(t *testing.T, s *scene.Scene, p *scene.Person, path, key string) {
	t.Helper()
	s.Stop()
	removeAll(t, filepath.Join(s.Dir(), "new"))
	out := s.CLI("mfa", "restore", path, "--identity", key, "--void-codes", "--json", "--config", s.Rewrite(restoredCaddyfile))
	var restored struct {
		Created, Portal, Store string
		Users                  int
		VoidedCodes            int `json:"voided_codes"`
	}
	if err := json.Unmarshal([]byte(out.Stdout), &restored); err != nil || out.Code != 0 {
		t.Fatalf("restoring: %v, %+v", err, out)
	}
	if restored.Users != 3 || restored.VoidedCodes != 2 || restored.Store != filepath.Join(s.Dir(), "new", "store.db") {
		t.Errorf("restored: %+v", restored)
	}
	s.Restart()
	if page := p.SignIn(s.Client(), s.At("app", "/")); page.H1() != "Save your backup codes" {
		t.Errorf("without backup codes, signing in leads to %q: %s", page.H1(), page.Text())
	}
}

// wantBackup makes a backup, and fails the test unless it is there, encrypted and
// readable by its owner alone.
func wantBackup(t *testing.T, s *scene.Scene, path string, arguments ...string) {
	t.Helper()
	out := s.CLI(append([]string{"mfa", "backup", path, "--json"}, arguments...)...)
	var made struct {
		File    string
		Bytes   int64
		Users   int
		Entries []string
	}
	if err := json.Unmarshal([]byte(out.Stdout), &made); err != nil || out.Code != 0 {
		t.Fatalf("backup: %v, %+v", err, out)
	}
	info, err := os.Stat(path)
	if err != nil || info.Mode().Perm() != 0o600 || info.Size() != made.Bytes || made.File != path {
		t.Errorf("the file: %v, %v, %+v", info, err, made)
	}
	if made.Users != 3 || len(made.Entries) != 6 {
		t.Errorf("it holds %+v", made)
	}
	content := read(t, path)
	if !bytes.HasPrefix(content, []byte("age-encryption.org/v1\n")) || bytes.Contains(content, []byte("SQLite format 3")) {
		t.Error("the backup isn't encrypted")
	}
	expectFiles(t, filepath.Dir(path), filepath.Base(path))
	expectFiles(t, filepath.Dir(storeIn(s)), "portcullis.db", "-wal", "-shm", ".lock", ".reserve")
}

// expectFiles fails the test unless the files in a folder whose names begin with name are
// that one and those with the given endings.
func expectFiles(t *testing.T, folder, name string, endings ...string) {
	t.Helper()
	entries, err := os.ReadDir(folder)
	if err != nil {
		t.Fatal(err)
	}
	var found []string
	for _, entry := range entries {
		if strings.HasPrefix(entry.Name(), name) {
			found = append(found, entry.Name())
		}
	}
	if len(found) != 1+len(endings) {
		t.Errorf("beside %s there are %v", name, found)
	}
}

// refusedBackups tries what makes no backup.
func refusedBackups(t *testing.T, s *scene.Scene, existing, passphrase string) {
	t.Helper()
	short, fresh := filepath.Join(s.Dir(), "short"), filepath.Join(s.Dir(), "fresh.backup")
	write(t, short, []byte("fourteen chars"))
	for _, refused := range []struct {
		arguments []string
		code      int
		says      string
	}{
		{[]string{existing, "--passphrase-file", passphrase}, 1, "exists already"},
		{[]string{fresh}, 1, "no terminal"},
		{[]string{fresh, "--passphrase-file", short}, 1, "at least 15 characters"},
		{[]string{fresh, "--recipient", "age1nonsense"}, 1, "reading the recipients"},
		{[]string{fresh, "--recipient", "age1nonsense", "--passphrase-file", passphrase}, 2, "can't be given together"},
		{[]string{filepath.Join(s.Dir(), "no", "folder"), "--passphrase-file", passphrase}, 1, "making the file"},
		{nil, 2, "backup FILE"},
	} {
		out := s.CLI(append([]string{"mfa", "backup"}, refused.arguments...)...)
		if out.Code != refused.code || !strings.Contains(out.Stderr, refused.says) {
			t.Errorf("backup %v: %+v", refused.arguments, out)
		}
		if _, err := os.Stat(fresh); err == nil {
			t.Errorf("backup %v made a file", refused.arguments)
		}
	}
}

type ageKey struct{ recipient, secret string }

func generateIdentity(t *testing.T) ageKey {
	t.Helper()
	identity, err := age.GenerateX25519Identity()
	if err != nil {
		t.Fatal(err)
	}
	return ageKey{identity.Recipient().String(), identity.String()}
}

// cut is a backup without its end.
func cut(t *testing.T, path string) string {
	t.Helper()
	content := read(t, path)
	write(t, path+".cut", content[:len(content)*9/10])
	return path + ".cut"
}

// altered is a backup with another byte in it.
func altered(t *testing.T, path string) string {
	t.Helper()
	content := bytes.Clone(read(t, path))
	content[len(content)*9/10] ^= 1
	write(t, path+".altered", content)
	return path + ".altered"
}

func removeAll(t *testing.T, paths ...string) {
	t.Helper()
	for _, path := range paths {
		if err := os.RemoveAll(path); err != nil {
			t.Fatal(err)
		}
	}
}
