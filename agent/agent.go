// Package agent enrols a machine as a managed device, installs its certificate where
// browsers look for it, and renews it in time.
//
//	none ── Enrol ──▶ key ──▶ certificate ──▶ installed ── Tick ──▶ key ──▶ …
//
// The agent records each step in the journal before taking it. Wherever it is stopped, it
// continues at the next Tick: a key that was made is used again, and a key that has a
// certificate gets the same one again. Neither this package nor those below it may import
// the server's code.
package agent

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/x509"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"time"

	"github.com/portcullis-mfa/portcullis/agent/estclient"
	"github.com/portcullis-mfa/portcullis/agent/journal"
)

// Portal issues certificates; *estclient.Client does.
type Portal interface {
	CACertificates(ctx context.Context) ([]*x509.Certificate, error)
	Enrol(ctx context.Context, key crypto.Signer, a estclient.Application) (*x509.Certificate, error)
	Renew(ctx context.Context, key crypto.Signer, name string, old *x509.Certificate, oldKey crypto.Signer) (*x509.Certificate, error)
	Retire(ctx context.Context, old *x509.Certificate, oldKey crypto.Signer) error
}

// Store is a place where browsers or other programs find certificates. Installing
// what is there already, and removing what isn't, does nothing.
type Store interface {
	// Name tells the store from others, and stays the same.
	Name() string
	Install(ctx context.Context, key crypto.Signer, chain []*x509.Certificate) error
	Remove(ctx context.Context, chain []*x509.Certificate) error
}

// Agent does what there is to do on one machine. One Agent at a time may use a folder.
// All fields are needed.
type Agent struct {
	Files journal.Files
	// Dial returns the portal at an address, and Stores the places to install to; out
	// is a folder for files, or empty.
	Dial   func(address string) Portal
	Stores func(out string) []Store
	Clock  func() time.Time
	// Machine identifies the machine, as far as one can.
	Machine string
}

var (
	// ErrEnrolled says that the machine is enrolled already.
	ErrEnrolled = errors.New("this machine is already enrolled: run mfa-agent status, or mfa-agent remove first")
	// ErrNotEnrolled says that it isn't.
	ErrNotEnrolled = errors.New("this machine isn't enrolled: run mfa-agent enrol first")
	// ErrUnconfirmed says that nobody confirmed the enrolment before it was interrupted.
	ErrUnconfirmed = errors.New("the enrolment was interrupted before anybody confirmed it: run mfa-agent enrol again")
	// ErrCopied says that the state was made on another machine.
	ErrCopied = errors.New("the agent's folder was copied from another machine: run mfa-agent enrol to make this one a device of its own")
)

// Grant is what a machine enrols with.
type Grant struct {
	Portal string // address
	Secret string // token; empty: Confirm gets one
	// Confirm has somebody confirm the enrolment of a key, and returns the secret that
	// the portal accepts for it.
	Confirm func(ctx context.Context, key crypto.Signer) (secret string, err error)
	Name    string // what the device calls itself
	Out     string // folder for files; empty: none
}

// Enrol makes the machine a device. It continues where an earlier call was stopped.
func (a *Agent) Enrol(ctx context.Context, g Grant) error {
	state, err := journal.Load(a.Files)
	if err != nil {
		return err
	}
	copied := state.Portal != "" && state.Machine != a.Machine
	expired := len(state.Held) > 0 && !a.Clock().Before(state.Held[0].Expires)
	switch {
	case copied || state.Problem != "" && !expired:
		state = journal.State{} // the keys aren't this device's any more
	case expired && state.Portal != g.Portal:
		state = journal.State{} // nor this portal's
	case len(state.Held) > 0 && !expired:
		return ErrEnrolled
	}
	state.Portal, state.Secret, state.Name, state.Out, state.Machine = g.Portal, g.Secret, g.Name, g.Out, a.Machine
	state.Problem = ""
	if state.Coming == nil {
		state.Coming = &journal.Identity{ID: newID()}
	}
	if err := journal.Save(a.Files, state); err != nil {
		return err
	}
	if state.Secret == "" {
		if err := a.confirm(ctx, &state, g); err != nil {
			return errors.Join(err, a.giveUp(&state))
		}
	}
	err = a.obtain(ctx, &state)
	if estclient.Is(err, http.StatusUnauthorized) || estclient.Is(err, http.StatusForbidden) {
		return errors.Join(err, a.giveUp(&state))
	}
	return err
}

// confirm has somebody confirm the enrolment, and stores the secret for it.
func (a *Agent) confirm(ctx context.Context, state *journal.State, g Grant) error {
	key, err := a.key(state.Coming.Key())
	if err != nil {
		return err
	}
	if state.Secret, err = g.Confirm(ctx, key); err != nil {
		return err
	}
	return journal.Save(a.Files, *state)
}

