package identity

import (
	"fmt"
	"strings"
	"unicode"
	"unicode/utf8"

	"golang.org/x/text/secure/precis"
	"golang.org/x/text/unicode/norm"
	"golang.org/x/text/width"

	"github.com/portcullis-mfa/portcullis/showable"
)

// What names may measure, in code points of the canonical form unless said
// otherwise.
const (
	maxNameLength        = 64
	maxDisplayNameLength = 128
	maxGroupLength       = 128
	maxEmailBytes        = 254  // RFC 5321 section 4.5.3.1.3, less the angle brackets
	maxLocalPartBytes    = 64   // RFC 5321 section 4.5.3.1.1
	maxDomainLabelBytes  = 63   // RFC 1035 section 2.3.4
	maxInputBytes        = 2048 // of anything, before any work is spent on it
)

// NameError says why a name of some kind was refused. It holds nothing of
// what was typed, so it can be logged.
type NameError struct {
	// What was refused: "user name", "e-mail address", "display name" or
	// "group name".
	What   string
	text   string
	key    string
	values map[string]any
}

// Error implements error.
func (e *NameError) Error() string { return e.What + " refused: " + e.text }

// Text is the reason as one or two plain sentences for the person who typed
// the name.
func (e *NameError) Text() string { return e.text }

// Phrase names the text of the catalogues that says what Text does, with its
// values.
func (e *NameError) Phrase() (key string, values map[string]any) { return e.key, e.values }

// subject is a kind of name, as it stands in sentences, and what the keys of
// its texts begin with.
type subject struct{ article, what, keys string }

var (
	userName     = subject{"A", "user name", "user_name."}
	emailAddress = subject{"An", "e-mail address", "email_address."}
	displayName  = subject{"A", "display name", "display_name."}
	groupName    = subject{"A", "group name", "group_name."}
)

// refuse gives the reason as the rest of a key and as a text.
func (s subject) refuse(reason, text string) *NameError {
	return &NameError{What: s.what, text: text, key: s.keys + reason}
}

func (s subject) missing() *NameError {
	return s.refuse("missing", "Enter "+strings.ToLower(s.article)+" "+s.what+".")
}

// cant completes the sentence "A user name can't …".
func (s subject) cant(reason, what string) *NameError {
	return s.refuse(reason, s.article+" "+s.what+" can't "+what+".")
}

func (s subject) tooLong(limit int) *NameError {
	refused := s.cant("too_long", fmt.Sprintf("have more than %d characters", limit))
	refused.values = map[string]any{"Limit": limit}
	return refused
}

// CanonicalName returns the one form under which a sign-in name is stored and
// looked up: UsernameCaseMapped of RFC 8265 section 3.3, so that case, width
// and composition make no second account. It is idempotent.
//
// Rules of our own on top: 1 to 64 code points; no '@', since a sign-in form
// takes a name or an address in one field; no comma, since names travel in
// lists; no dot at either end; and letters of one script only, as UTS #39
// section 5.2 (Highly Restrictive) has it, so that a Cyrillic letter can't
// imitate a Latin one inside a name. Look-alikes that are whole words of
// another script remain possible. The precis package holds every name beyond
// ASCII to the Bidi Rule of RFC 5893, so those begin with a letter, and end
// with one or with a digit.
//
// Every error is a *NameError.
func CanonicalName(s string) (string, error) {
	if s == "" {
		return "", userName.missing()
	}
	if err := userName.checkText(s); err != nil {
		return "", err
	}
	canonical, err := userName.caseMapped(s)
	if err != nil {
		return "", err
	}
	switch {
	case utf8.RuneCountInString(canonical) > maxNameLength:
		return "", userName.tooLong(maxNameLength)
	case strings.Contains(canonical, "@"):
		return "", userName.cant("at_sign", "contain @")
	case strings.Contains(canonical, ","):
		return "", userName.cant("comma", "contain a comma")
	case strings.Trim(canonical, ".") != canonical:
		return "", userName.cant("dot", "begin or end with a dot")
	}
	return canonical, nil
}

// CanonicalEmail returns the one form under which an e-mail address is stored
// and looked up. It is idempotent. Both parts are lower-cased: RFC 5321
// section 2.4 lets a host tell "Alice" from "alice", but none that matters
// does, and two accounts for them would be a trap. Mail must be sent to the
// stored form, never to what somebody typed in a form, because different
// spellings lead to one account.
//
// The local part is a dot-atom of RFC 5322 section 3.2.3, or letters of one
// other script (RFC 6531); quoted strings and comments are refused. The domain
// is written in ASCII, so that an internationalised one has one spelling (its
// xn-- form).
//
// Every error is a *NameError.
func CanonicalEmail(s string) (string, error) {
	if s == "" {
		return "", emailAddress.missing()
	}
	if err := emailAddress.checkText(s); err != nil {
		return "", err
	}
	// Width is folded before the address is taken apart: U+FF20 is an @ too.
	local, domain, found := strings.Cut(width.Fold.String(s), "@")
	if !found {
		return "", emailAddress.malformed()
	}
	local, err := emailAddress.caseMapped(local)
	if err != nil {
		return "", err
	}
	domain = strings.ToLower(domain)
	if !isLocalPart(local) || !isDomain(domain) {
		return "", emailAddress.malformed()
	}
	canonical := local + "@" + domain
	if len(local) > maxLocalPartBytes || len(canonical) > maxEmailBytes {
		return "", emailAddress.refuse("too_big", "That e-mail address is too long.")
	}
	return canonical, nil
}

