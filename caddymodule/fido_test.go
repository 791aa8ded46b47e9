package caddymodule

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/base64"
	"encoding/json"
	"encoding/pem"
	"math/big"
	"os"
	"path/filepath"
	"reflect"
	"strings"
	"testing"
	"time"

	"github.com/caddyserver/caddy/v2"
	"github.com/go-jose/go-jose/v4"
	"go.uber.org/zap"
	"go.uber.org/zap/zapcore"
	"go.uber.org/zap/zaptest/observer"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/credentials"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/keys"
	"github.com/portcullis-mfa/portcullis/store"
	"github.com/portcullis-mfa/portcullis/store/sqlite"
)

// metadataFiles writes a BLOB that is followed by another at a time, and the
// root certificate of its signer.
func metadataFiles(t *testing.T, nextUpdate time.Time) (blob, root string) {
	t.Helper()
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	must(err)
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "Root"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().AddDate(-9, 0, 0), NotAfter: time.Now().AddDate(9, 0, 0),
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	must(err)
	chain := (&jose.SignerOptions{}).WithHeader("x5c", []string{base64.StdEncoding.EncodeToString(der)})
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: key}, chain)
	must(err)
	payload, err := json.Marshal(map[string]any{
		"nextUpdate": nextUpdate.Format(time.DateOnly),
		"entries":    []any{map[string]any{"aaguid": "11111111-2222-4333-8444-555555555555", "timeOfLastStatusChange": "2024-01-01"}},
	})
	must(err)
	signed, err := signer.Sign(payload)
	must(err)
	text, err := signed.CompactSerialize()
	must(err)
	folder := t.TempDir()
	blob, root = filepath.Join(folder, "mds.jwt"), filepath.Join(folder, "root.pem")
	must(os.WriteFile(blob, []byte(text), 0o600))
	must(os.WriteFile(root, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: der}), 0o600))
	return blob, root
}

