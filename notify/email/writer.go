package email

import (
	"context"
	"fmt"
	"time"

	"github.com/portcullis-mfa/portcullis/factors"
	"github.com/portcullis-mfa/portcullis/templates"
)

// Pages write the parts of e-mails.
type Pages interface {
	Mail(name, language string, view any) (templates.Mail, error)
}

// Writer writes letters as e-mails.
type Writer struct {
	Pages  Pages
	Frame  templates.MailFrame
	Mailer interface {
		Send(ctx context.Context, one Mail) (answer string, err error)
	}
	Clock func() time.Time
}

// Write writes a letter and hands it over; see Mailer.Send.
func (w *Writer) Write(ctx context.Context, id string, letter factors.Letter) (answer string, err error) {
	content := letter.Content
	if framed, ok := content.(interface {
		Framed(templates.MailFrame) any
	}); ok {
		content = framed.Framed(w.Frame)
	}
	written, err := w.Pages.Mail(letter.Template, letter.Language, content)
	if err != nil {
		return "", fmt.Errorf("writing a letter: %w", err)
	}
	return w.Mailer.Send(ctx, Mail{
		ID: id, To: letter.To, Subject: written.Subject, Text: written.Text, HTML: written.HTML, At: w.Clock(),
	})
}
