package fido

import (
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"encoding/base64"
	"encoding/binary"
	"encoding/pem"
	"math/big"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-webauthn/webauthn/protocol/webauthncbor"
	"github.com/google/uuid"

	"github.com/portcullis-mfa/portcullis/factors"
)

// The certificates of these tests hold at noon and now: go-webauthn looks at
// the real clock.
var (
	certainly = time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	stillThen = time.Date(2060, 1, 1, 0, 0, 0, 0, time.UTC)
)

// authority is somebody who signs certificates.
type authority struct {
	t    *testing.T
	key  *ecdsa.PrivateKey
	cert *x509.Certificate
}

// newAuthority makes one that signs itself.
func newAuthority(t *testing.T, name string) *authority {
	t.Helper()
	return (*authority)(nil).sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: name}, IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	})
}

// sign makes a certificate with a key of its own; by nobody, it signs itself.
func (a *authority) sign(t *testing.T, template *x509.Certificate) *authority {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	if template.SerialNumber, err = rand.Int(rand.Reader, big.NewInt(1<<62)); err != nil {
		t.Fatal(err)
	}
	if template.NotBefore.IsZero() {
		template.NotBefore, template.NotAfter = certainly, stillThen
	}
	signer, parent := key, template
	if a != nil {
		signer, parent = a.key, a.cert
	}
	der, err := x509.CreateCertificate(rand.Reader, template, parent, key.Public(), signer)
	if err != nil {
		t.Fatal(err)
	}
	cert, err := x509.ParseCertificate(der)
	if err != nil {
		t.Fatal(err)
	}
	return &authority{t, key, cert}
}

// maker makes authenticators of one model, with certificates that say so.
type maker struct {
	*authority
	model uuid.UUID
}

func newMaker(t *testing.T, model string) *maker {
	t.Helper()
	return &maker{newAuthority(t, "Maker of "+model), uuid.MustParse(model)}
}

// aaguidExtension is id-fido-gen-ce-aaguid (WebAuthn §8.2.1).
var aaguidExtension = asn1.ObjectIdentifier{1, 3, 6, 1, 4, 1, 45724, 1, 1, 4}

// batch is the certificate of a batch of authenticators.
func (m *maker) batch() *authority {
	m.t.Helper()
	value, err := asn1.Marshal(m.model[:])
	if err != nil {
		m.t.Fatal(err)
	}
	return m.sign(m.t, &x509.Certificate{
		Subject: pkix.Name{
			Country: []string{"SE"}, Organization: []string{"Test"},
			OrganizationalUnit: []string{"Authenticator Attestation"}, CommonName: "A batch",
		},
		BasicConstraintsValid: true, ExtraExtensions: []pkix.Extension{{Id: aaguidExtension, Value: value}},
	})
}

// statement makes an attestation of what an authenticator has to say.
type statement func(authData, clientDataHash []byte) (format string, made any)

// packed attests by the certificate of a batch (§8.2).
func packed(batch *authority) statement {
	return func(authData, clientDataHash []byte) (string, any) {
		digest := sha256.Sum256(slices.Concat(authData, clientDataHash))
		signature, err := batch.key.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			batch.t.Fatal(err)
		}
		return "packed", map[string]any{"alg": algES256, "sig": signature, "x5c": []any{batch.cert.Raw}}
	}
}

// self attests by the new key itself.
func self(f *forger) statement {
	return func(authData, clientDataHash []byte) (string, any) {
		return "packed", map[string]any{"alg": algES256, "sig": f.sign(slices.Concat(authData, clientDataHash))}
	}
}

// compound attests twice, by batches of one model (§8.9). Whose certificates
// lead where isn't told then.
func compound(one, two *authority) statement {
	return func(authData, clientDataHash []byte) (string, any) {
		var made []any
		for _, batch := range []*authority{one, two} {
			format, part := packed(batch)(authData, clientDataHash)
			made = append(made, map[string]any{"fmt": format, "attStmt": part})
		}
		return "compound", made
	}
}