func TestFIDOPlaces(t *testing.T) {
	t.Setenv("DOMAIN", "example.com")
	err := withApp(t, `{"portal": "https://login.example.com:8443", "fido": {
		"rp_id": "{env.DOMAIN}", "origins": ["https://Login.Example.org:443/"], "abandon": ["LOGIN.{env.DOMAIN}"]
	}}`, func(app *App) error {
		on := true
		got, want := app.FIDO, &FIDO{
			Passwordless: &on, UpgradeOffer: &on, SignCount: "strict", RPID: "example.com", Origins: []string{"https://login.example.org"}, Abandon: []string{"login.example.com"},
		}
		if !reflect.DeepEqual(got, want) {
			t.Errorf("%+v", got)
		}
		document, err := app.relatedOrigins()
		if string(document) != `{"origins":["https://login.example.org"]}` {
			t.Errorf("browsers are told %s", document)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
}

func TestFIDORefuses(t *testing.T) {
	blob, root := metadataFiles(t, time.Now().AddDate(0, 1, 0))
	garbage := filepath.Join(t.TempDir(), "garbage")
	if err := os.WriteFile(garbage, []byte("garbage"), 0o600); err != nil {
		t.Fatal(err)
	}
	for settings, want := range map[string]string{
		`{"rp_id": "example.org"}`:                "fido: rp_id example.org is neither the host of https://login.example.com nor a parent domain of it",
		`{"rp_id": "com"}`:                        `fido: rp_id keys can't be bound to "com"`,
		`{"rp_id": "{env.NOT_SET_ANYWHERE}"}`:     "fido: rp_id",
		`{"rp_id": "https://example.com"}`:        "isn't a host",
		`{"origins": ["http://login.localhost"]}`: "must begin with https://",
		`{"origins": ["login.example.org"]}`:      "this isn't an address",
		`{"origins": ["https://a.b", "https://b.c", "https://c.d", "https://d.e", "https://e.f", "https://f.g"]}`: "6 distinct",
		`{"abandon": ["login.example.com"]}`:                                                                "keys are bound to it now",
		`{"abandon": ["https://a"]}`:                                                                        "isn't a host",
		`{"attestation": {}}`:                                                                               "fido: attestation: it needs metadata",
		`{"attestation": {"metadata": "/nowhere/mds.jwt"}}`:                                                 "fido: attestation: metadata: open /nowhere/mds.jwt",
		`{"attestation": {"metadata": "` + filepath.Dir(blob) + `"}}`:                                       "is a directory",
		`{"attestation": {"metadata": "` + garbage + `"}}`:                                                  "it isn't a signed BLOB",
		`{"attestation": {"metadata": "` + blob + `"}}`:                                                     "its signer isn't trusted",
		`{"attestation": {"metadata": "` + blob + `", "metadata_root": "` + garbage + `"}}`:                 "metadata_root " + garbage + ": reading a root certificate",
		`{"attestation": {"metadata": "` + blob + `", "metadata_root": "/nowhere"}}`:                        "metadata_root: open /nowhere",
		`{"attestation": {"metadata": "` + blob + `", "metadata_root": "` + root + `", "certified": "L9"}}`: `certified: level "L9"`,
		`{"attestation": {"metadata": "` + blob + `", "metadata_root": "` + root + `", "allow": ["x"]}}`:    `AAGUID "x"`,
	} {
		err := withApp(t, `{"portal": "https://login.example.com", "fido": `+settings+`}`, func(*App) error { return nil })
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", settings, err, want)
		}
	}
}

// TestMetadataIsRead reads it from a file, and warns of one whose time is over.
func TestMetadataIsRead(t *testing.T) {
	for age, warnings := range map[int]int{1: 0, -1: 1} {
		blob, root := metadataFiles(t, time.Now().AddDate(0, age, 0))
		core, logged := observer.New(zapcore.WarnLevel)
		settings := &Attestation{Metadata: blob, MetadataRoot: root, Certified: "L2", Deny: []string{"ee882879-721c-4913-9775-3dfcce97072a"}}
		made, err := settings.resolve(zap.New(core))
		if err != nil || made.Metadata == nil || made.Level != 3 || len(made.Deny) != 1 || logged.Len() != warnings {
			t.Errorf("%+v, %v, %+v", made, err, logged.All())
		}
	}
}

// withKeys makes a store with a user who has keys that are bound to each realm.
func withKeys(t *testing.T, path string, sealer credentials.Sealer, realms ...string) {
	t.Helper()
	vault := credentials.Vault{Sealer: sealer, Clock: time.Now, Random: rand.Reader}
	s, err := sqlite.Open(t.Context(), path)
	if err != nil {
		t.Fatal(err)
	}
	err = s.CreateUser(t.Context(), store.User{ID: "ada", Name: "ada", Status: store.UserActive})
	for _, realm := range realms {
		if err != nil {
			break
		}
		var key store.Credential
		if key, err = vault.New("ada", assurance.FIDO, factors.Made{Realm: realm, Secret: []byte("key")}); err == nil {
			err = s.CreateCredential(t.Context(), key)
		}
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}

// newKeys makes a key set in a folder.
func newKeys(t *testing.T, folder string) *keys.Set {
	t.Helper()
	set, err := keys.Open(t.Context(), keys.FileStorage(filepath.Join(folder, "keys")), rand.Reader, time.Now, true)
	if err != nil {
		t.Fatal(err)
	}
	return set
}

// TestOrphans holds which configurations would leave keys behind.
func TestOrphans(t *testing.T) {
	for settings, want := range map[string]string{
		`"portal": "https://login.example.com"`:                                                                   "3 bound to example.com, of 1 users; 1 bound to old.example.com, of 1 users",
		`"portal": "https://login.example.com", "fido": {"abandon": ["example.com"]}`:                             "1 bound to old.example.com, of 1 users",
		`"portal": "https://login.example.com", "fido": {"rp_id": "example.com"}`:                                 "under example.com: 1 bound to old.example.com",
		`"portal": "https://login.example.com", "fido": {"rp_id": "example.com", "abandon": ["old.example.com"]}`: "",
		`"portal": "https://login.example.com", "fido": {"abandon": ["old.example.com", "example.com"]}`:          "",
		`"portal": "https://login.example.com", "fido": {"off": true}`:                                            "",
		`"portal": "https://192.0.2.1"`:                                                                           "3 bound to example.com",
	} {
		path := filepath.Join(t.TempDir(), "mfa.db")
		withKeys(t, path, newKeys(t, t.TempDir()), "example.com", "example.com", "example.com", "old.example.com")
		err := withApp(t, `{`+settings+`}`, func(app *App) error {
			s, err := sqlite.Open(t.Context(), path)
			if err != nil {
				return err
			}
			defer s.Close()
			return app.checkOrphans(t.Context(), s)
		})
		if (err == nil) != (want == "") || err != nil && !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v; want %q", settings, err, want)
		}
	}
}

// TestAReloadThatLeavesKeysBehind keeps the configuration that is in force.
func TestAReloadThatLeavesKeysBehind(t *testing.T) {
	folder := t.TempDir()
	withKeys(t, filepath.Join(folder, "mfa.db"), newKeys(t, folder), "login.localhost")
	run := func(portal, options string) error {
		raw, err := adapt(`{
	mfa {
		portal http://` + portal + `
		store sqlite ` + folder + `/mfa.db
		keys ` + folder + `/keys
		fido {
			sign_count strict
			` + options + `
		}
	}
}
http://` + portal + `:0 {
	bind 127.0.0.1
	mfa_portal
}
`)
		if err != nil {
			t.Fatal(err)
		}
		return caddy.Run(configured(t, raw))
	}
	if err := run("login.localhost", ""); err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := caddy.Stop(); err != nil {
			t.Error(err)
		}
	}()
	portal := func() string {
		app, err := loadedApp(caddy.ActiveContext())
		if err != nil {
			t.Fatal(err)
		}
		return app.Portal
	}
	if err := run("sign-in.localhost", ""); err == nil || !strings.Contains(err.Error(), "1 bound to login.localhost, of 1 users") {
		t.Errorf("moved: %v", err)
	}
	if got := portal(); got != "http://login.localhost" {
		t.Errorf("after a reload that is refused the portal is %s", got)
	}
	if err := run("sign-in.localhost", "abandon login.localhost"); err != nil || portal() != "http://sign-in.localhost" {
		t.Errorf("moved, the keys given up: %v", err)
	}
}
