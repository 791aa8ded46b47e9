package devices

import (
	"bytes"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"slices"
	"sync"
	"sync/atomic"
	"time"
)

const (
	// lookAgain is how often a file of revocations is looked at for changes.
	lookAgain = time.Second
	// overdue is for how long a list is still believed when the next one should
	// have been there: a day lets a person mend what keeps it away.
	overdue = 24 * time.Hour
	// ahead is by how much the clock of a CA may be fast.
	ahead = 5 * time.Minute
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
	errNotListed = errors.New("there is no revocation list from the certificate's CA")
)

// Revocations is what CAs say of certificates that they took back: the
// revocation lists (RFC 5280 §5) in a file, one in DER form or any number in
// PEM form. It is safe for concurrent use.
//
// The file is read again when it changes, and then has to pass every check that
// it had to pass at first. One that doesn't, is older than before, or lacks a
// list that was there and is in date, leaves in force what was read last, and is
// told of; so is a list whose next one is due. A day after that the list tells
// nothing any more, and no certificate of its CA counts: that is told of when one
// comes.
type Revocations struct {
	RevocationFile

	current atomic.Pointer[Lists]
	reading sync.Mutex
	looked  atomic.Int64 // when the file was looked at, in Unix nanoseconds
	state   fileState    // of the file as it was read last, under reading
	failed  failedRead   // the last one, where it came to nothing, under reading

	ofFile, ofCertificate warning
}

// RevocationFile says where revocation lists are, and who is told of them.
type RevocationFile struct {
	Path string
	// CAs are those whose certificates are known beforehand; nil: none. A list
	// that bears the name of one of them has to be signed by it.
	CAs   []*x509.Certificate
	Clock func() time.Time
	// Warn is told of what keeps certificates from counting, or will.
	Warn func(message string, err error)
	// Looked is told, each time that the file is looked at, why what is in it
	// isn't in force; nil: it is. May be nil itself.
	Looked func(err error)
}

// warning is one that is given once an hour at most, or when it is about
// something else.
type warning struct {
	mu    sync.Mutex
	given time.Time
	about string
}

