package message

// Subscription is where a phone can be sent notifications (Push API §8.1).
type Subscription struct {
	Endpoint string `json:"endpoint"`
	Key      string `json:"p256dh"` // base64url, an uncompressed point
	Secret   string `json:"auth"`   // base64url, 16 bytes
}

// PairClaims are those of Pair: exactly one of Token and Code is set.
type PairClaims struct {
	Fresh
	Token        string        `json:"token"` // from the QR code
	Code         string        `json:"code"`  // typed
	Name         string        `json:"name"`  // what the phone calls itself
	Subscription *Subscription `json:"subscription"`
}

// PlainClaims are those of messages that say no more than their type.
type PlainClaims struct {
	Fresh
}

// ReadyClaims are those of Ready.
type ReadyClaims struct {
	Fresh
	Code string `json:"code"` // a one-time code of the secret that was handed out
}

// ListClaims are those of List.
type ListClaims struct {
	Fresh
	// Subscription is the SHA-256 of the endpoint that the phone is subscribed at, as
	// base64url; empty: it isn't.
	Subscription string `json:"subscription"`
}

// SubscribeClaims are those of Subscribe.
type SubscribeClaims struct {
	Fresh
	Subscription *Subscription `json:"subscription"` // nil: it isn't subscribed any more
}

// Decision is what somebody decides on a request.
type Decision string

// The decisions.
const (
	Allow  Decision = "allow"
	Deny   Decision = "deny"
	Report Decision = "report" // they didn't ask for it
)

// AnswerClaims are those of Answer.
type AnswerClaims struct {
	Fresh
	Request  string   `json:"request"` // its id
	Shown    string   `json:"shown"`   // SHA-256 of what was displayed, as base64url
	Decision Decision `json:"decision"`
	Number   string   `json:"number"` // as typed, with Allow only
}