// giveUp forgets an enrolment that was refused. What the machine had before stays.
func (a *Agent) giveUp(state *journal.State) error {
	coming := *state.Coming
	state.Coming, state.Secret = nil, ""
	var err error
	if len(state.Held) > 0 {
		err = journal.Save(a.Files, *state)
	} else {
		err = journal.Forget(a.Files)
	}
	if err != nil {
		return err
	}
	return a.discard(coming)
}

func (a *Agent) discard(i journal.Identity) error {
	var all error
	for _, name := range []string{i.Key(), i.Certificate()} {
		if err := a.Files.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
			all = errors.Join(all, err)
		}
	}
	return all
}

// obtain makes the identity that is coming: its key, its certificate, and installs it.
func (a *Agent) obtain(ctx context.Context, state *journal.State) error {
	key, err := a.key(state.Coming.Key())
	if err != nil {
		return err
	}
	if state.Coming.Fingerprint == "" {
		if err := a.certify(ctx, state, key); err != nil {
			return err
		}
	}
	chain, err := a.chain(*state.Coming)
	if err != nil {
		return err
	}
	if err := a.install(ctx, state, key, chain); err != nil {
		return err
	}
	state.Held = append([]journal.Identity{*state.Coming}, state.Held...)
	state.Coming, state.Secret, state.Failures, state.NotBefore = nil, "", 0, time.Time{}
	return journal.Save(a.Files, *state)
}

// key reads a key, or makes it.
func (a *Agent) key(name string) (crypto.Signer, error) {
	content, err := a.Files.Read(name)
	if errors.Is(err, fs.ErrNotExist) {
		fresh, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
		if err != nil {
			return nil, fmt.Errorf("making a key: %w", err)
		}
		der, err := x509.MarshalPKCS8PrivateKey(fresh)
		if err != nil {
			return nil, fmt.Errorf("encoding a key: %w", err)
		}
		if err := a.Files.Write(name, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
			return nil, fmt.Errorf("writing a key: %w", err)
		}
		return fresh, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	block, _ := pem.Decode(content)
	if block == nil {
		return nil, fmt.Errorf("%s contains no key", name)
	}
	read, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, fmt.Errorf("reading a key: %w", err)
	}
	signer, ok := read.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("%s contains a key that can't sign", name)
	}
	return signer, nil
}

// certify gets the certificate of the identity that is coming, and those above it.
func (a *Agent) certify(ctx context.Context, state *journal.State, key crypto.Signer) error {
	portal := a.Dial(state.Portal)
	leaf, err := a.ask(ctx, portal, state, key)
	if err != nil {
		return err
	}
	above, err := portal.CACertificates(ctx)
	if err != nil {
		return err
	}
	var content []byte
	for _, certificate := range append([]*x509.Certificate{leaf}, above...) {
		content = append(content, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: certificate.Raw})...)
	}
	if err := a.Files.Write(state.Coming.Certificate(), content); err != nil {
		return fmt.Errorf("writing a certificate: %w", err)
	}
	sum := sha256.Sum256(leaf.Raw)
	state.Coming.Fingerprint, state.Coming.Issued, state.Coming.Expires = hex.EncodeToString(sum[:]), leaf.NotBefore, leaf.NotAfter
	return journal.Save(a.Files, *state)
}

// ask enrols if the machine has something to enrol with, and renews the newest certificate
// if it hasn't.
func (a *Agent) ask(ctx context.Context, portal Portal, state *journal.State, key crypto.Signer) (*x509.Certificate, error) {
	application := estclient.Application{Name: state.Name, Secret: state.Secret}
	if len(state.Held) == 0 {
		return portal.Enrol(ctx, key, application)
	}
	old := state.Held[0]
	oldKey, err := a.key(old.Key())
	if err != nil {
		return nil, err
	}
	chain, err := a.chain(old)
	if err != nil {
		return nil, err
	}
	if state.Secret != "" {
		application.Former, application.FormerKey = chain[0], oldKey
		return portal.Enrol(ctx, key, application)
	}
	return portal.Renew(ctx, key, state.Name, chain[0], oldKey)
}

// chain reads the certificates of an identity, its own first.
func (a *Agent) chain(i journal.Identity) ([]*x509.Certificate, error) {
	content, err := a.Files.Read(i.Certificate())
	if err != nil {
		return nil, fmt.Errorf("reading a certificate: %w", err)
	}
	var der []byte
	for block, rest := pem.Decode(content); block != nil; block, rest = pem.Decode(rest) {
		der = append(der, block.Bytes...)
	}
	chain, err := x509.ParseCertificates(der)
	if err == nil && len(chain) == 0 {
		err = errors.New("there is none")
	}
	if err != nil {
		return nil, fmt.Errorf("reading a certificate: %w", err)
	}
	return chain, nil
}

func newID() string {
	id := make([]byte, 8)
	rand.Read(id) // never fails
	return hex.EncodeToString(id)
}
