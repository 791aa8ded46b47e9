// Package backupcode is the factor of codes that were written down: ten of
// them, made and replaced together, each good once.
//
// A credential keeps, of each code, a selector (its first characters), which
// finds the entry, and a salted hash of the whole, so every guess costs
// exactly one hash whatever comes of it. Its secret changes with each code
// that is spent.
//
// The package must not know how secrets are sealed, where they are kept, how
// failures are counted, or how a hash is made: the caller brings a Hasher.
package backupcode

import (
	"context"
	"fmt"
	"io"
	"slices"
	"strings"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/templates"
	"github.com/portcullis-mfa/portcullis/token"
)

// credentialName is what a new set of codes is called.
const credentialName = "Backup codes"

// Hasher makes and checks slow, salted hashes in the PHC string format. An
// error means that it could not be told.
type Hasher interface {
	Hash(ctx context.Context, secret string) (string, error)
	Verify(ctx context.Context, phc, secret string) (bool, error)
	// Burn does the work of Verify where there is nothing to verify against.
	Burn(ctx context.Context, secret string) error
}

// Factor is the factor "backup_code".
type Factor struct {
	brand  string
	hasher Hasher
	clock  func() time.Time
	random io.Reader
}

var (
	_ factors.Factor    = (*Factor)(nil)
	_ factors.Describer = (*Factor)(nil)
)

// New returns the factor; brand stands at the head of the file that people
// keep. The codes hold 60 bits of randomness, so the hasher may cost less than
// one for passwords that people choose.
func New(brand string, hasher Hasher, clock func() time.Time, random io.Reader) *Factor {
	return &Factor{brand: brand, hasher: hasher, clock: clock, random: random}
}

// Kind returns assurance.BackupCode.
func (f *Factor) Kind() assurance.Factor { return assurance.BackupCode }

// Most returns 1: new codes replace the old ones.
func (f *Factor) Most() int { return 1 }

// Traits implements factors.Factor. Codes have 60 bits.
func (f *Factor) Traits() factors.Traits {
	return factors.Traits{Weight: assurance.Second, Rank: 1, Vouches: 1, AMR: []string{"otp"}}
}

// Reads reports whether answer "code" has the letters of a code.
func (f *Factor) Reads(_ []factors.Credential, answer factors.Answer) (bool, error) {
	_, ok := canonical(answer["code"])
	return ok, nil
}

// Proving asks for a code.
func (f *Factor) Proving() factors.Ceremony { return proving{f} }

// Enrolling shows new codes, and asks whether they are saved.
func (f *Factor) Enrolling() factors.Ceremony { return enrolling{f} }

type proving struct{ *Factor }

// Begin has nothing to remember.
func (proving) Begin(context.Context, factors.Asking) (factors.Turn, error) {
	return factors.Turn{}, nil
}

// Resume has nothing to show.
func (proving) Resume(context.Context, factors.Asking, []byte) (factors.Page, error) {
	return factors.Page{}, nil
}

// Check decides on answer "code". Of several sets the newest counts: the
// others are replaced, whether or not their rows are gone.
func (f proving) Check(ctx context.Context, a factors.Asking, _ []byte, answer factors.Answer) (factors.Verdict, error) {
	if len(a.Credentials) == 0 {
		return factors.Verdict{}, fmt.Errorf("checking a backup code without a credential")
	}
	newest := slices.MaxFunc(a.Credentials, func(a, b factors.Credential) int { return a.Created.Compare(b.Created) })
	set, err := parseSet(newest.Secret)
	if err != nil {
		return factors.Verdict{}, fmt.Errorf("reading credential %s: %w", newest.ID, err)
	}
	reason, spent, err := f.judge(ctx, set, answer["code"])
	switch {
	case err != nil:
		return factors.Verdict{}, err
	case reason == factors.Used:
		return factors.Verdict{Reason: reason, CredentialID: newest.ID}, nil
	case reason != "":
		return factors.Verdict{Reason: reason}, nil
	}
	set.Codes[spent].Used = f.clock().UTC().Truncate(time.Second)
	secret, err := set.marshal()
	if err != nil {
		return factors.Verdict{}, err
	}
	return factors.Verdict{Outcome: factors.OutcomeAccepted, CredentialID: newest.ID, Secret: secret}, nil
}