// u2f attests as U2F does (§8.6): what is signed doesn't hold the AAGUID.
func u2f(f *forger, batch *authority) statement {
	return func(authData, clientDataHash []byte) (string, any) {
		signed := slices.Concat([]byte{0}, authData[:sha256.Size], clientDataHash, f.id, []byte{4}, f.cose[-2].([]byte), f.cose[-3].([]byte))
		digest := sha256.Sum256(signed)
		signature, err := batch.key.Sign(rand.Reader, digest[:], crypto.SHA256)
		if err != nil {
			batch.t.Fatal(err)
		}
		return "fido-u2f", map[string]any{"sig": signature, "x5c": []any{batch.cert.Raw}}
	}
}

func none([]byte, []byte) (string, any) { return "none", map[string]any{} }

// attest answers an enrolment with an authenticator of a model.
func (f *forger) attest(t *testing.T, asked []byte, model uuid.UUID, attest statement) string {
	t.Helper()
	cose, err := webauthncbor.Marshal(f.cose)
	if err != nil {
		t.Fatal(err)
	}
	data := append(f.authenticatorData(f.flags|attested), model[:]...)
	data = append(append(binary.BigEndian.AppendUint16(data, uint16(len(f.id))), f.id...), cose...)
	client := f.clientData(t, "webauthn.create", asked)
	hash := sha256.Sum256(client)
	format, made := attest(data, hash[:])
	object, err := webauthncbor.Marshal(map[string]any{"fmt": format, "attStmt": made, "authData": data})
	if err != nil {
		t.Fatal(err)
	}
	return f.answer(t, map[string]any{"clientDataJSON": base64URL(client), "attestationObject": base64URL(object)})
}

// entry is what a BLOB says of a model.
func entry(m *maker, reports ...map[string]any) map[string]any {
	if reports == nil {
		reports = []map[string]any{{"status": "FIDO_CERTIFIED_L1", "effectiveDate": "2024-01-01"}}
	}
	return map[string]any{
		"aaguid": m.model.String(), "timeOfLastStatusChange": "2024-01-01", "statusReports": reports,
		"metadataStatement": map[string]any{
			"aaguid": m.model.String(), "description": "Test  Key\nOne", "attestationTypes": []string{"basic_full"},
			"attestationRootCertificates": []string{base64.StdEncoding.EncodeToString(m.cert.Raw)},
		},
	}
}

// publisher publishes BLOBs.
type publisher struct {
	root, signer *authority
	nextUpdate   string
	algorithm    jose.SignatureAlgorithm
}

func newPublisher(t *testing.T) *publisher {
	t.Helper()
	root := newAuthority(t, "Root of metadata")
	return &publisher{root, root.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "Signer"}}), "2026-04-01", jose.ES256}
}

func (p *publisher) publish(entries ...any) []byte {
	p.root.t.Helper()
	options := (&jose.SignerOptions{}).WithHeader("x5c", []string{
		base64.StdEncoding.EncodeToString(p.signer.cert.Raw), base64.StdEncoding.EncodeToString(p.root.cert.Raw),
	})
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: p.algorithm, Key: p.signer.key}, options)
	if err != nil {
		p.root.t.Fatal(err)
	}
	signed, err := signer.Sign(encoded(p.root.t, map[string]any{"no": 1, "nextUpdate": p.nextUpdate, "entries": entries}))
	if err != nil {
		p.root.t.Fatal(err)
	}
	blob, err := signed.CompactSerialize()
	if err != nil {
		p.root.t.Fatal(err)
	}
	return []byte(blob)
}

func (p *publisher) read(entries ...any) *Metadata {
	p.root.t.Helper()
	known, err := ReadMetadata(p.publish(entries...), p.root.cert, noon)
	if err != nil {
		p.root.t.Fatal(err)
	}
	return known
}

const (
	modelOne = "11111111-2222-4333-8444-555555555555"
	modelTwo = "22222222-2222-4333-8444-555555555555"
)

// strictDesk is a desk where attestation is required.
func strictDesk(t *testing.T, policy Attestation) *desk {
	t.Helper()
	return newDesk(t, func(c *Config) { c.Attestation = &policy })
}

