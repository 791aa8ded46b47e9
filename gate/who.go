package gate

import (
	"errors"
	"net/http"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/session"
)

// reader tells who sent a request by one kind of credential. Each is one file:
// sessionReader, certificateReader and tokenReader.
type reader interface {
	// take removes from a request what no app may see of the credential, and keeps
	// it in the request's field for this reader. It is called for every request,
	// those to open paths included, before anything else is known of it, and looks
	// nothing up. An error refuses the request with 400.
	take(r *request) error
	// read returns whom the credential speaks for, insofar as it counts at a rule.
	// errAbsent says that there is none that counts. A refusal is a definite no;
	// any other error means that it could not be told. Neither is ever taken for
	// nobody.
	read(r *request, rule *Rule) (claim, error)
}

// claim is who sent a request, as a reader has it.
type claim struct {
	// speaker is whom the app is told of.
	speaker *session.Profile
	// proofs are what the speaker has proved, insofar as it counts at the rule.
	proofs []assurance.Proof
	// scope is what the claim is good for if it proves nothing; nil: its proofs
	// decide.
	scope scope
	// sent is how the credential came to be in the request.
	sent sending
	// expires is when the claim ends by itself.
	expires time.Time
	// anchor is what the claim rests on, and beside what else; nil: nothing.
	// Connections end with them. Passive claims keep no anchor from going idle.
	anchor, beside session.Anchor
	passive        bool
	// session is what the cookie says of which the claim was made; nil: of none.
	session *session.Session
	// device is the speaker's own, whose certificate is among the proofs; nil:
	// none is.
	device *presented
	// program is the access token of which the claim was made; nil: of none.
	program *session.LiveAccessToken
}

// isPersonal reports whether the claim was made of an app password.
func (c *claim) isPersonal() bool { return c.program != nil && c.program.IsPersonal }

// programName is the name of the access token of which the claim was made; empty: of
// none.
func (c *claim) programName() string {
	if c.program == nil {
		return ""
	}
	return c.program.Name
}

// sending is how a credential came to be in a request. On that depends which
// requests may be forged, since browsers send some credentials by themselves,
// whoever's page asked (those are ambient). And it decides what the sender can do
// about a refusal.
type sending int

const (
	// byConnection: TLS showed it. It is ambient, and nothing keeps it out of the
	// requests of other sites' pages. Who may not pass by it alone can sign in.
	byConnection sending = iota
	// asCookie: it is ambient, within what SameSite lets through. Who may not pass
	// has signed in, and can show more or be somebody else.
	asCookie
	// byHand: whoever made the request put it there. No page of another site can.
	// A program reads the answer, so it is never a page, nor leads to one.
	byHand
)

// errAbsent says that a request brings no credential that counts.
var errAbsent = errors.New("nobody is signed in")

// refusal is a definite no of a reader, that answers the request itself.
type refusal interface {
	error
	answer(g *Gate, w http.ResponseWriter, r *request)
}

// identify answers who sent a request, as a rule has it, by asking the readers.
// What was handed over decides alone, whatever else the request brings. Else the
// person does who is there.
func (g *Gate) identify(r *request, rule *Rule) (claim, error) {
	if c, err := g.handed.read(r, rule); !errors.Is(err, errAbsent) {
		return c, err
	}
	return g.identifyPerson(r, rule)
}

// identifyPerson is identify by session and certificate alone. The session
// decides, and the certificate of the same person adds to its proofs. Where the
// two name different people, the certificate counts only if the rule requires
// one. A certificate that doesn't count takes nothing away from a session, unless
// the rule requires one: whoever was told of it, and signed in, passes with the
// same certificate in the browser. Without a session the certificate decides.
func (g *Gate) identifyPerson(r *request, rule *Rule) (claim, error) {
	device, refused := certificateReader{g}.read(r, rule)
	if refused != nil && rule.Certificate == CertificateRequire {
		return claim{}, refused
	}
	c, err := sessionReader{g}.read(r, rule)
	switch {
	case errors.Is(err, errAbsent):
		return device, refused
	case err == nil && refused == nil:
		c.add(&device, rule.Certificate)
	}
	return c, err
}

// add lets what a device's certificate says count beside a session.
func (c *claim) add(device *claim, mode CertificateMode) {
	own := device.speaker.ID == c.speaker.ID
	if own || mode == CertificateRequire {
		c.beside = device.anchor
	}
	if !own {
		return
	}
	proofs := device.proofs
	for _, p := range c.proofs {
		if p.Factor != assurance.Certificate {
			proofs = append(proofs, p)
		}
	}
	c.device, c.proofs = device.device, proofs
	if device.expires.Before(c.expires) {
		c.expires = device.expires
	}
}

// deviceName is the name of the device that counts; empty: none does.
func (c *claim) deviceName() string {
	if c.device == nil {
		return ""
	}
	return c.device.Name
}

// signOn is the id of the sign-on that the claim is of; empty: of none.
func (c *claim) signOn() string {
	if c.session == nil {
		return ""
	}
	return c.session.SignOn
}

// takeCredentials has all readers take theirs.
func (g *Gate) takeCredentials(r *request) error {
	if err := (sessionReader{g}).take(r); err != nil {
		return err
	}
	return g.handed.take(r)
}