// judge finds the index of a code that was typed, or the reason to refuse it.
// Every way through it costs one hash, unless that fails.
func (f *Factor) judge(ctx context.Context, set codeSet, typed string) (reason factors.Reason, index int, err error) {
	code, ok := canonical(typed)
	if !ok {
		// Not what was typed: its length is anybody's choice.
		return factors.Malformed, 0, f.burn(ctx, strings.Repeat("0", codeLetters))
	}
	index = set.find(code)
	if index < 0 {
		return factors.Wrong, 0, f.burn(ctx, code)
	}
	right, err := f.hasher.Verify(ctx, set.Codes[index].Hash, code)
	switch {
	case err != nil:
		return "", 0, fmt.Errorf("verifying a backup code: %w", err)
	case !right:
		return factors.Wrong, 0, nil
	case !set.Codes[index].Used.IsZero():
		return factors.Used, index, nil
	}
	return "", index, nil
}

func (f *Factor) burn(ctx context.Context, code string) error {
	if err := f.hasher.Burn(ctx, code); err != nil {
		return fmt.Errorf("doing the work of verifying a backup code: %w", err)
	}
	return nil
}

type enrolling struct{ *Factor }

// Begin makes the codes. The question's state holds them in clear; none of them
// works yet.
func (f enrolling) Begin(context.Context, factors.Asking) (factors.Turn, error) {
	codes, err := newCodes(f.random)
	if err != nil {
		return factors.Turn{}, fmt.Errorf("making backup codes: %w", err)
	}
	state, err := enrolment{Codes: codes}.marshal()
	return factors.Turn{State: state}, err
}

// Resume shows the codes.
func (f enrolling) Resume(_ context.Context, a factors.Asking, state []byte) (factors.Page, error) {
	begun, err := parseEnrolment(state)
	if err != nil {
		return factors.Page{}, err
	}
	shown := make([]string, len(begun.Codes))
	for i, code := range begun.Codes {
		shown[i] = token.Grouped(code)
	}
	return factors.Page{
		Content: templates.BackupCodes{Codes: shown},
		File:    &factors.File{Name: "backup-codes.txt", Content: text(shown, f.brand, a.Who.Name)},
	}, nil
}

// Check puts the codes in force once answer "saved" is "yes"; until then it
// answers Unconfirmed. It hashes every code, so it takes its time.
func (f enrolling) Check(ctx context.Context, _ factors.Asking, state []byte, answer factors.Answer) (factors.Verdict, error) {
	begun, err := parseEnrolment(state)
	if err != nil {
		return factors.Verdict{}, err
	}
	if answer["saved"] != "yes" {
		return factors.Verdict{Reason: factors.Unconfirmed}, nil
	}
	var set codeSet
	for _, code := range begun.Codes {
		hash, err := f.hasher.Hash(ctx, code)
		if err != nil {
			return factors.Verdict{}, fmt.Errorf("hashing a backup code: %w", err)
		}
		set.Codes = append(set.Codes, entry{Selector: code[:selectorLetters], Hash: hash})
	}
	secret, err := set.marshal()
	if err != nil {
		return factors.Verdict{}, err
	}
	return factors.Verdict{Outcome: factors.OutcomeAccepted, Made: factors.Made{Secret: secret, Name: credentialName}}, nil
}

// Details says which codes are left.
func (f *Factor) Details(c factors.Credential) (factors.Details, error) {
	set, err := parseSet(c.Secret)
	if err != nil {
		return factors.Details{}, fmt.Errorf("reading credential %s: %w", c.ID, err)
	}
	codes := factors.Stock{Total: len(set.Codes)}
	for _, code := range set.Codes {
		if code.Used.IsZero() {
			codes.Left++
		} else {
			codes.Used = append(codes.Used, code.Used)
		}
	}
	slices.SortFunc(codes.Used, time.Time.Compare)
	return factors.Details{Stock: &codes}, nil
}

// text is the content of the file in which a person keeps the codes, as they
// stand on the page.
func text(codes []string, brand, name string) string {
	var content strings.Builder
	fmt.Fprintf(&content, "%s: backup codes of %s\n\n", brand, name)
	for _, code := range codes {
		fmt.Fprintf(&content, "  %s\n", code)
	}
	content.WriteString("\nEach works once. Keep them offline; don't share them.\n")
	return content.String()
}