// TestAttestedKeys enrols a key that proves what it is, and uses it.
func TestAttestedKeys(t *testing.T) {
	m := newMaker(t, modelOne)
	d := strictDesk(t, Attestation{Metadata: newPublisher(t).read(entry(m)), Level: 1})
	asked, state := d.begin(alice)
	if !strings.Contains(string(asked), `"attestation":"direct"`) {
		t.Errorf("asked for %s", asked)
	}
	f := forge(t, algES256)
	enrolled := d.checkEnrolment(alice, state, f.attest(t, asked, m.model, packed(m.batch())))
	k := d.keep(new(key), enrolled)
	if want := (factors.Model{ID: modelOne, Name: "Test Key One"}); enrolled.Model != want || enrolled.Made.Realm != site.ID {
		t.Errorf("%+v", enrolled)
	}
	asked, state = d.challenge(alice, k.row)
	if got := d.check(alice, state, f.get(t, asked), k.row); !got.Accepted() {
		t.Errorf("%+v", got)
	}
	if details, err := d.factor.Details(k.row); err != nil || details.Model != "Test Key One" {
		t.Errorf("%+v, %v", details, err)
	}
}

// TestPictures holds which pictures of a model are shown.
func TestPictures(t *testing.T) {
	for icon, shown := range map[string]bool{
		"data:image/png;base64,iVBORw0KGgo=": true,
		"data:image/svg+xml;base64,PHN2Zy8+": true,
		"":                                   false,
		"https://example.com/icon.png":       false,
		"data:text/html;base64,PHN2Zy8+":     false,
		"data:image/svg+xml,<svg/>":          false,
		"data:image/png;base64,iVBORw0KGgo=\" onerror=\"alert(1)":       false,
		"data:image/png;base64," + strings.Repeat("AAAA", maxPicture/4): false,
	} {
		m := newMaker(t, modelOne)
		told := entry(m)
		told["metadataStatement"].(map[string]any)["icon"] = icon
		d, f := strictDesk(t, Attestation{Metadata: newPublisher(t).read(told)}), forge(t, algES256)
		asked, state := d.begin(alice)
		k := d.keep(new(key), d.checkEnrolment(alice, state, f.attest(t, asked, m.model, packed(m.batch()))))
		details, err := d.factor.Details(k.row)
		want := ""
		if shown {
			want = icon
		}
		if err != nil || details.Picture != want {
			t.Errorf("%.60q: %v, %.60q", icon, err, details.Picture)
		}
	}
}

