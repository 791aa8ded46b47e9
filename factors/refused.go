package factors

import "time"

// Refused is the error of an answer that was looked at and is wrong.
type Refused struct {
	Reason Reason
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
