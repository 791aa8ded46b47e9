package keys

import (
	"bytes"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"errors"
	"strconv"
	"strings"
)

// securecookie encodes what it encrypted in base64, puts date and MAC around it
// and encodes all of that in base64 again. So a third of each value says nothing.
// The packed form has the same parts as bytes, one behind the other, and encodes
// them once: date, MAC, and what was encrypted.

const (
	dateBytes = 5 // in seconds since 1970
	macBytes  = sha256.Size
	// packedName is put before the names of codecs, so that nobody can turn a
	// value of one form into another text that decodes to the same.
	packedName = "packed|"
)

var (
	once  = base64.RawURLEncoding.Strict()
	twice = base64.URLEncoding // as securecookie does it
)

// errUnpackable says that the library made something in another form than here
// is known.
var errUnpackable = errors.New("securecookie's format has changed")

// pack returns the packed form of what securecookie encoded.
func pack(body string) (string, error) {
	outer, err := twice.DecodeString(body)
	if err != nil {
		return "", errUnpackable
	}
	date, rest, dated := bytes.Cut(outer, []byte("|"))
	inner, mac, signed := bytes.Cut(rest, []byte("|"))
	seconds, err := strconv.ParseUint(string(date), 10, 8*dateBytes)
	if !dated || !signed || err != nil || len(mac) != macBytes {
		return "", errUnpackable
	}
	raw := binary.BigEndian.AppendUint64(nil, seconds)[8-dateBytes:]
	raw = append(raw, mac...)
	raw, err = twice.AppendDecode(raw, inner)
	if err != nil {
		return "", errUnpackable
	}
	return once.EncodeToString(raw), nil
}

// unpack returns what securecookie encoded, and false if a text isn't the packed
// form of anything. It checks no MAC.
func unpack(packed string) (string, bool) {
	if strings.ContainsAny(packed, "\r\n") {
		return "", false // the decoder would skip them
	}
	raw, err := once.DecodeString(packed)
	if err != nil || len(raw) <= dateBytes+macBytes {
		return "", false
	}
	date, mac, inner := raw[:dateBytes], raw[dateBytes:dateBytes+macBytes], raw[dateBytes+macBytes:]
	var seconds [8]byte
	copy(seconds[8-dateBytes:], date)
	outer := make([]byte, 0, 2*len(packed))
	outer = strconv.AppendUint(outer, binary.BigEndian.Uint64(seconds[:]), 10)
	outer = append(outer, '|')
	outer = twice.AppendEncode(outer, inner)
	outer = append(outer, '|')
	outer = append(outer, mac...)
	return twice.EncodeToString(outer), true
}