// CheckDisplayName returns the name by which a person is shown, in NFC and
// without surrounding space. It may be empty, and has at most 128 code points,
// none of them a control character or one that reorders or hides text. It may
// look like anybody's: nothing is decided by it.
//
// Every error is a *NameError.
func CheckDisplayName(s string) (string, error) {
	if err := displayName.checkText(s); err != nil {
		return "", err
	}
	shown := strings.TrimSpace(norm.NFC.String(s))
	if utf8.RuneCountInString(shown) > maxDisplayNameLength {
		return "", displayName.tooLong(maxDisplayNameLength)
	}
	return shown, nil
}

// CheckGroup returns the name of a group in NFC; case counts. Apps get groups
// as a comma-separated list, so a comma is refused here, where the name is
// made, as are control and invisible characters and surrounding space; 1 to
// 128 code points.
//
// Every error is a *NameError.
func CheckGroup(s string) (string, error) {
	if s == "" {
		return "", groupName.missing()
	}
	if err := groupName.checkText(s); err != nil {
		return "", err
	}
	name := norm.NFC.String(s)
	switch {
	case utf8.RuneCountInString(name) > maxGroupLength:
		return "", groupName.tooLong(maxGroupLength)
	case strings.Contains(name, ","):
		return "", groupName.cant("comma", "contain a comma")
	case strings.TrimSpace(name) != name:
		return "", groupName.cant("space", "begin or end with a space")
	}
	return name, nil
}

// checkText refuses what no name of any kind may be: too big to look at, not
// UTF-8, or holding characters that can't be seen.
func (s subject) checkText(text string) error {
	switch {
	case len(text) > maxInputBytes:
		return s.refuse("too_big", "That "+s.what+" is too long.")
	case !utf8.ValidString(text):
		return s.refuse("unreadable", "That "+s.what+" has characters that can't be read.")
	case strings.ContainsFunc(text, IsInvisible):
		return s.cant("invisible", "contain control characters or invisible ones")
	}
	return nil
}

// IsInvisible reports whether r controls, reorders or hides text. The two
// joiners are left out: names in Persian and Indic scripts need them, and
// where they would deceive, in identifiers, PRECIS allows them only there.
func IsInvisible(r rune) bool { return showable.IsHidden(r) }

// caseMapped applies UsernameCaseMapped and refuses what that would change
// once more, and what mixes scripts.
func (s subject) caseMapped(text string) (string, error) {
	canonical, err := precis.UsernameCaseMapped.String(text)
	if err != nil || canonical == "" {
		return "", s.malformed()
	}
	// RFC 8264 section 7 warns that a profile may take several rounds to
	// settle. A form that isn't final would be a second name for one account.
	again, err := precis.UsernameCaseMapped.String(canonical)
	if err != nil || again != canonical {
		return "", s.malformed()
	}
	if !isOfOneScript(canonical) {
		return "", s.cant("mixed", "mix letters from different alphabets")
	}
	return canonical, nil
}

func (s subject) malformed() *NameError {
	if s == emailAddress {
		return s.refuse("malformed", "That isn't an e-mail address. Write it like name@example.com.")
	}
	return s.cant("malformed", "contain spaces or unusual characters. Use letters, digits, and symbols such as - or _")
}

// isLocalPart reports whether s, already case-mapped, is a dot-atom.
func isLocalPart(s string) bool {
	for atom := range strings.SplitSeq(s, ".") {
		if atom == "" || strings.ContainsFunc(atom, isNotAtomText) {
			return false
		}
	}
	return true
}

// isNotAtomText reports whether r is outside atext of RFC 5322 section 3.2.3
// and RFC 6532 section 3.2.
func isNotAtomText(r rune) bool {
	return r < utf8.RuneSelf && !unicode.IsLetter(r) && !unicode.IsDigit(r) &&
		!strings.ContainsRune("!#$%&'*+-/=?^_`{|}~", r)
}

// isDomain reports whether s, already in lower case, is a host name of RFC
// 1123 section 2.1.
func isDomain(s string) bool {
	for label := range strings.SplitSeq(s, ".") {
		if label == "" || len(label) > maxDomainLabelBytes ||
			strings.Trim(label, "-") != label || strings.ContainsFunc(label, isNotLabelText) {
			return false
		}
	}
	return true
}

func isNotLabelText(r rune) bool {
	return (r < 'a' || r > 'z') && (r < '0' || r > '9') && r != '-'
}

// scriptMixes are the scripts that are written together (UTS #39 section 5.2,
// Highly Restrictive).
var scriptMixes = [...][]*unicode.RangeTable{
	{unicode.Latin, unicode.Han, unicode.Hiragana, unicode.Katakana},
	{unicode.Latin, unicode.Han, unicode.Bopomofo},
	{unicode.Latin, unicode.Han, unicode.Hangul},
}

// isOfOneScript reports whether the letters of s are of one script, or of
// several that are written together.
func isOfOneScript(s string) bool {
	var letters []rune
	for _, r := range s {
		if unicode.IsLetter(r) && !unicode.In(r, unicode.Common, unicode.Inherited) {
			letters = append(letters, r)
		}
	}
	if len(letters) == 0 || areIn(letters, scriptOf(letters[0])) {
		return true
	}
	for _, mix := range scriptMixes {
		if areIn(letters, mix...) {
			return true
		}
	}
	return false
}

func areIn(letters []rune, scripts ...*unicode.RangeTable) bool {
	for _, r := range letters {
		if !unicode.In(r, scripts...) {
			return false
		}
	}
	return true
}

// scriptOf returns the script of r. A letter that this Unicode version doesn't
// know is of no script.
func scriptOf(r rune) *unicode.RangeTable {
	for _, script := range unicode.Scripts {
		if unicode.Is(script, r) {
			return script
		}
	}
	return &unicode.RangeTable{}
}
