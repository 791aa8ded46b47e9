package harness

import (
	"bytes"
	"encoding/base64"
	"encoding/binary"
	"encoding/hex"
	"encoding/json"
	"html"
	"io/fs"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
)

// canaries are the secrets that a test used, and what was read for them
// before the server that could tell was stopped.
type canaries struct {
	mu       sync.Mutex
	secrets  []string
	captured []haystack
}

// haystack is one thing that is searched, and what to call it.
type haystack struct {
	name string
	text []byte
}

// Canary names a secret that the test uses: a password, a code, a cookie, a
// token. At the end of the test the server's logs, metrics, configuration dump
// and every file that it keeps are searched for all of them, in any usual
// encoding, and the test fails for each one found. Codes of few digits count
// only where they stand alone. Empty ones are left out, and those of fewer than four
// bytes fail the test. Safe for concurrent use.
func (s *Server) Canary(secrets ...string) {
	s.canaries.mu.Lock()
	defer s.canaries.mu.Unlock()
	for _, secret := range secrets {
		switch {
		case secret == "":
		case len(secret) < formStart:
			s.t.Errorf("the secret %q is too short to be searched for", secret)
		default:
			s.canaries.secrets = append(s.canaries.secrets, secret)
		}
	}
}

// captureAdmin keeps what only a running server tells, before it is gone.
func (s *Server) captureAdmin() {
	s.t.Helper()
	for _, path := range []string{"/metrics", "/config/"} {
		text, err := s.AdminGet(path)
		if err != nil {
			// The process may have died under the test, which is its matter.
			s.t.Logf("not searched for canaries: %v", err)
			continue
		}
		s.capture(haystack{"the admin endpoint's " + path, []byte(text)})
	}
}

func (s *Server) capture(found ...haystack) {
	s.canaries.mu.Lock()
	defer s.canaries.mu.Unlock()
	s.canaries.captured = append(s.canaries.captured, found...)
}

// files reads all that the server keeps, in its data folder, its folder for
// the test and the home folder that it was given.
func (s *Server) files() []haystack {
	var found []haystack
	_ = filepath.WalkDir(s.folder, func(path string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.Type().IsRegular() || path == s.caddyfile() {
			return nil // gone meanwhile, or the test's own
		}
		if text, err := os.ReadFile(path); err == nil {
			name, _ := filepath.Rel(s.folder, path)
			found = append(found, haystack{"the file " + name, text})
		}
		return nil
	})
	return found
}

// scanForCanaries fails the test for every secret found. The message quotes
// what stands around it, which the test's author needs more than secrecy.
func (s *Server) scanForCanaries() {
	s.t.Helper()
	s.canaries.mu.Lock()
	defer s.canaries.mu.Unlock()
	searched := append(s.files(), s.canaries.captured...)
	searched = append(searched, haystack{"the log", []byte(s.log.String())})
	search := newSearch(s.canaries.secrets)
	for _, h := range searched {
		for secret, at := range search.leaks(h.text) {
			s.t.Errorf("%s holds the secret %q: …%q…", h.name, secret, around(h.text, at, len(secret)))
		}
	}
}

// standAlone is the length from which on a secret is found in any encoding and
// any neighbourhood; shorter ones occur by chance in numbers and times.
const standAlone = 9

// form is a secret as it could be written down.
type form struct {
	secret, text string
	alone        bool // counts only where no letter, digit or point touches it
}

// formStart is how many bytes of a form are looked up at each place of a text.
const formStart = 4

// search finds many secrets in one pass over a text: searching for one form after the
// other took a tenth of all suites.
type search struct {
	forms map[uint32][]form // by their first bytes
	begin [1 << 16]bool     // whether a form begins with bytes of that hash
}

func newSearch(secrets []string) *search {
	s := &search{forms: make(map[uint32][]form)}
	known := make(map[string]bool)
	for _, secret := range secrets {
		if known[secret] {
			continue
		}
		known[secret] = true
		if len(secret) < standAlone {
			s.add(form{secret, secret, true})
			continue
		}
		for _, text := range encodings(secret) {
			s.add(form{secret, text, false})
		}
	}
	return s
}

func (s *search) add(f form) {
	start := binary.LittleEndian.Uint32([]byte(f.text))
	s.forms[start] = append(s.forms[start], f)
	s.begin[startHash(start)] = true
}

func startHash(start uint32) uint32 { return start * 0x9e3779b1 >> 16 }

// leaks returns where in the text each secret that it holds stands first.
func (s *search) leaks(text []byte) map[string]int {
	found := make(map[string]int)
	for at := 0; at+formStart <= len(text); at++ {
		start := binary.LittleEndian.Uint32(text[at:])
		if !s.begin[startHash(start)] {
			continue
		}
		for _, f := range s.forms[start] {
			if _, again := found[f.secret]; !again && f.standsAt(text, at) {
				found[f.secret] = at
			}
		}
	}
	return found
}

func (f form) standsAt(text []byte, at int) bool {
	end := at + len(f.text)
	if end > len(text) || string(text[at:end]) != f.text {
		return false
	}
	return !f.alone || (at == 0 || !isWordByte(text[at-1])) && (end == len(text) || !isWordByte(text[end]))
}

func isWordByte(b byte) bool {
	return b == '.' || b == '_' || '0' <= b && b <= '9' || 'a' <= b && b <= 'z' || 'A' <= b && b <= 'Z'
}

// encodings returns the secret as it could be written down by somebody who
// did not mean to hide it.
func encodings(secret string) []string {
	quoted, _ := json.Marshal(secret) // a string always encodes
	forms := []string{
		secret,
		strings.Trim(string(quoted), `"`),
		html.EscapeString(secret),
		url.QueryEscape(secret), lowerEscapes(url.QueryEscape(secret)),
		url.PathEscape(secret), lowerEscapes(url.PathEscape(secret)),
		hex.EncodeToString([]byte(secret)), strings.ToUpper(hex.EncodeToString([]byte(secret))),
	}
	for offset := range 3 {
		forms = append(forms, base64Within(base64.RawStdEncoding, secret, offset), base64Within(base64.RawURLEncoding, secret, offset))
	}
	slices.Sort(forms)
	return slices.Compact(forms)
}

// base64Within is the part of the encoding that doesn't depend on what stands
// around the secret, where offset bytes (modulo 3) stand before it.
func base64Within(encoding *base64.Encoding, secret string, offset int) string {
	padded := append(make([]byte, offset), secret...)
	encoded := encoding.EncodeToString(padded[:len(padded)/3*3])
	if offset > 0 {
		encoded = encoded[4:]
	}
	return encoded
}

// lowerEscapes writes the hexadecimal digits of percent-escapes in lower case.
func lowerEscapes(escaped string) string {
	lowered := []byte(escaped)
	for i := 0; i+2 < len(lowered); i++ {
		if lowered[i] == '%' {
			copy(lowered[i+1:i+3], bytes.ToLower(lowered[i+1:i+3]))
		}
	}
	return string(lowered)
}

func around(text []byte, at, length int) []byte {
	return text[max(0, at-60):min(len(text), at+length+60)]
}