// TestBarredModels holds which authenticators aren't let in, and what is said
// of it.
func TestBarredModels(t *testing.T) {
	one, stranger := newMaker(t, modelOne), newMaker(t, modelOne)
	batch := one.batch()
	id := []uuid.UUID{one.model}
	other := []uuid.UUID{uuid.MustParse(modelTwo)}
	report := func(status string, more ...any) map[string]any {
		made := map[string]any{"status": status, "effectiveDate": "2024-01-01"}
		for i := 0; i < len(more); i += 2 {
			made[more[i].(string)] = more[i+1]
		}
		return made
	}
	inDER := func(a *authority) string { return base64.StdEncoding.EncodeToString(a.cert.Raw) }
	for what, c := range map[string]struct {
		policy  Attestation
		reports []map[string]any
		attest  func(f *forger) statement
		want    factors.Reason
	}{
		"attested":               {},
		"none":                   {attest: func(*forger) statement { return none }, want: factors.Unattested},
		"self":                   {attest: self, want: factors.Unattested},
		"compound":               {attest: func(*forger) statement { return compound(batch, one.batch()) }, want: factors.Unattested},
		"of U2F":                 {attest: func(f *forger) statement { return u2f(f, batch) }, want: factors.Unattested},
		"another maker's":        {attest: func(*forger) statement { return packed(stranger.batch()) }, want: factors.Unproven},
		"allowed":                {policy: Attestation{Allow: id}},
		"not among the allowed":  {policy: Attestation{Allow: other}, want: factors.Disallowed},
		"denied":                 {policy: Attestation{Deny: id}, want: factors.Disallowed},
		"another denied":         {policy: Attestation{Deny: other}},
		"revoked":                {reports: []map[string]any{report("FIDO_CERTIFIED_L2"), report("REVOKED")}, want: factors.Withdrawn},
		"revoked, then updated":  {reports: []map[string]any{report("REVOKED"), report("UPDATE_AVAILABLE")}, want: factors.Withdrawn},
		"retired":                {reports: []map[string]any{report("RETIRED")}, want: factors.Withdrawn},
		"verification bypassed":  {reports: []map[string]any{report("USER_VERIFICATION_BYPASS")}, want: factors.Withdrawn},
		"keys extracted":         {reports: []map[string]any{report("USER_KEY_PHYSICAL_COMPROMISE")}, want: factors.Withdrawn},
		"keys extracted afar":    {reports: []map[string]any{report("USER_KEY_REMOTE_COMPROMISE")}, want: factors.Withdrawn},
		"batch compromised":      {reports: []map[string]any{report("ATTESTATION_KEY_COMPROMISE", "certificate", inDER(batch))}, want: factors.Withdrawn},
		"other compromised":      {reports: []map[string]any{report("ATTESTATION_KEY_COMPROMISE", "certificate", inDER(stranger.authority))}},
		"all compromised":        {reports: []map[string]any{report("ATTESTATION_KEY_COMPROMISE")}, want: factors.Withdrawn},
		"revoked from next week": {reports: []map[string]any{report("REVOKED", "effectiveDate", "2026-03-08")}},
		"revoked till last week": {reports: []map[string]any{report("REVOKED", "sunsetDate", "2026-02-22")}},
		"just as certified":      {policy: Attestation{Level: 3}, reports: []map[string]any{report("FIDO_CERTIFIED_L2")}},
		"certified higher":       {policy: Attestation{Level: 3}, reports: []map[string]any{report("FIDO_CERTIFIED_L3plus"), report("UPDATE_AVAILABLE")}},
		"certified lower":        {policy: Attestation{Level: 3}, reports: []map[string]any{report("FIDO_CERTIFIED_L1plus")}, want: factors.Uncertified},
		"certified as of old":    {policy: Attestation{Level: 1}, reports: []map[string]any{report("FIDO_CERTIFIED")}, want: factors.Uncertified},
		"certified no more":      {policy: Attestation{Level: 1}, reports: []map[string]any{report("FIDO_CERTIFIED_L2"), report("NOT_FIDO_CERTIFIED")}, want: factors.Uncertified},
		"certified till then":    {policy: Attestation{Level: 1}, reports: []map[string]any{report("FIDO_CERTIFIED_L2", "sunsetDate", "2026-02-22")}, want: factors.Uncertified},
		"never certified":        {policy: Attestation{Level: 1}, reports: []map[string]any{}, want: factors.Uncertified},
	} {
		t.Run(what, func(t *testing.T) {
			c.policy.Metadata = newPublisher(t).read(entry(one, c.reports...))
			if c.attest == nil {
				c.attest = func(*forger) statement { return packed(batch) }
			}
			d, f := strictDesk(t, c.policy), forge(t, algES256)
			asked, state := d.begin(alice)
			got := d.checkEnrolment(alice, state, f.attest(t, asked, one.model, c.attest(f)))
			if c.want == "" {
				d.keep(new(key), got)
				return
			}
			d.expectNotEnrolled(what, got, c.want)
			if want := (factors.Model{ID: modelOne, Name: "Test Key One"}); !got.Barred || got.Model != want {
				t.Errorf("%+v", got)
			}
		})
	}
}

// TestUnlistedModels shows authenticators of which the metadata knows nothing.
func TestUnlistedModels(t *testing.T) {
	known := newPublisher(t).read(entry(newMaker(t, modelOne)))
	for _, model := range []string{modelTwo, uuid.Nil.String()} {
		m := newMaker(t, model)
		d, f := strictDesk(t, Attestation{Metadata: known}), forge(t, algES256)
		asked, state := d.begin(alice)
		got := d.checkEnrolment(alice, state, f.attest(t, asked, m.model, packed(m.batch())))
		d.expectNotEnrolled(model, got, factors.Unlisted)
		if !got.Barred || got.Model.Name != "" {
			t.Errorf("%+v", got)
		}
	}
}

