package push_test

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/sha256"
	"encoding/json"
	"os"
	"slices"
	"testing"

	"github.com/portcullis-mfa/portcullis/factors/push"
	"github.com/portcullis-mfa/portcullis/factors/push/message"
)

// vectors are those that docs/push-protocol.md refers to.
type vectors struct {
	Key            struct{ X, Y, D string }
	Thumbprint     string
	Origin         string
	Pairing        string
	Digits         string
	Request        string
	RequestCode    string `json:"request_code"`
	Display        string
	Shown          string
	Endpoint       string
	EndpointDigest string `json:"endpoint_digest"`
	Accepted       []vector
	Refused        []struct {
		vector
		Why    string
		Status int
		Error  string
	}
}

type vector struct {
	Type    message.Type
	Message string
}

func readVectors(t *testing.T) (v vectors, key *ecdsa.PrivateKey) {
	t.Helper()
	raw, err := os.ReadFile("../../docs/push-protocol-vectors.json")
	if err == nil {
		err = json.Unmarshal(raw, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	scalar, _ := message.Decode(v.Key.D)
	if key, err = ecdsa.ParseRawPrivateKey(elliptic.P256(), scalar); err != nil {
		t.Fatal(err)
	}
	return v, key
}

func TestVectorsOfTheProtocol(t *testing.T) {
	v, key := readVectors(t)
	thumbprint, err := message.Thumbprint(&key.PublicKey)
	if err != nil || thumbprint != v.Thumbprint {
		t.Errorf("the thumbprint is %s, %v", thumbprint, err)
	}
	if digits := push.Digits(v.Pairing, v.Thumbprint); digits != v.Digits {
		t.Errorf("the digits are %s", digits)
	}
	if code := push.RequestCode(v.Request); code != v.RequestCode {
		t.Errorf("the code of the request is %s", code)
	}
	for _, digest := range []struct{ of, want string }{{v.Display, v.Shown}, {v.Endpoint, v.EndpointDigest}} {
		if sum := sha256.Sum256([]byte(digest.of)); message.Encode(sum[:]) != digest.want {
			t.Errorf("the digest of %s is another", digest.of)
		}
	}
	if err := json.Unmarshal([]byte(v.Display), new(push.Display)); err != nil {
		t.Errorf("the display: %v", err)
	}
}

func TestVectorsThatAreAccepted(t *testing.T) {
	v, key := readVectors(t)
	var types []message.Type
	for i, sent := range v.Accepted {
		if failure := judged(v, key, sent); failure != "" {
			t.Errorf("message %d, of type %s: %s", i, sent.Type, failure)
		}
		types = append(types, sent.Type)
	}
	for _, kind := range []message.Type{message.Pair, message.Paired, message.Ready, message.List, message.Listen, message.Subscribe, message.Answer, message.Leave} {
		if !slices.Contains(types, kind) {
			t.Errorf("there is no message of type %s", kind)
		}
	}
}

func TestVectorsThatAreRefused(t *testing.T) {
	v, key := readVectors(t)
	for _, sent := range v.Refused {
		if failure := judged(v, key, sent.vector); string(failure) != sent.Error {
			t.Errorf("%s: %q, want %q", sent.Why, failure, sent.Error)
		}
	}
}

// claimsOf returns what to read the claims of a type into.
func claimsOf(kind message.Type) any {
	switch kind {
	case message.Pair:
		return new(message.PairClaims)
	case message.Ready:
		return new(message.ReadyClaims)
	case message.List:
		return new(message.ListClaims)
	case message.Subscribe:
		return new(message.SubscribeClaims)
	case message.Answer:
		return new(message.AnswerClaims)
	}
	return new(message.PlainClaims)
}

// judged is why a message is refused at its path; empty: it isn't.
func judged(v vectors, key *ecdsa.PrivateKey, sent vector) push.Failure {
	signed, err := message.Parse([]byte(sent.Message))
	if err != nil || signed.Type != sent.Type {
		return push.FailedMalformed
	}
	fresh, err := signed.FreshOf()
	if err != nil || fresh.Audience != v.Origin {
		return push.FailedMalformed
	}
	if signed.Thumbprint != v.Thumbprint || !signed.IsBy(&key.PublicKey) {
		return push.FailedSignature
	}
	if signed.Read(claimsOf(sent.Type)) != nil {
		return push.FailedMalformed
	}
	return ""
}
