package caddymodule

import (
	"crypto/rand"
	"time"
	_ "time/tzdata" // notices give times in their reader's zone, wherever the server is

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/notify/link"
	"github.com/portcullis-mfa/portcullis/notify/notice"
	"github.com/portcullis-mfa/portcullis/notify/reset"
)

// makeInvitations has invitations mailed.
func (s *service) makeInvitations(a *App) {
	sender := link.New(link.Settings{
		Outbox: s.outbox, Store: s.store, Sealer: s.keys, Clock: time.Now, Writer: s.writers[assurance.Email], URL: a.linkURL,
	})
	s.outbox.Routes[link.Invitation], s.flows.Invitations = sender, sender
}

// makeResets has the links of password resets mailed, if people may reset theirs.
func (s *service) makeResets(a *App) {
	if !*a.PasswordReset {
		return
	}
	sender := reset.New(reset.Settings{
		Outbox: s.outbox, Links: s.flows, Sealer: s.keys, Clock: time.Now, Random: rand.Reader, Writer: s.writers[assurance.Email],
		URL: func(token string) string { return a.linkURL("reset", token) },
	})
	s.outbox.Routes[reset.Purpose], s.flows.Resets = sender, sender
}

// makeNotices has people told by e-mail of what happens to their accounts.
func (s *service) makeNotices(a *App) {
	if !*a.Email.Notices {
		return
	}
	notices := notice.New(notice.Settings{
		Outbox: s.outbox, Store: s.store, Sealer: s.keys, Clock: time.Now, Random: rand.Reader,
		UndoURL: func(token string) string { return a.linkURL("not-me", token) },
		Logger:  a.logger.Named("notices"), Texts: s.pages, Writer: s.writers[assurance.Email],
		IsMailed:    func(kind assurance.Factor) bool { return s.factors.Traits(kind).ByMail },
		MailAddress: s.vault.Address, IsStandby: s.factors.IsStandby,
	})
	s.outbox.Routes[notice.Purpose], s.outbox.Routes[notice.DigestPurpose] = notices, notices.Digests()
	s.audit.Notify(notices)
}
