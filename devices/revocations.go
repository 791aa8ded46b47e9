package devices

import (
	"bytes"
	"crypto/x509"
	"encoding/asn1"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/portcullis-mfa/portcullis/store"
)

const (
	// lookAgain is how often a file of revocations is looked at for changes.
	lookAgain = time.Second
	// overdue is for how long a list is still believed when the next one should
	// have been there: a day lets a person mend what keeps it away.
	overdue = 24 * time.Hour
	// failAgain is how far apart attempts are to read a file that couldn't be put
	// in force.
	failAgain = time.Minute
	// warnAgain is how far apart warnings of one kind are.
	warnAgain = time.Hour
	// maxRevocations bounds such a file in bytes.
	maxRevocations = 64 << 20
)

var (
	// ErrRevoked says that the CA of a certificate took it back.
	ErrRevoked = errors.New("the certificate is revoked by its CA")
	// errOutdated says that a list is too old to tell.
	errOutdated = errors.New("the revocation list is out of date")
	// errNotListed says that no list of the CA is there.
	errNotListed = errors.New("there is no revocation list of the certificate's CA")
)

// Revocations is what CAs say of certificates that they took back: the
// revocation lists (RFC 5280 §5) in a file, one in DER form or any number in
// PEM form. It is safe for concurrent use.
//
// The file is read again when it changes. One that can't be read then, holds
// something else, is older than before, or lacks a list that was there and is in
// date, leaves in force what was read last, and is told of; so is a list whose
// next one is due. A day after that the list tells nothing any more, and no
// certificate of its CA counts: that is told of when one comes.
type Revocations struct {
	path  string
	clock func() time.Time
	warn  func(message string, err error)

	current atomic.Pointer[Lists]
	reading sync.Mutex
	looked  atomic.Int64 // when the file was looked at, in Unix nanoseconds
	state   fileState    // of the file as it was read last, under reading
	failed  failedRead   // the last one, where it came to nothing, under reading

	ofFile, ofCertificate warning
}

// warning is one that is given once an hour at most.
type warning struct {
	mu    sync.Mutex
	given time.Time
}

func (w *warning) isDue(now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if isWithin(warnAgain, w.given, now) {
		return false
	}
	w.given = now
	return true
}

// fileState tells a changed file.
type fileState struct {
	modified time.Time
	size     int64
}

// failedRead is a file that couldn't be put in force. It isn't read with each
// look until it changes, but now and then, since the lists in force, which it has
// to follow, run out.
type failedRead struct {
	state fileState
	at    time.Time
	err   error
}

// OpenRevocations reads the lists in a file, which have to be complete, and
// overdue by no more than they are believed. It warns, of that and of what comes
// up later, once an hour at most.
func OpenRevocations(path string, clock func() time.Time, warn func(message string, err error)) (*Revocations, error) {
	r := &Revocations{path: path, clock: clock, warn: warn}
	if err := r.read(); err != nil {
		return nil, err
	}
	now := clock()
	if err := r.current.Load().inDate(now.Add(-overdue)); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	r.warnOfOverdue(now)
	r.looked.Store(now.UnixNano())
	return r, nil
}

// SignedBy returns an error for a list that bears the name of one of the CAs and
// the signature of none of them. Lists of other CAs, which may stand between
// those and the devices, are left to Check.
func (r *Revocations) SignedBy(cas []*x509.Certificate) error {
	for name, ofOne := range r.current.Load().byIssuer {
		called := slices.DeleteFunc(slices.Clone(cas), func(ca *x509.Certificate) bool { return string(ca.RawSubject) != name })
		for _, one := range ofOne {
			if len(called) > 0 && !slices.ContainsFunc(called, func(ca *x509.Certificate) bool { return one.signedBy(ca) == nil }) {
				return fmt.Errorf("the list of %s isn't signed by that CA", one.Issuer)
			}
		}
	}
	return nil
}

// Check returns nil for a verified chain, from the device's certificate to the
// anchor, of which no certificate is revoked; else ErrRevoked. Every other
// error means that nothing can be told of it, which is not to be read as "not
// revoked": there is no list of the CA, or it is signed by another, or is a day
// overdue; a warning says so. Of the CAs above the one that issued to the device
// lists may be missing.
func (r *Revocations) Check(chain []*x509.Certificate) error {
	now := r.clock()
	r.look(now)
	err := r.current.Load().checkChain(chain, now)
	if err != nil && !errors.Is(err, ErrRevoked) && r.ofCertificate.isDue(now) {
		r.warn("a certificate doesn't count, since nothing tells whether its CA took it back", err)
	}
	return err
}

