package scene

import (
	"time"

	"github.com/portcullis-mfa/portcullis/test/harness"
)

// Newcomer is somebody who sets up in their own browser, step by step: what
// they have by then is filled in by whoever goes through the pages.
func (s *Scene) Newcomer(name string, browser *harness.Client) *Person {
	return &Person{Name: name, Password: Password(name), Browser: browser, s: s}
}

// TryCode is Code where it doesn't have to wait; false where it would.
func (p *Person) TryCode() (code string, ok bool) {
	p.s.t.Helper()
	period := int64(p.s.period() / time.Second)
	p.mu.Lock()
	defer p.mu.Unlock()
	now := time.Now().Unix() / period
	step := max(p.last+1, now)
	if step > now+1 {
		return "", false
	}
	p.last = step
	return harness.TOTP(p.s.t, p.Secret, time.Unix(step*period, 0), p.s.options.TOTP), true
}

// TrySpendBackupCode is SpendBackupCode; false where none is left.
func (p *Person) TrySpendBackupCode() (code string, ok bool) {
	p.mu.Lock()
	left := len(p.BackupCodes)
	p.mu.Unlock()
	if left == 0 {
		return "", false
	}
	return p.SpendBackupCode(), true
}

func (s *Scene) period() time.Duration {
	if s.options.TOTP.Period == 0 {
		return 30 * time.Second
	}
	return s.options.TOTP.Period
}

// SetUp goes through the three steps of a set-up in the person's own browser,
// as SetUp of a Scene does in a new one.
func (p *Person) SetUp(link string) {
	p.s.t.Helper()
	page := p.Browser.Visit(link)
	chosen := map[string]string{"new-password": p.Password}
	if page.Form("new-password").Has("username") {
		chosen["username"] = p.Name
	}
	page = p.then(p.Browser.Submit(page.Form("new-password"), chosen))
	p.Secret = SecretOn(page)
	p.s.Canary(p.Password, p.Secret)
	page = p.then(p.Browser.Submit(page.Form("one-time-code"), map[string]string{"one-time-code": p.Code()}))
	p.BackupCodes = CodesOn(page)
	p.s.Canary(p.BackupCodes...)
	page = p.then(p.Browser.Submit(page.Form("saved"), map[string]string{"saved": "yes"}))
	if page.Status != 200 || page.URL.Path != "/" {
		p.s.t.Fatalf("setting up %s ended at %d %s: %s", p.Name, page.Status, page.URL, page.Text())
	}
}
