package session

import (
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
		encoded, err := s.encode()
		if err != nil {
			t.Fatal(err)
		}
		var read Session
		if err := read.decode(encoded); err != nil || !reflect.DeepEqual(read, s) {
			t.Errorf("%s: %+v is read as %+v, %v", name, s, read, err)
		}
	}
}

// Each proof counts by itself: none is read with another's bits.
func TestBitsOfProofs(t *testing.T) {
	proofs := []assurance.Proof{{UserVerified: true}, {Remembered: true}, {HeldToMulti: true}, {}}
	for i := range proofs {
		proofs[i].At = time.Time{}.UTC()
	}
	encoded, err := (&Session{Proofs: proofs}).encode()
	if err != nil {
		t.Fatal(err)
	}
	var read Session
	if err := read.decode(encoded); err != nil || !reflect.DeepEqual(read.Proofs, proofs) {
		t.Errorf("%+v, %v", read.Proofs, err)
	}
}

// What isn't a session is none, wherever it ends.
func TestWhatIsNoSession(t *testing.T) {
	whole, err := (&Session{SignOn: "s", User: "alice", Host: "app.example.com"}).encode()
	if err != nil {
		t.Fatal(err)
	}
	others := [][]byte{[]byte(`{"s":"s"}`), append([]byte{format + 1}, whole[1:]...), append(whole[:len(whole):len(whole)], 0)}
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
	whole, err := (&Session{SignOn: "s", Proofs: []assurance.Proof{{Factor: assurance.Password, Remembered: true}}}).encode()
	if err != nil {
		f.Fatal(err)
	}
	f.Add(whole)
	f.Fuzz(func(t *testing.T, encoded []byte) {
		var read, again Session
		if read.decode(encoded) != nil {
			return
		}
		written, err := read.encode()
		if err != nil || again.decode(written) != nil || !reflect.DeepEqual(read, again) {
			t.Errorf("%+v is read again as %+v, %v", read, again, err)
		}
	})
}
