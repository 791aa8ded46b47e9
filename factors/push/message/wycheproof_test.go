package message

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"encoding/hex"
	"encoding/json"
	"os"
	"testing"
)

// U02: signatures that other libraries have got wrong, by Project Wycheproof: edge cases
// of the curve, zeros, ranges, and other sizes.
func TestWycheproofSignatures(t *testing.T) {
	raw, err := os.ReadFile("testdata/wycheproof/ecdsa_secp256r1_sha256_p1363_test.json")
	if err != nil {
		t.Fatal(err)
	}
	var file struct {
		NumberOfTests int
		TestGroups    []struct {
			PublicKey struct{ Uncompressed string }
			Tests     []struct {
				ID               int `json:"tcId"`
				Comment          string
				Msg, Sig, Result string
			}
		}
	}
	if err := json.Unmarshal(raw, &file); err != nil {
		t.Fatal(err)
	}
	tried := 0
	for _, group := range file.TestGroups {
		key, err := ecdsa.ParseUncompressedPublicKey(elliptic.P256(), unhex(t, group.PublicKey.Uncompressed))
		if err != nil {
			t.Fatal(err)
		}
		for _, test := range group.Tests {
			tried++
			signature := unhex(t, test.Sig)
			compact := []byte(Encode([]byte(`{"alg":"ES256","typ":"portcullis-list+jwt","kid":""}`)) + ".e30." + Encode(signature))
			s, err := Parse(compact)
			s.signed = unhex(t, test.Msg)
			if isRight := err == nil && s.IsBy(key); isRight != (test.Result == "valid") {
				t.Errorf("case %d, %s: right %t, want %s", test.ID, test.Comment, isRight, test.Result)
			}
		}
	}
	if tried != file.NumberOfTests || tried < 200 {
		t.Errorf("%d cases of %d were tried", tried, file.NumberOfTests)
	}
}

func unhex(t *testing.T, written string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(written)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}
