package devices_test

import (
	"crypto/elliptic"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/asn1"
	"errors"
	"math/big"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/devices"
)

// weekly is a list as CAs make them: good for a week.
func weekly(number int64) x509.RevocationList {
	return x509.RevocationList{Number: big.NewInt(number), ThisUpdate: today, NextUpdate: today.AddDate(0, 0, 7)}
}

// unsound are lists that mustn't be put in force, by what is wrong with them.
func (p *published) unsound() map[string]struct {
	content []byte
	want    string
} {
	p.t.Helper()
	like := func(change func(*x509.RevocationList)) []byte {
		template := weekly(2)
		change(&template)
		return p.listLike(template, p.intermediate, p.key)
	}
	extended := func(number int, critical bool) []byte {
		return like(func(l *x509.RevocationList) {
			l.ExtraExtensions = []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, number}, Critical: critical, Value: []byte{2, 1, 1}}}
		})
	}
	entry := func(number int) []byte {
		return like(func(l *x509.RevocationList) {
			l.RevokedCertificateEntries = []x509.RevocationListEntry{{
				SerialNumber: big.NewInt(7), RevocationTime: today,
				ExtraExtensions: []pkix.Extension{{Id: asn1.ObjectIdentifier{2, 5, 29, number}, Value: []byte{0x30, 0}}},
			}}
		})
	}
	stranger := ecKey(p.t, elliptic.P256())
	namesake := p.authority("Intermediate", time.Hour, stranger, p.root, p.rootKey)
	foreverAhead := weekly(2)
	foreverAhead.ThisUpdate, foreverAhead.NextUpdate = today.AddDate(50, 0, 0), today.AddDate(51, 0, 0)
	long := weekly(2)
	long.NextUpdate = today.AddDate(50, 0, 0)
	weak := rsaKey(p.t, 1024)
	weakNamesake := p.authority("Intermediate", time.Hour, weak, p.root, p.rootKey)
	return map[string]struct {
		content []byte
		want    string
	}{
		"unsigned":                  {p.listLike(weekly(2), namesake, stranger), "isn't signed by that CA"},
		"unsigned, dated ahead":     {p.listLike(foreverAhead, namesake, stranger), "dated in the future"},
		"unsigned, good for long":   {p.listLike(long, namesake, stranger), "isn't signed by that CA"},
		"unsigned, with a weak key": {p.listLike(weekly(2), weakNamesake, weak), "isn't signed by that CA"},
		"dated in the future":       {like(func(l *x509.RevocationList) { l.ThisUpdate = today.Add(6 * time.Minute) }), "dated in the future"},
		"overdue": {like(func(l *x509.RevocationList) {
			l.ThisUpdate, l.NextUpdate = today.AddDate(0, 0, -2), today.Add(-25*time.Hour)
		}), "was due"},
		"signed with SHA-1":                     {like(func(l *x509.RevocationList) { l.SignatureAlgorithm = x509.ECDSAWithSHA1 }), "forged"},
		"a delta that isn't marked critical":    {extended(27, false), "complete"},
		"of a scope that isn't marked critical": {extended(28, false), "complete"},
		"of a newer scope":                      {extended(44, false), "complete"},
		"that refers to others":                 {extended(45, false), "complete"},
		"of a newer delta":                      {extended(51, false), "complete"},
		"of groups":                             {extended(59, false), "complete"},
		"with an unknown critical extension":    {extended(200, true), "complete"},
		"of another CA's certificates":          {entry(29), "complete"},
		"garbage":                               {[]byte("garbage"), "a revocation list"},
		"nothing":                               {nil, "a revocation list"},
	}
}

// TestC05UnsoundListsAreRefused holds that a list has to pass the same checks
// when the file is read at first and when it is replaced later, and that what was
// in force stays so, and can be followed.
func TestC05UnsoundListsAreRefused(t *testing.T) {
	for name, test := range newPublished(t).unsound() {
		t.Run(name, func(t *testing.T) {
			p := newPublished(t)
			test = p.unsound()[name]
			p.known = []*x509.Certificate{p.intermediate, p.root}
			p.publish(test.content)
			if r, err := p.open(); r != nil || err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("at first: %v", err)
			}
			p.replacing(test.content, test.want)
		})
	}
}

// replacing puts an unsound list in place of a good one, and then a better one.
func (p *published) replacing(content []byte, want string) {
	p.t.Helper()
	r := p.mustOpen(p.listLike(weekly(1), p.intermediate, p.key, p.chain[0]))
	if err := r.Check(p.chain); !errors.Is(err, devices.ErrRevoked) || p.looked != nil {
		p.t.Fatalf("%v, %v", err, p.looked)
	}
	p.now = p.now.Add(2 * time.Second)
	p.publish(content)
	if err := r.Check(p.chain); !errors.Is(err, devices.ErrRevoked) {
		p.t.Errorf("replaced while running: %v", err)
	}
	if p.looked == nil || !strings.Contains(p.looked.Error(), want) || len(p.warnings) != 1 || !strings.Contains(p.warnings[0], want) {
		p.t.Errorf("told of %v, warned of %q", p.looked, p.warnings)
	}
	p.now = p.now.Add(2 * time.Second)
	p.publish(p.listLike(weekly(3), p.intermediate, p.key))
	if err := r.Check(p.chain); err != nil || p.looked != nil {
		p.t.Errorf("followed by a better one: %v, told of %v", err, p.looked)
	}
}

// TestC05UnsignedListsOfACAThatIsSeen has the CA of a list known by nothing but
// the chains that devices showed.
func TestC05UnsignedListsOfACAThatIsSeen(t *testing.T) {
	p := newPublished(t)
	p.known = []*x509.Certificate{p.root}
	p.replacing(p.unsound()["unsigned"].content, "isn't signed by that CA")
}