// TestAttestationThatIsWrong holds that a signature which is wrong is a wrong
// answer, whatever model it is said to be of.
func TestAttestationThatIsWrong(t *testing.T) {
	one := newMaker(t, modelOne)
	d := strictDesk(t, Attestation{Metadata: newPublisher(t).read(entry(one)), Deny: []uuid.UUID{one.model}})
	batch := one.batch()
	for what, attest := range map[string]statement{
		"signed of something else": func(authData, _ []byte) (string, any) {
			return packed(batch)(authData, []byte("something else"))
		},
		"signed by another key": func(authData, hash []byte) (string, any) {
			format, made := packed(one.batch())(authData, hash)
			made.(map[string]any)["x5c"] = []any{batch.cert.Raw}
			return format, made
		},
		"a format that nobody knows":  func([]byte, []byte) (string, any) { return "abacus", map[string]any{} },
		"another model's certificate": packed(newMaker(t, modelTwo).batch()),
	} {
		f := forge(t, algES256)
		asked, state := d.begin(alice)
		got := d.checkEnrolment(alice, state, f.attest(t, asked, one.model, attest))
		if d.expectNotEnrolled(what, got, factors.Wrong); got.Barred {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

// TestWithoutAttestation enrols what proves itself, and what doesn't, where
// nobody asks: nothing is made of it.
func TestWithoutAttestation(t *testing.T) {
	m := newMaker(t, "ee882879-721c-4913-9775-3dfcce97072a")
	d := newDesk(t)
	for what, attest := range map[string]statement{"none": none, "packed": packed(m.batch())} {
		asked, state := d.begin(alice)
		got := d.checkEnrolment(alice, state, forge(t, algES256).attest(t, asked, m.model, attest))
		if !got.Accepted() || got.Model.Name != "YubiKey 5" {
			t.Errorf("%s: %+v", what, got)
		}
	}
}

func TestReadMetadata(t *testing.T) {
	m, p := newMaker(t, modelOne), newPublisher(t)
	good := p.publish(entry(m), "no entry", map[string]any{"aaguid": "no AAGUID"}, map[string]any{"aaid": "1234#5678", "timeOfLastStatusChange": "2024-01-01"})
	known, err := ReadMetadata(append(good, '\n'), p.root.cert, noon)
	if err != nil || known.Unread != 2 || len(known.entries) != 1 || known.NextUpdate.Format(time.DateOnly) != "2026-04-01" {
		t.Fatalf("%+v, %v", known, err)
	}
	parts := strings.Split(string(good), ".")
	altered := parts[0] + "." + base64URL(encoded(t, map[string]any{"nextUpdate": "2026-04-01", "entries": []any{entry(m)}})) + "." + parts[2]
	alone, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.ES256, Key: p.signer.key}, nil)
	if err != nil {
		t.Fatal(err)
	}
	bare, err := alone.Sign([]byte(`{"nextUpdate":"2026-04-01"}`))
	if err != nil {
		t.Fatal(err)
	}
	withoutChain, err := bare.CompactSerialize()
	if err != nil {
		t.Fatal(err)
	}
	expired := *p
	expired.signer = p.root.sign(t, &x509.Certificate{Subject: pkix.Name{CommonName: "Signer"}, NotBefore: certainly, NotAfter: noon.Add(-time.Hour)})
	later, sooner := p.publish(), expired.publish(entry(m))
	undated := *p
	undated.nextUpdate = "soon"
	for what, c := range map[string]struct {
		blob []byte
		root *x509.Certificate
		want string
	}{
		"nothing":              {nil, p.root.cert, "a signed BLOB"},
		"garbage":              {[]byte("garbage"), p.root.cert, "a signed BLOB"},
		"algorithm none":       {[]byte(base64URL([]byte(`{"alg":"none"}`)) + "." + parts[1] + "."), p.root.cert, "a signed BLOB"},
		"altered":              {[]byte(altered), p.root.cert, "its signature is wrong"},
		"another root":         {good, newAuthority(t, "Root of metadata").cert, "its signer isn't trusted"},
		"FIDO's root":          {good, nil, "its signer isn't trusted"},
		"without a chain":      {[]byte(withoutChain), p.root.cert, "its signer isn't trusted"},
		"by an expired signer": {sooner, p.root.cert, "its signer isn't trusted"},
		"without a date":       {undated.publish(entry(m)), p.root.cert, "when another follows it"},
		"without entries":      {later, p.root.cert, "no entry"},
	} {
		if known, err := ReadMetadata(c.blob, c.root, noon); err == nil || known != nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %+v, %v; want %s", what, known, err, c.want)
		}
	}
}

