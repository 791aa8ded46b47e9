package harness

import (
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"testing"
	"time"
)

// EnvSkipMissing, set to 1, skips tests whose system packages are missing,
// which otherwise fail: a suite that silently tests less is worse than one
// that asks for a package.
const EnvSkipMissing = "PORTCULLIS_SKIP_MISSING"

// debianPackages names the packages of programs that are not called as their
// package is.
var debianPackages = map[string]string{
	"certutil": "libnss3-tools", "pk12util": "libnss3-tools", "zbarimg": "zbar-tools",
	"prlimit": "util-linux", "chattr": "e2fsprogs", "node": "nodejs",
}

// Need fails the test, naming the Debian package, where one of the programs
// is not installed.
func Need(t testing.TB, programs ...string) {
	t.Helper()
	for _, program := range programs {
		if _, err := exec.LookPath(program); err == nil {
			continue
		}
		packageName := program
		if name, ok := debianPackages[program]; ok {
			packageName = name
		}
		message := fmt.Sprintf("this test needs %s: apt-get install %s (or run test/install-packages.sh)", program, packageName)
		if os.Getenv(EnvSkipMissing) == "1" {
			t.Skip(message)
		}
		t.Fatal(message)
	}
}

// TOTPOptions departs from the usual authenticator; zero fields mean SHA-1,
// 6 digits and 30 seconds, as authenticator apps assume.
type TOTPOptions struct {
	Algorithm string // "sha1", "sha256" or "sha512"
	Digits    int
	Period    time.Duration
}

// TOTP returns the code that an authenticator holding the base32 secret shows
// at the given time, as oathtool computes it: an implementation of RFC 6238
// that has nothing in common with ours.
func TOTP(t testing.TB, secret string, at time.Time, options ...TOTPOptions) string {
	t.Helper()
	Need(t, "oathtool")
	chosen := TOTPOptions{}
	for _, o := range options {
		chosen = o
	}
	output, err := exec.Command("oathtool", chosen.arguments(secret, at)...).CombinedOutput()
	if err != nil {
		t.Fatalf("oathtool: %v: %s", err, output)
	}
	return strings.TrimSpace(string(output))
}

func (o TOTPOptions) arguments(secret string, at time.Time) []string {
	algorithm, digits, period := "sha1", 6, 30*time.Second
	if o.Algorithm != "" {
		algorithm = strings.ToLower(o.Algorithm)
	}
	if o.Digits != 0 {
		digits = o.Digits
	}
	if o.Period != 0 {
		period = o.Period
	}
	return []string{
		"--totp=" + algorithm,
		"--base32",
		"--digits=" + strconv.Itoa(digits),
		"--time-step-size=" + strconv.Itoa(int(period.Seconds())) + "s",
		"--now=" + at.UTC().Format("2006-01-02 15:04:05 UTC"),
		strings.ReplaceAll(secret, " ", ""),
	}
}
