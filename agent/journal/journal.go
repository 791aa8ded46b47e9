// Package journal records what the device agent has done, so that it can continue wherever
// it was stopped. Each step is recorded before it is taken, and a step that is taken twice
// does no harm.
//
// The package must not know what a step does.
package journal

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"time"
)

// Files is a folder. Write replaces a file as a whole: after a crash, the file has
// either content.
type Files interface {
	Read(name string) ([]byte, error)
	Write(name string, content []byte) error
	Remove(name string) error
}

// Identity is a key, and its certificate once there is one. The files are named after the
// ID.
type Identity struct {
	ID string `json:"id"`
	// Fingerprint is the SHA-256 of the certificate, in hex; empty: there is none yet.
	Fingerprint string    `json:"fingerprint,omitempty"`
	Issued      time.Time `json:"issued,omitzero"`
	Expires     time.Time `json:"expires,omitzero"`
	// Installed are the stores that have it.
	Installed []string `json:"installed,omitempty"`
}

// Key is the name of the file with the key.
func (i Identity) Key() string { return i.ID + ".key" }

// Certificate is the name of the file with the certificate and those above it.
func (i Identity) Certificate() string { return i.ID + ".crt" }

// State is where the agent is. The zero value is of a machine that isn't enrolled.
type State struct {
	Portal  string `json:"portal,omitempty"`
	Name    string `json:"name,omitempty"`
	Machine string `json:"machine,omitempty"` // on which the state was written
	// Out is a folder that gets the certificate as files; empty: none.
	Out string `json:"out,omitempty"`
	// Secret is the token or code that is being used.
	Secret string `json:"secret,omitempty"`
	// Coming is the identity that is being made; nil: none is.
	Coming *Identity `json:"coming,omitempty"`
	// Held are the identities that the machine has, newest first.
	Held []Identity `json:"held,omitempty"`
	// Failures counts the failed attempts in a row, and NotBefore is when the next one
	// may be made.
	Failures  int       `json:"failures,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
	// Problem is what somebody has to see to; empty: nothing.
	Problem string `json:"problem,omitempty"`
	// Leaving says that the device is being removed, and Retired that the portal has
	// revoked it.
	Leaving bool `json:"leaving,omitempty"`
	Retired bool `json:"retired,omitempty"`
}

const name = "state.json"

// Load reads the state; without a file it is zero.
func Load(files Files) (State, error) {
	var s State
	content, err := files.Read(name)
	if errors.Is(err, fs.ErrNotExist) {
		return s, nil
	}
	if err == nil {
		err = json.Unmarshal(content, &s)
	}
	if err != nil {
		return s, fmt.Errorf("reading the state: %w", err)
	}
	return s, nil
}

// Save writes the state.
func Save(files Files, s State) error {
	content, err := json.MarshalIndent(s, "", "\t")
	if err == nil {
		err = files.Write(name, append(content, '\n'))
	}
	if err != nil {
		return fmt.Errorf("writing the state: %w", err)
	}
	return nil
}

// Forget removes the state: the machine isn't enrolled any more.
func Forget(files Files) error {
	if err := files.Remove(name); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the state: %w", err)
	}
	return nil
}
