package caddymodule

import (
	"crypto/rand"
	"time"

	"github.com/portcullis-mfa/portcullis/assurance"
	"github.com/portcullis-mfa/portcullis/authflow"
	"github.com/portcullis-mfa/portcullis/notify"
	"github.com/portcullis-mfa/portcullis/notify/email"
	"github.com/portcullis-mfa/portcullis/notify/sms"
	"github.com/portcullis-mfa/portcullis/templates"
)

// makeOutbox makes what sends messages about the questions of flows to people; nil:
// nothing does.
func (s *service) makeOutbox(a *App) authflow.Outbox {
	frame := templates.MailFrame{Brand: a.Name, Contact: a.Contact, Portal: a.portal.String()}
	s.writers = make(map[assurance.Factor]notify.Writer)
	limits := make(map[assurance.Factor]notify.Limits)
	if a.mailer != nil {
		s.writers[assurance.Email] = &email.Writer{Pages: s.pages, Mailer: a.mailer, Clock: time.Now, Frame: frame}
		limits[assurance.Email] = notify.Limits{
			InAll: a.Email.Limit, Unknown: notify.Rate{Hour: 5, Day: 15}, Known: notify.Rate{Hour: 10, Day: 30},
		}
	}
	if a.gateway != nil {
		s.writers[assurance.SMS] = &sms.Writer{Pages: s.pages, Gateway: a.gateway, Domain: a.portal.Hostname(), Frame: frame}
		limits[assurance.SMS] = notify.Limits{
			InAll: a.SMS.Limit, Unknown: notify.Rate{Hour: 3, Day: 8}, Known: notify.Rate{Hour: 3, Day: 8},
		}
	}
	if s.pushKey != nil {
		s.writers[assurance.Push] = s.makePushWriter(a)
	}
	if len(s.writers) == 0 {
		return nil
	}
	questions := &notify.Questions{Composer: s.flows, Writers: s.writers, Limits: limits}
	s.outbox = notify.New(notify.Settings{
		Store: s.store, Clock: time.Now, Random: rand.Reader, Logger: a.logger.Named("outbox"),
		Routes: map[string]notify.Route{notify.AboutQuestion: questions},
	})
	questions.Outbox = s.outbox
	if a.mailer != nil {
		s.makeNotices(a)
		s.makeInvitations(a)
		s.makeResets(a)
	}
	return questions
}
