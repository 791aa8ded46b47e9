package person

import (
	"fmt"
	"unicode/utf8"

	"github.com/portcullis-mfa/portcullis/identity"
)

// Invalid says which fields of a form can't stay as they are, and why. The
// errors have a method Text that tells people.
type Invalid struct{ Fields map[string]error }

func (i *Invalid) Error() string { return fmt.Sprintf("%d fields can't be used", len(i.Fields)) }

// Phrase is an error that tells people something by a text of the catalogues,
// and operators in English.
type Phrase struct{ Key, English string }

func (p Phrase) Error() string { return p.English }

// Text tells operators.
func (p Phrase) Text() string { return p.English }

// Phrase names the text that tells people.
func (p Phrase) Phrase() (string, map[string]any) { return p.Key, nil }

// maxCredentialName bounds what people may call a credential, in code points.
const maxCredentialName = 64

// CredentialName brings what a person calls a credential to its kept form, or
// says as *Invalid with the field "name" what to mend. Nothing is decided by
// such a name.
func CredentialName(written string) (string, error) {
	name, err := identity.CheckDisplayName(written)
	switch {
	case err != nil:
	case name == "":
		err = Phrase{"credential_name.missing", "Give it a name, such as “Work phone”."}
	case utf8.RuneCountInString(name) > maxCredentialName:
		err = Phrase{"credential_name.too_long", "Use a shorter name, of at most 64 characters."}
	}
	if err != nil {
		return "", &Invalid{map[string]error{"name": err}}
	}
	return name, nil
}