func (l *Lists) checkChain(chain []*x509.Certificate, now time.Time) error {
	if len(chain) < 2 {
		return errNotListed
	}
	for i, certificate := range chain[:len(chain)-1] {
		err := l.check(certificate, chain[i+1], now)
		switch {
		case errors.Is(err, errNotListed) && i > 0:
		case errors.Is(err, errNotListed):
			return fmt.Errorf("%w: %s", err, certificate.Issuer)
		case err != nil:
			return err
		}
	}
	return nil
}

// look reads the file again if it has changed. Who comes meanwhile goes on with
// what is known.
func (r *Revocations) look(now time.Time) {
	if since := now.UnixNano() - r.looked.Load(); since >= 0 && since < int64(lookAgain) || !r.reading.TryLock() {
		return
	}
	defer r.reading.Unlock()
	r.looked.Store(now.UnixNano())
	if err := r.readIfChanged(now); err == nil {
		r.warnOfOverdue(now)
	} else if r.ofFile.isDue(now) {
		r.warn("reading the revocation lists again: those read before stay in force", err)
	}
}

func (r *Revocations) warnOfOverdue(now time.Time) {
	if err := r.current.Load().inDate(now); err != nil && r.ofFile.isDue(now) {
		r.warn("a revocation list is overdue: a day later no certificate of its CA counts", err)
	}
}

func (r *Revocations) readIfChanged(now time.Time) error {
	info, err := os.Stat(r.path)
	if err != nil {
		return err
	}
	state := fileState{info.ModTime(), info.Size()}
	switch {
	case r.state == state:
		return nil
	case r.failed.state == state && isWithin(failAgain, r.failed.at, now):
		return r.failed.err
	}
	err = r.read()
	r.failed = failedRead{state, now, err}
	return err
}

// read puts what is in the file in force, if all of it is sound.
func (r *Revocations) read() error {
	file, err := os.Open(r.path)
	if err != nil {
		return err
	}
	defer file.Close()
	info, err := file.Stat()
	if err != nil {
		return err
	}
	content, err := io.ReadAll(io.LimitReader(file, maxRevocations+1))
	if err != nil {
		return err
	}
	if len(content) > maxRevocations {
		return fmt.Errorf("%s is larger than %d MiB", r.path, maxRevocations>>20)
	}
	read, err := parseLists(content)
	if err == nil {
		err = read.follow(r.current.Load(), r.clock())
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.path, err)
	}
	r.state = fileState{info.ModTime(), info.Size()}
	r.current.Store(read)
	return nil
}

// Current returns the lists that are in force, the same until they change.
func (r *Revocations) Current() *Lists {
	r.look(r.clock())
	return r.current.Load()
}

// Lists are the revocation lists of a file.
type Lists struct {
	byIssuer map[string][]*list // by the name of the CA that they are of (DER)
}

// Name reports whether a list that bears the name of a device's issuer names the
// device, whoever signed the list: Check alone knows the CA of a certificate,
// and the CAs above it.
func (l *Lists) Name(d store.Device) bool {
	serial, err := hex.DecodeString(d.Serial)
	if err != nil {
		return false
	}
	for _, ofOne := range l.byIssuer {
		if slices.ContainsFunc(ofOne, func(one *list) bool { return one.issuer == d.Issuer && one.revoked[string(serial)] }) {
			return true
		}
	}
	return false
}

// list is one revocation list.
type list struct {
	*x509.RevocationList
	issuer  string          // IssuerName
	revoked map[string]bool // by serial number
	// signed remembers by which certificates of CAs the signature was found good
	// or bad: it is checked once for each.
	signed sync.Map // Fingerprint to error
}

// parseLists reads what is in a file: at least one list, and nothing else.
func parseLists(content []byte) (*Lists, error) {
	all, err := encodedLists(content)
	if err != nil {
		return nil, err
	}
	read := &Lists{byIssuer: make(map[string][]*list)}
	for _, der := range all {
		one, err := parseList(der)
		if err != nil {
			return nil, err
		}
		read.byIssuer[string(one.RawIssuer)] = append(read.byIssuer[string(one.RawIssuer)], one)
	}
	return read, nil
}

// encodedLists takes the lists out of their PEM form, if they are in it.
func encodedLists(content []byte) ([][]byte, error) {
	begin := []byte("-----BEGIN")
	if !bytes.Contains(content, begin) {
		return [][]byte{content}, nil
	}
	var all [][]byte
	for {
		block, rest := pem.Decode(content)
		switch {
		case block == nil && bytes.Contains(content, begin):
			return nil, errors.New("it ends in the middle of a list")
		case block == nil:
			return all, nil
		case block.Type != "X509 CRL":
			return nil, fmt.Errorf("it holds a %s, where revocation lists belong", block.Type)
		}
		all, content = append(all, block.Bytes), rest
	}
}