// TestC05UnsignedListsBindNobody reads lists whose CA isn't known, and has the
// right ones follow though they are older, and though one is missing then.
func TestC05UnsignedListsBindNobody(t *testing.T) {
	p := newPublished(t)
	p.known = []*x509.Certificate{p.root}
	stranger := ecKey(t, elliptic.P256())
	later := weekly(2)
	later.ThisUpdate, later.NextUpdate = today.Add(time.Minute), today.AddDate(50, 0, 0)
	for _, name := range []string{"Intermediate", "Foreign"} {
		t.Run(name, func(t *testing.T) {
			p.now = today
			r := p.mustOpen(p.listLike(later, p.authority(name, time.Hour, stranger, p.root, p.rootKey), stranger))
			if err := r.Check(p.chain); err == nil || errors.Is(err, devices.ErrRevoked) {
				t.Fatalf("the stranger's: %v", err)
			}
			p.now = p.now.Add(2 * time.Second)
			p.publish(p.list(p.intermediate, p.key))
			if err := r.Check(p.chain); err != nil || p.looked != nil {
				t.Errorf("the right one: %v, %v", err, p.looked)
			}
		})
	}
}

func TestL01ListsAreReadFromRegularFiles(t *testing.T) {
	p := newPublished(t)
	if err := syscall.Mkfifo(p.path, 0o600); err != nil {
		t.Skip("NOT TESTED: named pipes can't be made here:", err)
	}
	if _, err := p.open(); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("a pipe: %v", err)
	}
	if err := errors.Join(os.Remove(p.path), os.Mkdir(p.path, 0o700)); err != nil {
		t.Fatal(err)
	}
	if _, err := p.open(); err == nil || !strings.Contains(err.Error(), "regular") {
		t.Errorf("a folder: %v", err)
	}
}

// TestC02RevokedIntermediates revokes CAs that stand above the one at which the
// chain ends, since that is trusted itself.
func TestC02RevokedIntermediates(t *testing.T) {
	p := newPublished(t)
	lowKey := ecKey(t, elliptic.P256())
	low := p.authority("Low", time.Hour, lowKey, p.intermediate, p.key)
	leaf := sprout(t, &branch{low, lowKey}, template("laptop", false), ecKey(t, elliptic.P256())).certificate
	stranger := ecKey(t, elliptic.P256())
	namesake := p.authority("Root", time.Hour, stranger, nil, stranger)
	asText := func(lists ...[]byte) (text []byte) {
		for _, der := range lists {
			text = append(text, asPEM("X509 CRL", der)...)
		}
		return text
	}
	own := p.list(p.intermediate, p.key)
	ofLow := p.list(low, lowKey)
	takenBack := p.list(p.root, p.rootKey, p.intermediate)
	short, deep := []*x509.Certificate{p.chain[0], p.intermediate}, []*x509.Certificate{leaf, low}
	tests := []struct {
		name    string
		chain   []*x509.Certificate
		known   []*x509.Certificate
		content []byte
		want    string // "": not revoked
	}{
		{"none", short, []*x509.Certificate{p.intermediate, p.root}, asText(own, p.list(p.root, p.rootKey)), ""},
		{"the anchor", short, []*x509.Certificate{p.intermediate, p.root}, asText(own, takenBack), "revoked"},
		{"the anchor, in a list that the root didn't sign", short, []*x509.Certificate{p.intermediate}, asText(own, p.list(namesake, stranger, p.intermediate)), "can't be checked"},
		{"the anchor, of a root that isn't known", short, []*x509.Certificate{p.intermediate}, asText(own, takenBack), "can't be checked"},
		{"another, of a root that isn't known", short, []*x509.Certificate{p.intermediate}, asText(own, p.list(p.root, p.rootKey, low)), ""},
		{"no list of the root", short, []*x509.Certificate{p.intermediate, p.root}, own, ""},
		{"above the anchor", deep, []*x509.Certificate{low, p.root, p.intermediate}, asText(ofLow, own, takenBack), "revoked"},
		{"the anchor, by one that isn't a root", deep, []*x509.Certificate{low, p.root, p.intermediate}, asText(ofLow, p.list(p.intermediate, p.key, low)), "revoked"},
		{"between, in a whole chain", []*x509.Certificate{leaf, low, p.intermediate, p.root}, []*x509.Certificate{p.root}, asText(ofLow, takenBack), "revoked"},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			p.known = test.known
			err := p.mustOpen(test.content).Check(test.chain)
			if (err == nil) != (test.want == "") || err != nil && !strings.Contains(err.Error(), test.want) || errors.Is(err, devices.ErrRevoked) != (test.want == "revoked") {
				t.Errorf("got %v", err)
			}
		})
	}
	t.Run("as a device shows it", func(t *testing.T) {
		p.known = []*x509.Certificate{p.intermediate, p.root}
		roots := pool(p.known...)
		r := devices.NewReader(devices.Trust{{
			Anchors: func() *x509.CertPool { return roots }, Owners: devices.Mapping{}, Revocations: p.mustOpen(asText(own, takenBack)),
		}}, allKnown{}, nil, func() time.Time { return p.now })
		for _, shown := range [][]*x509.Certificate{p.chain[:1], p.chain[:2], p.chain} {
			if _, err := r.Read(t.Context(), slices.Clone(shown), time.Minute); err == nil || !strings.Contains(err.Error(), "revoked") {
				t.Errorf("a chain of %d: %v", len(shown), err)
			}
		}
	})
}