// TestOldMetadata reads a BLOB whose signer was right in its time.
func TestOldMetadata(t *testing.T) {
	m, p := newMaker(t, modelOne), newPublisher(t)
	p.signer = p.root.sign(t, &x509.Certificate{
		Subject: pkix.Name{CommonName: "Signer"}, NotBefore: certainly, NotAfter: noon.AddDate(0, -1, 0),
	})
	p.nextUpdate = noon.AddDate(0, -2, 0).Format(time.DateOnly)
	if _, err := ReadMetadata(p.publish(entry(m)), p.root.cert, noon); err != nil {
		t.Error(err)
	}
}

func TestFIDOsRoot(t *testing.T) {
	options, err := trust(nil, noon)
	if err != nil || options.DNSName != "mds.fidoalliance.org" || options.Roots.Equal(x509.NewCertPool()) {
		t.Errorf("%+v, %v", options, err)
	}
}

func TestReadRoot(t *testing.T) {
	root := newAuthority(t, "Root").cert
	for what, content := range map[string][]byte{
		"DER": root.Raw, "PEM": pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: root.Raw}),
	} {
		if got, err := ReadRoot(content); err != nil || !got.Equal(root) {
			t.Errorf("%s: %v", what, err)
		}
	}
	if _, err := ReadRoot([]byte("garbage")); err == nil {
		t.Error("garbage is a certificate")
	}
}

func TestModels(t *testing.T) {
	for id, name := range models {
		if parsed, err := ParseAAGUID(id); err != nil || parsed.String() != id || name == "" || name != cleaned(name) {
			t.Errorf("%s: %s", id, name)
		}
	}
	f := newDesk(t).factor
	for id, want := range map[string]string{
		"2fc0579f-8113-47ea-b116-bb5a8db9202a": "YubiKey 5 with NFC",
		"fbfc3007-154e-4ecc-8c0b-6e020557d7bd": "iCloud Keychain",
		"08987058-cadc-4b81-b6e1-30de50dcbe96": "Windows Hello",
		"ea9b8d66-4d01-1d21-3ce4-b6b48cb575d4": "Google Password Manager",
		"bada5566-a7aa-401f-bd96-45619a55120d": "1Password",
		modelOne:                               "",
		uuid.Nil.String():                      "",
	} {
		parsed := uuid.MustParse(id)
		if got := f.model(parsed[:]).Name; got != want {
			t.Errorf("%s is called %q", id, got)
		}
	}
	if got := f.model(nil); got != (factors.Model{}) {
		t.Errorf("nothing is called %+v", got)
	}
	if got := cleaned(strings.Repeat("ä ", 100)); len([]rune(got)) > maxModel || strings.HasSuffix(got, " ") {
		t.Errorf("a long name becomes %q", got)
	}
}

func TestLevels(t *testing.T) {
	for _, text := range []string{"", "l1", "L4", "2", "FIDO_CERTIFIED_L1"} {
		if level, err := ParseLevel(text); err == nil {
			t.Errorf("%q is level %d", text, level)
		}
	}
	for _, text := range []string{"", modelOne[1:], "{" + modelOne + "}", "urn:uuid:" + modelOne, strings.ReplaceAll(modelOne, "-", "")} {
		if id, err := ParseAAGUID(text); err == nil {
			t.Errorf("%q is AAGUID %s", text, id)
		}
	}
}