func parseList(der []byte) (*list, error) {
	parsed, err := x509.ParseRevocationList(der)
	if err != nil {
		return nil, fmt.Errorf("this is no revocation list: %w", err)
	}
	if len(parsed.Raw) != len(der) {
		return nil, errors.New("there is no revocation list alone in it: something follows the list")
	}
	if parsed.NextUpdate.IsZero() {
		return nil, fmt.Errorf("the list of %s doesn't say when the next one is due", parsed.Issuer)
	}
	// What is critical and not understood forbids the use of a list (RFC 5280
	// §5.2): it covers a part of the certificates only, or those of other CAs.
	for _, extension := range parsed.Extensions {
		if extension.Critical {
			return nil, incomplete(parsed, extension.Id)
		}
	}
	one := &list{
		RevocationList: parsed, issuer: IssuerName(parsed.Issuer),
		revoked: make(map[string]bool, len(parsed.RevokedCertificateEntries)),
	}
	for _, entry := range parsed.RevokedCertificateEntries {
		for _, extension := range entry.Extensions {
			if extension.Critical {
				return nil, incomplete(parsed, extension.Id)
			}
		}
		one.revoked[string(entry.SerialNumber.Bytes())] = true
	}
	return one, nil
}

func incomplete(parsed *x509.RevocationList, extension asn1.ObjectIdentifier) error {
	return fmt.Errorf("the list of %s has the critical extension %s: only complete lists of one CA's own certificates are understood", parsed.Issuer, extension)
}

// inDate tells of a list whose next one should be there.
func (l *Lists) inDate(now time.Time) error {
	for _, ofOne := range l.byIssuer {
		if newest := newestOf(ofOne); now.After(newest.NextUpdate) {
			return fmt.Errorf("%w: the next one of %s was due at %s", errOutdated, newest.Issuer, newest.NextUpdate.Format(time.RFC3339))
		}
	}
	return nil
}

// follow refuses lists that are older than those in force, or lack one of those
// that is in date: what they revoke would be let in again.
func (l *Lists) follow(inForce *Lists, now time.Time) error {
	if inForce == nil {
		return nil
	}
	for name, before := range inForce.byIssuer {
		if err := followOne(l.byIssuer[name], before, now); err != nil {
			return err
		}
	}
	return nil
}

// followOne is follow for the lists of one CA.
func followOne(lists, inForce []*list, now time.Time) error {
	if len(lists) == 0 {
		if newest := newestOf(inForce); !now.After(newest.NextUpdate) {
			return fmt.Errorf("the list of %s is missing, and the one that was read before is good until %s", newest.Issuer, newest.NextUpdate.Format(time.RFC3339))
		}
		return nil
	}
	for _, before := range inForce {
		if !slices.ContainsFunc(lists, func(one *list) bool { return !one.ThisUpdate.Before(before.ThisUpdate) }) {
			return fmt.Errorf("the list of %s is older than the one of %s that was read before", before.Issuer, before.ThisUpdate.Format(time.RFC3339))
		}
	}
	return nil
}

func newestOf(ofOne []*list) *list {
	return slices.MaxFunc(ofOne, func(a, b *list) int { return a.NextUpdate.Compare(b.NextUpdate) })
}

// check looks for a certificate in the lists that its issuer signed.
func (l *Lists) check(certificate, issuer *x509.Certificate, now time.Time) error {
	var ofIssuer []*list
	unsigned := errNotListed
	for _, one := range l.byIssuer[string(certificate.RawIssuer)] {
		if err := one.signedBy(issuer); err != nil {
			unsigned = fmt.Errorf("checking the signature of a revocation list: %w", err)
			continue
		}
		if one.revoked[string(certificate.SerialNumber.Bytes())] {
			return ErrRevoked
		}
		ofIssuer = append(ofIssuer, one)
	}
	if len(ofIssuer) == 0 {
		return unsigned
	}
	if newest := newestOf(ofIssuer); now.After(newest.NextUpdate.Add(overdue)) {
		return fmt.Errorf("%w: the next one of %s was due at %s", errOutdated, newest.Issuer, newest.NextUpdate.Format(time.RFC3339))
	}
	return nil
}

func (l *list) signedBy(issuer *x509.Certificate) error {
	id := Fingerprint(issuer)
	if known, found := l.signed.Load(id); found {
		err, _ := known.(error)
		return err
	}
	err := l.CheckSignatureFrom(issuer)
	l.signed.Store(id, err)
	return err
}
