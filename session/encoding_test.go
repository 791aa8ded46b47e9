package session

import (
	"encoding/hex"
	"math/rand/v2"
	"reflect"
	"testing"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
)

// filled sets every field of what v holds to something else than its zero, so
// that one which is added without being written into cookies is found out.
func filled(t *testing.T, v reflect.Value) {
	t.Helper()
	switch field := v.Addr().Interface().(type) {
	case *time.Time:
		*field = time.UnixMilli(rand.Int64N(1 << 42)).UTC()
		return
	case *assurance.Level:
		*field = assurance.Multi
		return
	case *assurance.CertificateUse:
		*field = assurance.CertificateAlone
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString(string(rune('a' + rand.IntN(26))))
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int64:
		v.SetInt(1 + rand.Int64N(1<<40))
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range v.Len() {
			filled(t, v.Index(i))
		}
	case reflect.Struct:
		for i := range v.NumField() {
			if v.Type().Field(i).IsExported() {
				filled(t, v.Field(i))
			}
		}
	default:
		t.Fatalf("don't know how to fill a %s", v.Type())
	}
}

// Everything that a session says goes through a cookie.
func TestSessionsAreWrittenWhole(t *testing.T) {
	var made Session
	filled(t, reflect.ValueOf(&made).Elem())
	for name, s := range map[string]Session{"filled": made, "empty": {Minted: time.Time{}.UTC(), Expires: time.Time{}.UTC()}} {
		var read Session
		if err := read.decode(s.encode()); err != nil || !reflect.DeepEqual(read, s) {
			t.Errorf("%s: %+v is read as %+v, %v", name, s, read, err)
		}
	}
}

// ofFixedFormat is a session as an earlier version wrote it, in hexadecimal.
const ofFixedFormat = "02002b41414543417751464267634943516f4c4441304f4478415245684d554652595847426b61477877644868380006757365722d31" +
	"000f6170702e6578616d706c652e636f6d00046c6966650000019b76daa87b0000019b796dd67b03000000d18c2e280001000870617373776f72640000019b76" +
	"d9be1b00000000046669646f0000019b76daa4930500036b657900056f746865720000019b76daa87b020000"

func fromHex(t testing.TB, text string) []byte {
	t.Helper()
	raw, err := hex.DecodeString(text)
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

// Sessions go on over an update of the program, and new ones are a third shorter.
func TestSessionsOfEarlierVersions(t *testing.T) {
	at := time.UnixMilli(1767225600123).UTC()
	want := Session{
		SignOn: "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8", User: "user-1", Host: "app.example.com",
		Minted: at, Expires: at.Add(12 * time.Hour), Incarnation: "life",
		Asked: assurance.Requirement{Level: assurance.Multi, MaxAge: 15 * time.Minute, Certificate: assurance.CertificateAdded},
		Proofs: []assurance.Proof{
			{Factor: assurance.Password, At: at.Add(-time.Minute)},
			{Factor: assurance.FIDO, At: at.Add(-time.Second), UserVerified: true, HeldToMulti: true, Credential: "key"},
			{Factor: "other", At: at, Remembered: true},
		},
	}
	before := fromHex(t, ofFixedFormat)
	var read Session
	if err := read.decode(before); err != nil || !reflect.DeepEqual(read, want) {
		t.Errorf("%+v, %v", read, err)
	}
	if err := new(Session).decode(before[:len(before)-1]); err == nil {
		t.Error("one that was cut off is read")
	}
	if now := want.encode(); len(now) > 2*len(before)/3 {
		t.Errorf("%d bytes, %d before", len(now), len(before))
	}
}

// Each proof counts by itself: none is read with another's bits.
func TestBitsOfProofs(t *testing.T) {
	proofs := []assurance.Proof{{UserVerified: true}, {Remembered: true}, {HeldToMulti: true}, {}}
	for i := range proofs {
		proofs[i].At = time.Time{}.UTC()
	}
	var read Session
	if err := read.decode((&Session{Proofs: proofs, Minted: proofs[0].At, Expires: proofs[0].At}).encode()); err != nil || !reflect.DeepEqual(read.Proofs, proofs) {
		t.Errorf("%+v, %v", read.Proofs, err)
	}
}

// What isn't a session is none, wherever it ends.
func TestWhatIsNoSession(t *testing.T) {
	whole := (&Session{SignOn: "s", User: "alice", Host: "app.example.com"}).encode()
	others := [][]byte{[]byte(`{"s":"s"}`), append([]byte{format + 1}, whole[1:]...), append(whole[:len(whole):len(whole)], 0), append(whole[:len(whole):len(whole)], 0xf0, 0)}
	for length := range whole {
		others = append(others, whole[:length])
	}
	for _, other := range others {
		if err := new(Session).decode(other); err == nil {
			t.Errorf("%q is read as a session", other)
		}
	}
}

// Whatever the bytes, what is read is written and read again as the same.
func FuzzDecode(f *testing.F) {
	f.Add((&Session{SignOn: "s", Proofs: []assurance.Proof{{Factor: assurance.Password, Remembered: true}}}).encode())
	f.Add(fromHex(f, ofFixedFormat))
	f.Fuzz(func(t *testing.T, encoded []byte) {
		var read, again Session
		if read.decode(encoded) != nil {
			return
		}
		err := again.decode(read.encode())
		if err != nil || !reflect.DeepEqual(read, again) {
			t.Errorf("%+v is read again as %+v, %v", read, again, err)
		}
	})
}
