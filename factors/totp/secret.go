package totp

import (
	"crypto/subtle"
	"encoding/json"
	"errors"
	"fmt"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/pquerna/otp"
	"github.com/pquerna/otp/hotp"

	"github.com/portcullis-mfa/portcullis/factors"
)

const (
	// window is how many steps before and after the current one are accepted:
	// RFC 6238 §5.2 recommends at most one for the delay on the way.
	window = 1
	// lookAround is how many steps to either side a drifting clock is looked
	// for. It is told, never accepted.
	lookAround = 10
	// farAhead is from when on a dead step lies too far ahead to be believed: the
	// server's clock was ahead when its code was accepted. Within that time a
	// clock that is set back revives nothing.
	farAhead = 15 * time.Minute
	// maxRefused bounds the memory of told steps. Only a server's clock that
	// is set back again and again can reach it.
	maxRefused = 64
)

// secret is an authenticator as its credential keeps it, in JSON.
type secret struct {
	Key       string `json:"key"` // base32 without padding
	Algorithm string `json:"algorithm"`
	Digits    int    `json:"digits"`
	Period    int    `json:"period"` // seconds
	// Last is the newest step that is dead, with all older ones: usually the
	// one of the code accepted last.
	Last int64 `json:"last"`
	// Refused holds newer steps that are dead, ascending. Whoever was told
	// that a code drifts knows that it is genuine, and could otherwise wait
	// for its time to come.
	Refused []int64 `json:"refused,omitempty"`
}

// outcome is how a code stands to a credential, the better the higher.
type outcome int

const (
	wrong    outcome = iota
	drifting         // of a step too far away
	used             // of a dead step
	accepted
)

// finding is a code's outcome, the step that it belongs to, and the step that
// it was when it came.
type finding struct {
	outcome   outcome
	step, now int64
}

// judge finds the best outcome of a code at the step now. It computes and
// compares the codes of all steps around, whatever comes of it.
func (s secret) judge(code string, now int64) finding {
	var best finding
	for step := now - lookAround; step <= now+lookAround; step++ {
		right, err := s.code(step)
		if err != nil || subtle.ConstantTimeCompare([]byte(right), []byte(code)) != 1 {
			continue
		}
		if found := s.classify(step, now); found > best.outcome {
			best = finding{outcome: found, step: step, now: now}
		}
	}
	return best
}

// classify is the rule for a code of the given step, at the step now.
func (s secret) classify(step, now int64) outcome {
	near := step >= now-window && step <= now+window
	switch {
	case step <= s.Last:
		return used
	case near && s.isRefused(step):
		return used
	case near:
		return accepted
	}
	return drifting
}

func (s secret) isRefused(step int64) bool { return slices.Contains(s.Refused, step) }

// drift is how far the authenticator's clock is ahead.
func (s secret) drift(f finding) time.Duration {
	return time.Duration(f.step-f.now) * time.Duration(s.Period) * time.Second
}

// withAccepted returns the secret after the code was accepted.
func (s secret) withAccepted(f finding) secret {
	s.Last = f.step
	return s.tidied(f.now)
}

// withRefused returns the secret after it was told that the code drifts.
func (s secret) withRefused(f finding) secret {
	s.Refused = append(slices.Clone(s.Refused), f.step)
	slices.Sort(s.Refused)
	return s.tidied(f.now)
}

// pulledBack returns the secret without dead steps far ahead, and whether there
// were any. What can be accepted now is dead in their place, lest a code of
// before counts twice, and so is the very code that was accepted last: its owner
// waits for two codes, instead of for the clock to get there.
func (s secret) pulledBack(now int64) (secret, bool) {
	if s.Last <= now+int64(farAhead/time.Second)/int64(s.Period) {
		return s, false
	}
	s.Refused = append(slices.Clone(s.Refused), s.Last)
	slices.Sort(s.Refused)
	s.Refused = s.Refused[max(0, len(s.Refused)-maxRefused):]
	s.Last = now + window
	return s, true
}

// tidied forgets refused steps that are past. They are not merely dropped,
// lest a clock that is set back revives them: Last is raised to them.
func (s secret) tidied(now int64) secret {
	for i, step := range s.Refused {
		if step < now-lookAround || len(s.Refused)-i > maxRefused {
			s.Last = max(s.Last, step)
		}
	}
	s.Refused = slices.DeleteFunc(slices.Clone(s.Refused), func(step int64) bool { return step <= s.Last })
	return s
}

// stepAt is the number of the period that t lies in, RFC 6238 §4.2.
func (s secret) stepAt(t time.Time) int64 {
	period, seconds := int64(s.Period), t.Unix()
	step := seconds / period
	if seconds%period < 0 {
		step-- // before 1970: divisions round towards zero
	}
	return step
}

// code is what the authenticator shows in a step. It fails for every step or
// for none, so parseSecret tries one.
func (s secret) code(step int64) (string, error) {
	algorithm, known := algorithmNamed(s.Algorithm)
	if !known {
		return "", fmt.Errorf("unknown algorithm %q", s.Algorithm)
	}
	return hotp.GenerateCodeCustom(s.Key, uint64(step), hotp.ValidateOpts{
		Digits:    otp.Digits(s.Digits),
		Algorithm: algorithm.library,
	})
}

// uri is the provisioning URI by which apps take over the secret. It names all
// parameters, and escapes everything that needs it in any position, since
// apps differ in what they make of "+" and "/".
// Source: github.com/google/google-authenticator/wiki/Key-Uri-Format.
func (s secret) uri(issuer, account string) string {
	escape := func(part string) string { return strings.ReplaceAll(url.QueryEscape(part), "+", "%20") }
	return "otpauth://totp/" + escape(issuer) + ":" + escape(account) +
		"?secret=" + s.Key +
		"&issuer=" + escape(issuer) +
		"&algorithm=" + s.Algorithm +
		"&digits=" + strconv.Itoa(s.Digits) +
		"&period=" + strconv.Itoa(s.Period)
}

// inGroups sets a space after every four characters.
func inGroups(key string) string {
	groups := make([]string, 0, len(key)/4+1)
	for group := range slices.Chunk([]byte(key), 4) {
		groups = append(groups, string(group))
	}
	return strings.Join(groups, " ")
}

func (s secret) marshal() ([]byte, error) {
	written, err := json.Marshal(s)
	if err != nil {
		return nil, fmt.Errorf("writing a TOTP secret: %w", err)
	}
	return written, nil
}

// parseSecret reads what marshal wrote. Its errors quote nothing of it.
func parseSecret(written []byte) (secret, error) {
	var s secret
	if json.Unmarshal(written, &s) != nil {
		return secret{}, errors.New("a TOTP secret is not the expected JSON")
	}
	_, err := s.code(0)
	if err != nil || s.Key == "" || s.Digits != 6 && s.Digits != 8 || s.Period <= 0 {
		return secret{}, errors.New("a TOTP secret has a key, algorithm, digits or period that cannot be used")
	}
	return s, nil
}

func parseAll(credentials []factors.Credential) ([]secret, error) {
	secrets := make([]secret, len(credentials))
	for i, credential := range credentials {
		var err error
		if secrets[i], err = parseSecret(credential.Secret); err != nil {
			return nil, fmt.Errorf("reading credential %s: %w", credential.ID, err)
		}
	}
	return secrets, nil
}