func (w *warning) isDue(about string, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.about == about && isWithin(warnAgain, w.given, now) {
		return false
	}
	w.given, w.about = now, about
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

// OpenRevocations reads the lists in a file. They have to be complete, signed
// with an algorithm that can't be forged, dated no later than now, overdue by no
// more than they are believed, and signed by their CA where that is known.
func OpenRevocations(file RevocationFile) (*Revocations, error) {
	if file.Looked == nil {
		file.Looked = func(error) {}
	}
	r := &Revocations{RevocationFile: file}
	if err := r.read(); err != nil {
		return nil, err
	}
	now := r.Clock()
	r.warnOfOverdue(now)
	r.looked.Store(now.UnixNano())
	r.Looked(nil)
	return r, nil
}

// Check returns nil for a verified chain, from the device's certificate to the
// anchor, of which no certificate is revoked; else ErrRevoked. Every other
// error means that nothing can be told of it, which is not to be read as "not
// revoked": there is no list of the CA, or it is signed by another, or is a day
// overdue; a warning says so. Of the CAs above the one that issued to the device
// lists may be missing.
//
// An anchor that another CA signed is asked about as well, and so are those above
// it that are known: an operator may trust an intermediate beside its root.
func (r *Revocations) Check(chain []*x509.Certificate) error {
	return r.check(r.pathOf(chain))
}

// link is a certificate that can be revoked and who signed it; nil: a CA that
// isn't known.
type link struct{ certificate, issuer *x509.Certificate }

// path is all that can be revoked of what vouches for a device, its own
// certificate first. To find it takes checking signatures, so it is kept.
type path []link

// pathOf returns the path of a verified chain.
func (r *Revocations) pathOf(chain []*x509.Certificate) path {
	if len(chain) < 2 {
		return nil
	}
	var made path
	for i, certificate := range chain[:len(chain)-1] {
		made = append(made, link{certificate, chain[i+1]})
	}
	seen, next := slices.Clone(chain), chain[len(chain)-1:]
	for len(next) > 0 {
		certificate := next[0]
		issuers := r.issuersOf(certificate)
		next = slices.Clone(next[1:])
		switch {
		case isSelfSigned(certificate):
			continue
		case len(issuers) == 0:
			made = append(made, link{certificate, nil})
		}
		for _, issuer := range issuers {
			made = append(made, link{certificate, issuer})
			if !slices.ContainsFunc(seen, issuer.Equal) {
				seen, next = append(seen, issuer), append(next, issuer)
			}
		}
	}
	return made
}

// issuersOf returns the known CAs that signed a certificate.
func (r *Revocations) issuersOf(certificate *x509.Certificate) []*x509.Certificate {
	return slices.DeleteFunc(slices.Clone(r.CAs), func(ca *x509.Certificate) bool {
		return !bytes.Equal(ca.RawSubject, certificate.RawIssuer) || certificate.CheckSignatureFrom(ca) != nil
	})
}

func isSelfSigned(certificate *x509.Certificate) bool {
	return bytes.Equal(certificate.RawSubject, certificate.RawIssuer) && certificate.CheckSignatureFrom(certificate) == nil
}

// check is Check for a path.
func (r *Revocations) check(p path) error {
	now := r.Clock()
	r.look(now)
	err := r.current.Load().checkPath(p, now)
	if err != nil && !errors.Is(err, ErrRevoked) && r.ofCertificate.isDue("", now) {
		r.Warn("a certificate doesn't count, since it isn't known whether its CA has revoked it", err)
	}
	return err
}

// checkAbove checks the CAs of a path, not the device's own certificate. For each
// a list may be missing.
func (r *Revocations) checkAbove(p path) error {
	now := r.Clock()
	r.look(now)
	return r.current.Load().checkSteps(p[min(1, len(p)):], now, func(int) bool { return true })
}

func (l *Lists) checkPath(p path, now time.Time) error {
	if len(p) == 0 {
		return errNotListed
	}
	return l.checkSteps(p, now, func(i int) bool { return i > 0 })
}

// checkSteps checks each step of a path. mayLack says of which there may be no
// list.
func (l *Lists) checkSteps(p path, now time.Time, mayLack func(step int) bool) error {
	for i, step := range p {
		if step.issuer == nil {
			if err := l.checkUnsigned(step.certificate); err != nil {
				return err
			}
			continue
		}
		err := l.check(step.certificate, step.issuer, now)
		switch {
		case errors.Is(err, errNotListed) && mayLack(i):
		case errors.Is(err, errNotListed):
			return fmt.Errorf("%w: %s", err, step.certificate.Issuer)
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
	err := r.readIfChanged(now)
	r.Looked(err)
	if err == nil {
		r.warnOfOverdue(now)
	} else if r.ofFile.isDue(err.Error(), now) {
		r.Warn("reading the revocation lists again: the previous ones stay in force", err)
	}
}

func (r *Revocations) warnOfOverdue(now time.Time) {
	if err := r.current.Load().inDate(now); err != nil && r.ofFile.isDue(err.Error(), now) {
		r.Warn("a revocation list is overdue: a day after its due time, no certificate of its CA counts", err)
	}
}

func (r *Revocations) readIfChanged(now time.Time) error {
	info, err := os.Stat(r.Path)
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
	content, state, err := readBounded(r.Path, maxRevocations)
	if err != nil {
		return err
	}
	read, err := parseLists(content)
	if err == nil {
		err = r.checkNew(read)
	}
	if err != nil {
		return fmt.Errorf("%s: %w", r.Path, err)
	}
	r.state = state
	r.current.Store(read)
	return nil
}

// checkNew refuses lists that mustn't be put in force.
func (r *Revocations) checkNew(read *Lists) error {
	now, inForce := r.Clock(), r.current.Load()
	if err := read.begun(now); err != nil {
		return err
	}
	if err := read.inDate(now.Add(-overdue)); err != nil {
		return err
	}
	if err := read.signedBy(slices.Concat(r.CAs, inForce.signers())); err != nil {
		return err
	}
	return read.follow(inForce, now)
}

// readBounded reads a regular file of at most so many bytes: of others, such as a
// named pipe, reading might never end.
func readBounded(path string, most int64) ([]byte, fileState, error) {
	info, err := os.Stat(path)
	if err == nil && !info.Mode().IsRegular() {
		err = fmt.Errorf("%s isn't a regular file", path)
	}
	if err != nil {
		return nil, fileState{}, err
	}
	file, err := os.Open(path)
	if err != nil {
		return nil, fileState{}, err
	}
	defer file.Close()
	if info, err = file.Stat(); err != nil {
		return nil, fileState{}, err
	}
	content, err := io.ReadAll(io.LimitReader(file, most+1))
	if err == nil && int64(len(content)) > most {
		err = fmt.Errorf("%s is larger than %d MiB", path, most>>20)
	}
	return content, fileState{info.ModTime(), info.Size()}, err
}

// Current returns the lists that are in force, the same until they change.
func (r *Revocations) Current() *Lists {
	r.look(r.Clock())
	return r.current.Load()
}
