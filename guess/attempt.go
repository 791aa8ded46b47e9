package guess

import (
	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/audit"
	"github.com/portcullis-mfa/portcullis/store"
)

// Attempt is one try at proving a factor. It names the counter that it is held
// against.
type Attempt struct {
	// User is whose factor it is; the zero User: nobody has the name.
	User   store.User
	Factor assurance.Factor
	// Browser is the id of the known browser of the user that it comes from;
	// empty: the browser never signed this user in.
	Browser string
	// Nobody, unless it is empty, is counted in place of the user: what was
	// given names nobody, or not for certain.
	Nobody string
	// Address and UserAgent are the client's.
	Address, UserAgent string
}

// counter returns where failures in a row are counted.
func (a Attempt) counter() (scope, key string) {
	if a.Nobody != "" {
		return ScopeName, a.Nobody
	}
	bucket := "unknown"
	if a.Browser != "" {
		bucket = a.Browser
	}
	return ScopeUser, a.User.ID + "/" + string(a.Factor) + "/" + bucket
}

// isKnown reports whether the browser signed this user in before.
func (a Attempt) isKnown() bool { return a.Browser != "" }

// fields are what every audit event about the attempt says.
func (a Attempt) fields() audit.Fields {
	browser := audit.UnknownBrowser
	if a.isKnown() {
		browser = audit.KnownBrowser
	}
	return audit.Fields{
		audit.User: a.User.Name, audit.Factor: string(a.Factor), audit.Browser: browser,
		audit.Address: a.Address, audit.UserAgent: a.UserAgent,
	}
}
