package push

import (
	"encoding/json"

	"github.com/portcullis-mfa/portcullis/factors"
)

// Failure says why a phone's message had no effect.
type Failure string

// The failures.
const (
	FailedMalformed Failure = "malformed"
	FailedSignature Failure = "signature"
	FailedCode      Failure = "code"
	FailedUnknown   Failure = "unknown"
	FailedState     Failure = "state"
	FailedRemoved   Failure = "removed"
)

// Reply is what a phone is told. It has no Failure if the message counted.
type Reply struct {
	Failure Failure `json:"error,omitempty"`
	// State is what became of the request or pairing.
	State string `json:"state,omitempty"`
	// Left is how many attempts are left after a wrong number.
	Left int `json:"left,omitempty"`

	// Pairing, Credential, Account and Until answer message.Pair.
	Pairing    string `json:"pairing,omitempty"`
	Credential string `json:"credential,omitempty"`
	Account    string `json:"account,omitempty"`
	Until      int64  `json:"until,omitempty"` // NumericDate
	// Codes is the provisioning URI of the one-time codes.
	Codes string `json:"totp,omitempty"`
}

// ReadReply reads the reply of a verdict.
func ReadReply(raw []byte) (r Reply, err error) { return r, json.Unmarshal(raw, &r) }

// replying is a verdict that only replies.
func replying(r Reply) (factors.Verdict, error) {
	raw, err := json.Marshal(r)
	return factors.Verdict{Reply: raw}, err
}

func failing(why Failure) (factors.Verdict, error) { return replying(Reply{Failure: why}) }

// late replies that a message came too late.
func late(state string) (factors.Verdict, error) {
	return replying(Reply{Failure: FailedState, State: state})
}
