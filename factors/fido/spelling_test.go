package fido

import (
	"encoding/base64"
	"encoding/json"
	"strings"
	"testing"

	"github.com/go-webauthn/webauthn/protocol/webauthncbor"

	"github.com/portcullis-mfa/portcullis/factors"
)

// field returns what an answer's response has under a name.
func field(t *testing.T, answer, name string) string {
	t.Helper()
	var read struct{ Response map[string]string }
	if err := json.Unmarshal([]byte(answer), &read); err != nil {
		t.Fatal(err)
	}
	return read.Response[name]
}

// recoded changes the bytes of one field of a response.
func recoded(t *testing.T, answer, name string, change func([]byte) []byte) string {
	t.Helper()
	written := field(t, answer, name)
	content, err := base64.RawURLEncoding.DecodeString(written)
	if err != nil {
		t.Fatal(err)
	}
	return strings.Replace(answer, written, base64URL(change(content)), 1)
}

// twoWays are spellings of an answer that no browser uses, of each of which
// another reader may make something else.
func twoWays(t *testing.T, answer, bytesIn string) map[string]string {
	t.Helper()
	written, id := field(t, answer, bytesIn), base64URL([]byte("a credential id"))
	client := func(more string) string {
		return recoded(t, answer, "clientDataJSON", func(content []byte) []byte {
			return []byte(strings.Replace(string(content), "{", "{"+more+",", 1))
		})
	}
	return map[string]string{
		"padded bytes":                strings.Replace(answer, written, written+"=", 1),
		"a padded id":                 strings.ReplaceAll(answer, `"`+id+`"`, `"`+id+`="`),
		"a line break within bytes":   strings.Replace(answer, written, written[:4]+`\n`+written[4:], 1),
		"an id twice":                 strings.Replace(answer, "{", `{"id":"`+id+`",`, 1),
		"another id in another case":  strings.Replace(answer, "{", `{"ID":"AAAA",`, 1),
		"with a long s":               strings.Replace(answer, "{", `{"re\u017fponse":{},`, 1),
		"a response twice":            strings.Replace(answer, "{", `{"response":{},`, 1),
		"bytes twice":                 strings.Replace(answer, `"`+bytesIn+`"`, `"`+bytesIn+`":"AAAA","`+bytesIn+`"`, 1),
		"a challenge twice":           client(`"challenge":"AAAA"`),
		"a challenge in another case": client(`"Challenge":"AAAA"`),
		"an extension's key twice":    strings.Replace(answer, `"clientExtensionResults":{}`, `"clientExtensionResults":{"a":[{"b":1,"b":2}]}`, 1),
		"more behind it":              answer + "{}",
	}
}

// TestK03AnswersHaveOneSpelling sends right answers in spellings that could be
// read in two ways.
func TestK03AnswersHaveOneSpelling(t *testing.T) {
	d, f := newDesk(t), forge(t, algES256)
	asked, state := d.begin(alice)
	right := f.create(t, asked)
	for name, answer := range twoWays(t, right, "attestationObject") {
		if got := d.checkEnrolment(alice, state, answer); answer == right || got.Accepted() || got.Reason != factors.Malformed {
			t.Errorf("a new key, %s: %+v", name, got)
		}
	}
	k := d.keep(new(key), d.checkEnrolment(alice, state, right))
	asked, state = d.challenge(alice, k.row)
	right = f.get(t, asked)
	for name, answer := range twoWays(t, right, "signature") {
		if got := d.check(alice, state, answer, k.row); answer == right || got.Accepted() || got.Reason != factors.Malformed {
			t.Errorf("a key shown, %s: %+v", name, got)
		}
	}
	if got := d.check(alice, state, right, k.row); !got.Accepted() {
		t.Errorf("as it is: %+v", got)
	}
}

// TestK03AttestationObjectsAreWhole enrols keys whose attestation object has
// other parts than it should.
func TestK03AttestationObjectsAreWhole(t *testing.T) {
	for name, change := range map[string]func(map[string]any){
		"no statement":              func(o map[string]any) { delete(o, "attStmt") },
		"a statement of null":       func(o map[string]any) { o["attStmt"] = nil },
		"a statement that is text":  func(o map[string]any) { o["attStmt"] = "" },
		"a statement in a list":     func(o map[string]any) { o["attStmt"] = []any{} },
		"a statement for no format": func(o map[string]any) { o["attStmt"] = map[string]any{"x": 1} },
		"no format":                 func(o map[string]any) { delete(o, "fmt") },
		"no data":                   func(o map[string]any) { delete(o, "authData") },
		"names in another case": func(o map[string]any) {
			o["AttStmt"] = o["attStmt"]
			delete(o, "attStmt")
		},
		"a format twice": func(o map[string]any) { o["FMT"] = "packed" },
		"one too many":   func(o map[string]any) { o["more"] = 1 },
	} {
		t.Run(name, func(t *testing.T) {
			d, f := newDesk(t), forge(t, algES256)
			asked, state := d.begin(alice)
			answer := recoded(t, f.create(t, asked), "attestationObject", func(content []byte) []byte {
				var object map[string]any
				if err := webauthncbor.Unmarshal(content, &object); err != nil {
					t.Fatal(err)
				}
				change(object)
				written, err := webauthncbor.Marshal(object)
				if err != nil {
					t.Fatal(err)
				}
				return written
			})
			if got := d.checkEnrolment(alice, state, answer); got.Accepted() {
				t.Errorf("%+v", got)
			}
		})
	}
}

// FuzzSpelling holds that JSON of which an object has a key twice is refused.
func FuzzSpelling(f *testing.F) {
	f.Add(`{"a":1}`)
	f.Add(`{"a":{"b":[1,{"c":null}]},"A":2}`)
	f.Add(`[{},{"a":1,"a":2}]`)
	f.Add(`{"a":{}}}`)
	f.Fuzz(func(t *testing.T, content string) {
		var read map[string]any
		if checkKeysOnce([]byte(content)) != nil || json.Unmarshal([]byte(content), &read) != nil {
			return
		}
		for key := range read {
			twice := strings.Replace(content, "{", "{"+string(encoded(t, key))+":0,", 1)
			if checkKeysOnce([]byte(twice)) == nil {
				t.Errorf("%q has a key twice", twice)
			}
		}
	})
}
