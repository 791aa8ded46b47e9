package identity

import (
	"reflect"
	"strings"
	"testing"
)

const (
	goodSalt = "c2l4dGVlbiBsZXR0ZXJzLg"
	goodTag  = "AAECAwQFBgcICQoLDA0ODxAREhMUFRYXGBkaGxwdHh8"
	goodHash = "$argon2id$v=19$m=65536,t=3,p=1,keyid=cDE$" + goodSalt + "$" + goodTag
)

func TestParseHash(t *testing.T) {
	hash, err := parseHash(goodHash)
	if err != nil {
		t.Fatal(err)
	}
	want := storedHash{
		params: Params{Memory: 65536, Passes: 3, Parallelism: 1},
		keyID:  "p1",
		salt:   []byte("sixteen letters."),
		tag: []byte{
			0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15,
			16, 17, 18, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 29, 30, 31,
		},
	}
	if !reflect.DeepEqual(hash, want) {
		t.Errorf("got %+v", hash)
	}
}

func TestParseHashRefuses(t *testing.T) {
	for name, change := range map[string][2]string{
		"empty":                   {goodHash, ""},
		"bcrypt":                  {goodHash, "$2a$12$R9h/cIPz0gi.URNNX3kh2OPST9/PgBkqquzi.Ss7KIUgO2t0jWMUW"},
		"something before":        {"$argon2id", "x$argon2id"},
		"something after":         {goodTag, goodTag + "$"},
		"line break at the end":   {goodTag, goodTag + "\n"},
		"line break in the salt":  {goodSalt, "c2l4dGVlb\niBsZXR0ZXJzLg"},
		"argon2i":                 {"argon2id", "argon2i"},
		"upper case":              {"argon2id", "Argon2id"},
		"older version":           {"v=19", "v=16"},
		"no version":              {"v=19$", ""},
		"no memory":               {"m=65536,", ""},
		"other order":             {"m=65536,t=3", "t=3,m=65536"},
		"a parameter twice":       {"t=3", "t=3,t=3"},
		"leading zero":            {"t=3", "t=03"},
		"sign":                    {"t=3", "t=+3"},
		"negative":                {"t=3", "t=-3"},
		"space":                   {"t=3", "t= 3"},
		"not a number":            {"t=3", "t=x"},
		"4 GiB":                   {"m=65536", "m=4194304"},
		"256 MiB and a bit":       {"m=65536", "m=262145"},
		"memory beyond 32 bits":   {"m=65536", "m=4295032832"},
		"no memory at all":        {"m=65536", "m=0"},
		"less memory than a lane": {"m=65536", "m=7"},
		"no passes":               {"t=3", "t=0"},
		"nine passes":             {"t=3", "t=9"},
		"no lanes":                {"p=1", "p=0"},
		"five lanes":              {"p=1", "p=5"},
		"257 lanes":               {"p=1", "p=257"},
		"no pepper":               {",keyid=cDE", ""},
		"empty pepper id":         {"keyid=cDE", "keyid="},
		"pepper id of 49 bytes":   {"keyid=cDE", "keyid=" + strings.Repeat("cDEx", 16) + "cA"},
		"pepper id with padding":  {"keyid=cDE", "keyid=cDE="},
		"pepper id, stray bits":   {"keyid=cDE", "keyid=cDF"},
		"pepper id in the clear":  {"keyid=cDE", "keyid=p-1"},
		"short salt":              {goodSalt, goodSalt[:20]},
		"no salt":                 {goodSalt, ""},
		"salt with stray bits":    {goodSalt, goodSalt[:21] + "h"},
		"salt in URL alphabet":    {goodSalt, "c2l4dGVlbiBsZXR0ZX-_Lg"},
		"short tag":               {goodTag, goodTag[:42]},
		"no tag":                  {goodTag, ""},
		"long tag":                {goodTag, goodTag + "AAAA"},
		"tag with padding":        {goodTag, goodTag + "="},
	} {
		encoded := strings.Replace(goodHash, change[0], change[1], 1)
		if encoded == goodHash {
			t.Fatalf("%s: nothing changed", name)
		}
		hash, err := parseHash(encoded)
		if err == nil || !reflect.DeepEqual(hash, storedHash{}) {
			t.Errorf("%s: %s: got %+v, %v", name, encoded, hash, err)
		}
		hasher := newTestHasher(t, HasherConfig{})
		if ok, err := hasher.Verify(t.Context(), encoded, "purple otter 41"); ok || err == nil {
			t.Errorf("%s: verified: %v, %v", name, ok, err)
		} else if encoded != "" && strings.Contains(err.Error(), goodTag) {
			t.Errorf("%s: the error tells the hash: %v", name, err)
		}
	}
}

func FuzzParseHash(f *testing.F) {
	f.Add(goodHash)
	f.Add("$argon2id$v=19$m=8,t=1,p=1,keyid=cA$" + goodSalt + "$" + goodTag)
	f.Add("$argon2id$v=19$m=4194304,t=3,p=255,keyid=cDE$" + goodSalt + "$" + goodTag)
	f.Add("$argon2id$v=19$m=65536,t=3,p=1,keyid=c\nDE$$")
	f.Fuzz(func(t *testing.T, encoded string) {
		hash, err := parseHash(encoded)
		if err != nil {
			if !reflect.DeepEqual(hash, storedHash{}) {
				t.Fatalf("a refusal of %q returned %+v", encoded, hash)
			}
			return
		}
		if hash.String() != encoded {
			t.Errorf("%q was read as %q", encoded, hash)
		}
		if hash.params.Memory > 256*1024 || hash.params.Passes > 8 || hash.params.Parallelism > 4 {
			t.Errorf("%q may take too much", encoded)
		}
	})
}
