package factors

import (
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
)

// Refused is the error of an answer that was looked at and is wrong.
type Refused struct {
	Reason Reason
	// Factor is the kind that the answer was read as, which may not be the one that was
	// asked for: see Traits.Typed. Empty: the one that was asked for.
	Factor assurance.Factor
	// Drift and RetryAfter are as in Verdict.
	Drift, RetryAfter time.Duration
	// Credential is what the factor calls the credential, with Unknown and with the
	// reasons that are about its model.
	Credential string
	// Model is what isn't let in, with the reasons that are about it; empty: it
	// has no name.
	Model string
}

func (r *Refused) Error() string { return "refused: " + string(r.Reason) }
