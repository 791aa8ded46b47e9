package keys

import (
	"bytes"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"strings"
	"testing"
)

func mustEncode(t testing.TB, codec *Codec, value string) string {
	t.Helper()
	encoded, err := codec.Encode([]byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return encoded
}

func refuse(t *testing.T, codec *Codec, what, encoded string) {
	t.Helper()
	if value, err := codec.Decode(encoded); !errors.Is(err, ErrInvalid) || value != nil {
		t.Errorf("%s: %q gave %q, %v", what, encoded, value, err)
	}
}

func TestCodecRoundTrip(t *testing.T) {
	codec := open(t, newMemory()).Codec("__Host-mfa")
	for _, size := range []int{1, 2, 3, 15, 16, 17, 300} {
		given := bytes.Repeat([]byte{'|'}, size)
		encoded, err := codec.Encode(given)
		if err != nil {
			t.Fatal(err)
		}
		if !bytes.Equal(given, bytes.Repeat([]byte{'|'}, size)) {
			t.Error("encoding changed the caller's value")
		}
		if got, err := codec.Decode(encoded); err != nil || !bytes.Equal(got, given) {
			t.Errorf("%d bytes: %q, %v", size, got, err)
		}
		if strings.ContainsAny(encoded, " \t\r\n;,\"\\") {
			t.Errorf("%q does not fit into a cookie", encoded)
		}
	}
	if _, err := codec.Encode(nil); err == nil {
		t.Error("an empty value was encoded")
	}
	if a, b := mustEncode(t, codec, "v"), mustEncode(t, codec, "v"); a == b {
		t.Error("equal values show that they are equal")
	}
}

// S02: every bit flipped, every length cut.
func TestAlteredValuesAreRefused(t *testing.T) {
	codec := open(t, newMemory()).Codec("__Host-mfa")
	// One value for each number of padding characters.
	for _, value := range []string{"a", "ab", "abc", "abcd"} {
		encoded := mustEncode(t, codec, value)
		for length := range encoded {
			refuse(t, codec, "prefix", encoded[:length])
			refuse(t, codec, "suffix", encoded[length+1:])
			refuse(t, codec, "character taken out", encoded[:length]+encoded[length+1:])
		}
		for bit := range len(encoded) * 8 {
			altered := []byte(encoded)
			altered[bit/8] ^= 1 << (bit % 8)
			refuse(t, codec, "bit flipped", string(altered))
		}
		for position := range len(encoded) + 1 {
			for _, added := range []string{"\n", "\r", " ", "=", "A", ".", "~", "\x00"} {
				refuse(t, codec, "character put in", encoded[:position]+added+encoded[position:])
			}
		}
		for position := range encoded {
			for _, character := range []byte("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_+/=.~\r\n ") {
				if altered := encoded[:position] + string(character) + encoded[position+1:]; altered != encoded {
					refuse(t, codec, "character changed", altered)
				}
			}
		}
	}
}

func TestUnusedBitsAreRefused(t *testing.T) {
	codec := open(t, newMemory()).Codec("__Host-mfa")
	const alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
	seen := false
	for _, value := range []string{"a", "ab", "abc", "abcd", "abcde", "abcdef"} {
		now, before := mustEncode(t, codec, value), encodeTwice(t, codec, value)
		for _, encoded := range []string{now, before} {
			unpadded := strings.TrimRight(encoded, "=")
			if unpadded != encoded {
				refuse(t, codec, "padding left out", unpadded)
			} else if encoded == before || len(encoded[strings.IndexAny(encoded, "~.")+1:])%4 == 0 {
				continue // no bit is unused
			}
			seen = true
			last := len(unpadded) - 1
			index := strings.IndexByte(alphabet, unpadded[last])
			altered := unpadded[:last] + string(alphabet[index^1]) + encoded[len(unpadded):]
			refuse(t, codec, "unused bit set", altered)
		}
	}
	if !seen {
		t.Fatal("no value had unused bits")
	}
}

func TestNamesAreBound(t *testing.T) {
	set := open(t, newMemory())
	names := []string{"__Host-mfa", "__Host-mfa-portal", "request", "request|1", ""}
	for _, from := range names {
		for _, to := range names {
			encoded := mustEncode(t, set.Codec(from), "value")
			if from != to {
				refuse(t, set.Codec(to), from+" as "+to, encoded)
			}
		}
	}
}

func TestGarbageIsRefused(t *testing.T) {
	set, other := open(t, newMemory()), open(t, newMemory())
	codec := set.Codec("name")
	id := set.current.Load().currentCookie
	tests := []struct {
		name, encoded string
		want          error
	}{
		{"nothing", "", ErrInvalid},
		{"a dot", ".", ErrUnknownKey},
		{"no dot", id, ErrInvalid},
		{"id alone", id + ".", ErrInvalid},
		{"not base64", id + ".!!!!", ErrInvalid},
		{"padding alone", id + ".====", ErrInvalid},
		{"too short", id + ".QQ==", ErrInvalid},
		{"separators only", id + ".fHx8", ErrInvalid},
		{"not UTF-8", id + ".\xff\xfe\xfd\xfc", ErrInvalid},
		{"another set's", mustEncode(t, other.Codec("name"), "v"), ErrUnknownKey},
		{"another set's under our id", id + mustEncode(t, other.Codec("name"), "v")[len(id):], ErrInvalid},
		{"upper-case id", strings.ToUpper("abcdefab") + ".AAAA", ErrUnknownKey},
		{"id and tilde alone", id + "~", ErrInvalid},
		{"packed, not base64", id + "~!!!!", ErrInvalid},
		{"packed, date and MAC alone", id + "~" + strings.Repeat("A", 50), ErrInvalid},
		{"packed, nothing signed", id + "~" + strings.Repeat("A", 80), ErrInvalid},
		{"over-long", id + "." + strings.Repeat("A", 1<<16), ErrInvalid},
	}
	for _, test := range tests {
		t.Run(test.name, func(t *testing.T) {
			_, err := codec.Decode(test.encoded)
			if !errors.Is(err, ErrInvalid) || !errors.Is(err, test.want) {
				t.Errorf("got %v, want %v", err, test.want)
			}
			if test.want == ErrInvalid && errors.Is(err, ErrUnknownKey) {
				t.Errorf("got %v for a key that is there", err)
			}
		})
	}
}

func TestLengthLimits(t *testing.T) {
	set := open(t, newMemory())
	cookie, request := set.Codec("n"), set.Codec("n").WithMaxLength(8<<10)
	long := strings.Repeat("x", 3100)
	if _, err := cookie.Encode([]byte(long)); !errors.Is(err, ErrTooLong) {
		t.Errorf("over 4096 bytes: %v", err)
	}
	encoded := mustEncode(t, request, long)
	if len(encoded) <= DefaultMaxLength {
		t.Fatalf("only %d bytes", len(encoded))
	}
	if _, err := request.Decode(encoded); err != nil {
		t.Errorf("within the codec's own limit: %v", err)
	}
	refuse(t, cookie, "over the limit", encoded)
	exact := set.Codec("n").WithMaxLength(len(encoded))
	if _, err := exact.Decode(encoded); err != nil {
		t.Errorf("exactly at the limit: %v", err)
	}
	refuse(t, set.Codec("n").WithMaxLength(len(encoded)-1), "one over the limit", encoded)
}

// Refusing what is not ours costs no cryptography: no allocation even.
func TestForeignValuesCostNothing(t *testing.T) {
	set, other := open(t, newMemory()), open(t, newMemory())
	codec := set.Codec("n")
	for name, encoded := range map[string]string{
		"unknown key": mustEncode(t, other.Codec("n"), "value"),
		"over-long":   strings.Repeat("A", 1<<20),
		"no dot":      strings.Repeat("A", 100),
		"line break":  set.current.Load().currentCookie + "." + strings.Repeat("A", 100) + "\n",
	} {
		if allocations := testing.AllocsPerRun(10, func() { _, _ = codec.Decode(encoded) }); allocations != 0 {
			t.Errorf("%s: %v allocations", name, allocations)
		}
	}
}

// A value of any age decodes: the library's limit of 30 days, which each key
// would carry along, must not be the one that decides.
func TestAgeIsNotJudged(t *testing.T) {
	set := open(t, newMemory())
	doc := set.current.Load().document
	codec := set.Codec("name")
	id, body, _ := strings.Cut(encodeTwice(t, codec, "value"), ".")
	raw, err := base64.URLEncoding.DecodeString(body)
	if err != nil {
		t.Fatal(err)
	}
	// "date|value|mac", signed again with a date in 2001.
	signed := "1000000000|" + string(bytes.Split(raw, []byte("|"))[1])
	mac := hmac.New(sha256.New, doc.Cookies[0].Hash)
	mac.Write([]byte("name|" + signed))
	old := base64.URLEncoding.EncodeToString(mac.Sum([]byte(signed + "|")))
	if got, err := codec.Decode(id + "." + old); err != nil || string(got) != "value" {
		t.Errorf("got %q, %v", got, err)
	}
}

// encodeTwice encodes as earlier versions did.
func encodeTwice(t testing.TB, codec *Codec, value string) string {
	t.Helper()
	now := codec.set.current.Load()
	body, err := now.cookies[now.currentCookie].Encode(codec.name, []byte(value))
	if err != nil {
		t.Fatal(err)
	}
	return now.currentCookie + "." + body
}

// What earlier versions encoded is read. Neither form can be turned into the
// other, so that each value has one.
func TestValuesOfEarlierVersions(t *testing.T) {
	codec := open(t, newMemory()).Codec("name")
	before, now := encodeTwice(t, codec, "value"), mustEncode(t, codec, "value")
	if got, err := codec.Decode(before); err != nil || string(got) != "value" {
		t.Errorf("got %q, %v", got, err)
	}
	if len(now) >= len(before) {
		t.Errorf("%d bytes are no less than %d", len(now), len(before))
	}
	id, body, _ := strings.Cut(before, ".")
	packed, err := pack(body)
	if err != nil {
		t.Fatal(err)
	}
	refuse(t, codec, "packed afterwards", id+"~"+packed)
	_, packed, _ = strings.Cut(now, "~")
	body, ok := unpack(packed)
	if !ok {
		t.Fatalf("%q can't be unpacked", packed)
	}
	refuse(t, codec, "unpacked", id+"."+body)
}

func FuzzDecode(f *testing.F) {
	set := open(f, newMemory())
	codec := set.Codec("name").WithMaxLength(8 << 10)
	id := set.current.Load().currentCookie
	genuine := strings.TrimPrefix(mustEncode(f, codec, "value"), id)
	f.Add(genuine)
	f.Add(".MTc1MDMzMzk2NXx4fHk=")
	f.Add("~" + strings.Repeat("A", 80))
	f.Add("")
	f.Add(".====")
	f.Fuzz(func(t *testing.T, rest string) {
		value, err := codec.Decode(id + rest)
		if err == nil && rest != genuine {
			t.Errorf("forged %q: %q", rest, value)
		}
		if err != nil && (!errors.Is(err, ErrInvalid) || value != nil) {
			t.Errorf("%q: %q, %v", rest, value, err)
		}
	})
}
